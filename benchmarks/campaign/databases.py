"""The database is down, hangs, is slow, or is last night's."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime
from typing import Any

from benchmarks.campaign.family import Family, pause
from benchmarks.campaign.judge import audited
from benchmarks.campaign.plant import GATEWAY, GROUP, Plant, kill, now_ms
from benchmarks.campaign.rough_link import Weather
from firmware_sim.demo.processes import gaugeline
from tests.servers import InfluxDB


def _influx(plant: Plant) -> InfluxDB:
    if plant.influx is None or plant.database_link is None:
        raise RuntimeError("this plant has no InfluxDB")
    return plant.influx


def _down(plant: Plant, dice: random.Random) -> None:
    """Stopped in order, killed, frozen, or only cut off."""
    influx, how = _influx(plant), dice.choice(("stopped", "killed", "frozen", "cut off"))
    if how == "frozen" and influx.process is not None:
        influx.process.send_signal(signal.SIGSTOP)
        pause(dice, 2.0, 4.0)
        influx.process.send_signal(signal.SIGCONT)
    elif how == "cut off" and plant.database_link is not None:
        plant.database_link.cut()
        pause(dice, 2.0, 4.0)
        plant.database_link.calm()
    else:
        (influx.stop if how == "stopped" else influx.kill)()
        pause(dice, 1.0, 3.0)
        influx.start()


def _slow(plant: Plant, dice: random.Random) -> None:
    """100 ms each way: 200 ms and more for every write."""
    _influx(plant)
    if plant.database_link is not None:
        plant.database_link.weather = Weather(delay_s=0.1)
        pause(dice, 3.0, 5.0)
        plant.database_link.calm()


def _restored(plant: Plant, dice: random.Random) -> None:
    """The host's files are set back; the operator's command asks the gateway for what they lack."""
    files, backup = plant.folder / "host", plant.folder / "backup"
    plant.the_host.end(15)
    began = now_ms()
    shutil.copytree(files, backup)
    plant.start_host()
    plant.wait_flowing()
    pause(dice, 1.0, 3.0)
    kill(plant.the_host)
    shutil.rmtree(files)
    backup.rename(files)
    plant.start_host()
    plant.wait_flowing()
    _wait_for_loss(plant)
    refill(plant, began - 5000, now_ms() + 1000)


def refill(plant: Plant, from_ms: int, to_ms: int) -> None:
    """`gaugeline cloud audit --refill FROM TO`, as an operator says it. Raises RuntimeError when it asks nobody."""
    times = [datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds") for ms in (from_ms, to_ms)]
    command = gaugeline("cloud", "audit", "--refill", *times, "--json", "--url", plant.api.url)
    answer = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120, start_new_session=True)
    if answer.returncode or json.loads(answer.stdout) != {"asked": [f"{GROUP}/{GATEWAY}"], "away": []}:
        raise RuntimeError(f"`cloud audit --refill` ended with {answer.returncode}: {answer.stdout}{answer.stderr}")


def _wait_for_loss(plant: Plant) -> None:
    """The audit must see what the backup does not hold. Raises RuntimeError when it does not within 20 s."""
    until = time.monotonic() + 20.0
    found: dict[str, Any] = {}
    while time.monotonic() < until:
        code, found = audited(plant)
        if code == 1 and found["lost"] > 0:
            return
    raise RuntimeError(f"the audit does not see what the restored database lacks: {found}")


FAMILIES = (
    Family("restored-backup", 10, 1, "the host's database set back; refill by `cloud audit --refill`", _restored),
    Family("database-down", 30, 1, "InfluxDB stopped, killed, frozen or cut off", _down, store="influx",
           timeout_s=90.0),
    Family("database-slow", 10, 1, "200 ms for every write to InfluxDB", _slow, store="influx"),
)  # fmt: skip
