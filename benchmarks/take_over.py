"""How long samples wait when the active host is killed: a real gateway, two hosts, mosquitto, PostgreSQL, InfluxDB.

Kill -9 of the active one, ROUNDS times, with the lease of a default configuration. active: until the other host holds
the lease; confirmed: until the gateway hears the first confirmation of it. At the end nothing is lost or stored twice.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.result import keep
from tests.cloud.boxes import Box, counters, devices_at_rest
from tests.cloud.hosts import HostProcess
from tests.gateway.field import modbus_device
from tests.servers import InfluxDB, Mosquitto, Postgres

ROUNDS = 5
PERIOD_S = 0.1
REST_S = 3.0  # between two kills, once the killed one is the standby


def _health(host: HostProcess) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(host.get("/api/health"))
    except (urllib.error.URLError, ConnectionError):
        return {"role": "", "lease": {}}
    return found


async def _until(true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(true):
            await asyncio.sleep(0.02)


async def _turn(registers: list[int]) -> None:
    """Every poll finds new values."""
    while True:
        registers[1] = registers[2] = (registers[2] + 1) % 60_000
        await asyncio.sleep(PERIOD_S / 2)


def _host(folder: Path, name: str, settings: str) -> HostProcess:
    (folder / name).mkdir()
    (folder / name / "cloud.yaml").write_text(f"{settings}standby: {name}\n")
    return HostProcess(folder / name, ["--config", "cloud.yaml"])


async def measure(folder: Path, mosquitto: Mosquitto, influxdb: InfluxDB, postgres: Postgres) -> dict[str, object]:
    settings = (
        f"broker: {mosquitto.url}\nstore: influxdb+v1://127.0.0.1:{influxdb.port}/plant\nstate: {postgres.new()}\n"
    )
    active, other = _host(folder, "host-a", settings), _host(folder, "host-b", settings)
    took: dict[str, list[float]] = {"active": [], "confirmed": []}
    registers = [0x3FC0, 0, 7]
    turning = asyncio.create_task(_turn(registers))
    async with modbus_device(registers) as port:
        box = Box(folder / "box", mosquitto.url, port, PERIOD_S)
        try:
            active.start()
            await _until(lambda: _health(active)["role"] == "active")
            other.start()
            await _until(lambda: _health(other)["lease"].get("holder") == "host-a")
            box.start()
            await box.until(lambda s: counters(s).get("confirmed", 0) > 20)
            for _ in range(ROUNDS):
                before = counters(await box.status()).get("confirmed", 0)
                began = time.monotonic()
                active.kill()
                await _until(lambda host=other: _health(host)["role"] == "active")  # type: ignore[misc]
                took["active"].append(time.monotonic() - began)
                # What was confirmed just before the kill may be counted after it: more than one round of it.
                await box.until(lambda s, n=before: counters(s).get("confirmed", 0) > n + 20)  # type: ignore[misc]
                took["confirmed"].append(time.monotonic() - began)
                active, other = other, active
                other.start()
                await _until(lambda host=other: _health(host)["lease"].get("holder"))  # type: ignore[misc]
                await asyncio.sleep(REST_S)
            assert await box.stop() == 0
            made = sum(counted["produced"] for counted in devices_at_rest(box).values())
            balance: dict[str, Any] = {}
            began = time.monotonic()
            while balance.get("produced") != made and time.monotonic() - began < 20:
                balance = json.loads(active.get("/api/balance"))
                await asyncio.sleep(0.2)
        finally:
            turning.cancel()
            box.kill()
            for host in (active, other):
                if host.process is not None and host.process.poll() is None:
                    host.kill()
    return {
        "kills": ROUNDS,
        "lease_s": 5.0,
        "produced_says_the_gateway": made,
        **{f"{name}_after_{which}_s": figure for name, seen in took.items() for which, figure in _ends(seen)},
        **{name: balance[name] for name in ("produced", "stored", "lost", "collided", "duplicates", "in_flight")},
    }


def _ends(seen: list[float]) -> list[tuple[str, float]]:
    return [("median", sorted(seen)[len(seen) // 2]), ("longest", max(seen))]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mosquitto, influxdb, postgres = Mosquitto(folder / "mosquitto"), InfluxDB(folder / "influxdb"), Postgres()
        try:
            for server in (mosquitto, influxdb, postgres):
                server.start()
            keep("take_over", asyncio.run(measure(folder, mosquitto, influxdb, postgres)))
        finally:
            postgres.remove()
            influxdb.stop()
            mosquitto.stop()


if __name__ == "__main__":
    main()
