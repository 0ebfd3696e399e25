"""What metrics cost a gateway of 1,000 tags in 50 devices at 1 Hz: CPU and memory with and without, in turn.

Scraped once a second, often enough that the difference stands out of the noise; with a real mosquitto and a host that
confirms, in processes of their own that are not counted.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from benchmarks.result import keep
from benchmarks.site_files import scenario, site
from firmware_sim.demo.host_api import HostApi
from firmware_sim.demo.processes import Child, free_port, gaugeline, wait_for_port
from tests.servers import Mosquitto

TAGS, WARM_UP_S, SECONDS, TURNS = 1_000, 5.0, 20, 2


def measure(folder: Path, devices: list[dict[str, Any]], broker: int, port: int | None) -> dict[str, float]:
    """cpu_percent of one core and rss_mb of a gateway over SECONDS; took_ms and kilobytes of a scrape on port."""
    folder.mkdir()
    metrics = {"metrics": {"port": port}} if port is not None else {}
    (folder / "site.yaml").write_text(json.dumps(json.loads(site(devices, broker, None)) | metrics))
    gateway = Child("gateway", gaugeline("gateway", "run", str(folder / "site.yaml")), folder)
    gateway.start()
    assert gateway.process is not None
    try:
        process = psutil.Process(gateway.process.pid)
        wait_until_it_runs(gateway, folder / "outbox.db.sock")
        time.sleep(WARM_UP_S)
        if port is not None:
            scrape(port)  # the first one loads what only metrics need
        used, began = sum(process.cpu_times()[:2]), time.monotonic()
        took_ms, size = [0.0], 0
        for second in range(SECONDS):
            if port is not None:
                asked = time.monotonic()
                size = scrape(port)
                took_ms.append(1000 * (time.monotonic() - asked))
            time.sleep(max(0.0, began + second + 1 - time.monotonic()))
        cpu = 100 * (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - began)
        rss_mb = process.memory_info().rss / 1e6
        return {"cpu_percent": cpu, "rss_mb": rss_mb, "took_ms": statistics.median(took_ms), "kb": size / 1e3}
    finally:
        gateway.end(15)


def scrape(port: int) -> int:
    """Bytes of the answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return len(answer.read())


def wait_until_it_runs(gateway: Child, socket: Path) -> None:
    until = time.monotonic() + 60
    while not socket.exists():
        gateway.check()
        assert time.monotonic() < until, "the gateway has not started within 60 s"
        time.sleep(0.1)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        (folder / "scenario.yaml").write_text(scenario(TAGS))
        broker = Mosquitto(folder / "broker")
        simulator = Child("simulator", gaugeline("sim", "run", str(folder / "scenario.yaml")), folder, read_stdout=True)
        cloud_command = gaugeline(
            *("cloud", "run", "--broker", broker.url, "--store", f"duckdb:{folder / 'samples.duckdb'}"),
            *("--state", str(folder / "state.db"), "--http", f"127.0.0.1:{port}"),
        )
        cloud = Child("cloud", cloud_command, folder)
        runs: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        try:
            broker.start()
            simulator.start()
            devices = json.loads(simulator.stdout.readline())["devices"]
            cloud.start()
            wait_for_port(cloud, "127.0.0.1", port)
            HostApi(f"http://127.0.0.1:{port}").wait_ready(cloud)
            for turn in range(TURNS):
                for on in (False, True):
                    served = free_port() if on else None
                    runs[on].append(measure(folder / f"{turn}-{on}", devices, broker.port, served))
        finally:
            for child in (cloud, simulator):
                child.end(15)
            broker.stop()
    off, on_ = ({key: statistics.mean(run[key] for run in runs[x]) for key in runs[x][0]} for x in (False, True))
    figures = {
        "tags": TAGS,
        "scrapes_per_s": 1,
        "cpu_percent_off": round(off["cpu_percent"], 2),
        "cpu_percent_on": round(on_["cpu_percent"], 2),
        "cpu_ratio": round(on_["cpu_percent"] / off["cpu_percent"], 3),
        "cpu_ms_per_scrape": round(10 * (on_["cpu_percent"] - off["cpu_percent"]), 2),
        "rss_mb_off": round(off["rss_mb"], 1),
        "rss_mb_on": round(on_["rss_mb"], 1),
        "scrape_ms": round(on_["took_ms"], 1),
        "scrape_kb": round(on_["kb"], 1),
    }
    keep("gateway_metrics", figures)


if __name__ == "__main__":
    main()
