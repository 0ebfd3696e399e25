"""Throughput and latency of one collector process as the fleet grows: 10, 100 and 1,000 gateways, both stores.

Every gateway is an MQTT session of its own with one device of 100 tags (benchmarks.fleet_gateways), a real mosquitto
between, and for InfluxDB a real server. Measured in turn: `births`, until the host knows every gateway; `flood`, as
fast as the host confirms; `steady`, the same number of samples a second whatever the fleet: how long a batch waits from
its publishing to its confirmation, which means: it is durable. The fleet's own work counts: it shares the machine.

Draws benchmarks/results/fleet_growth.svg.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from benchmarks.host_ingest import STORES
from benchmarks.result import RESULTS, ROOT, keep
from firmware_sim.demo.host_api import HostApi
from firmware_sim.demo.processes import Child, free_port, gaugeline, wait_for_port
from tests.servers import InfluxDB, Mosquitto, Server

FLEETS = (10, 100, 1_000)
TAGS = 100  # metrics of a message
FLOOD = 1_000_000  # samples
STEADY_PER_S, STEADY_S = 30_000, 20
WAITING = 150_000  # samples of the whole fleet on their way


class Fleet:
    """The process of the gateways."""

    def __init__(self, broker: Mosquitto, gateways: int, flood: int, steady: int) -> None:
        given = {
            **{"port": broker.port, "gateways": gateways, "tags": TAGS, "flood": flood, "steady": steady},
            **{"end-ms": int(time.time() * 1000), "window": max(1, WAITING // TAGS // gateways)},
        }
        options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "benchmarks.fleet_gateways", *options]
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.heard()

    def heard(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fleet ended with {self.process.wait(10)}: see above")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, words: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()
        return self.heard()


def _wait_for(api: HostApi, messages: int, timeout_s: float = 120.0) -> None:
    until = time.monotonic() + timeout_s
    while api.get("/api/stats")["counters"].get("messages", 0) < messages:
        if time.monotonic() > until:
            raise TimeoutError(f"the host did not hear {messages} messages within {timeout_s:g} s")
        time.sleep(0.05)


def _used_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(folder: Path, kind: str, gateways: int, samples: int, steady_s: float) -> dict[str, float]:
    """One host and one fleet."""
    flood = max(1, samples // TAGS // gateways)
    rate = STEADY_PER_S / TAGS
    steady = max(1, round(rate * steady_s / gateways))
    with ExitStack() as stack:
        broker = Mosquitto(folder / "broker")
        servers: list[Server] = [broker]
        store = f"duckdb:{folder / 'samples.duckdb'}"
        if kind == "influxdb":
            servers.append(database := InfluxDB(folder / "influxdb"))
            store = f"influxdb+v1://127.0.0.1:{database.port}/bench"
        for server in servers:
            server.start()
            stack.callback(server.stop)
        port = free_port()
        command = gaugeline(
            *("cloud", "run", "--broker", broker.url, "--store", store),
            *("--state", str(folder / "state.db"), "--http", f"127.0.0.1:{port}"),
        )
        cloud = Child("cloud", command, folder)
        cloud.start()
        stack.callback(cloud.end, 30)
        wait_for_port(cloud, "127.0.0.1", port)
        api = HostApi(f"http://127.0.0.1:{port}")
        api.wait_ready(cloud)
        assert cloud.process is not None
        host = psutil.Process(cloud.process.pid)
        fleet = Fleet(broker, gateways, flood, steady)
        stack.callback(fleet.process.kill)
        began_s = time.monotonic()
        before = api.get("/api/stats")["counters"].get("messages", 0)
        fleet.ask("births")
        _wait_for(api, before + 2 * gateways)
        births_s = time.monotonic() - began_s
        rss_mb, cpu_s = host.memory_info().rss / 1e6, _used_s(host)
        flooded = fleet.ask("flood")
        flood_cpu_s = _used_s(host) - cpu_s
        cpu_s = _used_s(host)
        kept = fleet.ask(f"steady {rate}")
        done = (flooded["batches"] + kept["batches"]) * TAGS
        stored = api.get("/api/stats")["counters"]["samples_stored"]
        if stored != done or done != (flood + steady) * gateways * TAGS:
            raise RuntimeError(f"{done} samples confirmed, {stored} stored: the figures would lie")
        flooded_samples = flooded["batches"] * TAGS
        return {
            "births_s": births_s,
            "flood_samples_per_s": flooded_samples / flooded["took_s"],
            "flood_host_cpu_s_per_million": flood_cpu_s / flooded_samples * 1e6,
            "flood_fleet_cpu_s_per_million": flooded["cpu_s"] / flooded_samples * 1e6,
            "steady_p50_ms": kept["p50_ms"],
            "steady_p99_ms": kept["p99_ms"],
            "steady_host_cores": (_used_s(host) - cpu_s) / kept["took_s"],
            "host_rss_mb_after_births": rss_mb,
            "host_rss_mb_after": host.memory_info().rss / 1e6,
        }


def draw(found: Mapping[tuple[str, int], Mapping[str, float]], path: Path) -> None:
    """Throughput on the left, latency on the right, both against the size of the fleet."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    names = {"duckdb": "DuckDB", "influxdb": "InfluxDB 1.6.7"}
    for kind, colour in zip(STORES, ("#1f77b4", "#d95f02"), strict=True):
        sizes = sorted(size for each, size in found if each == kind)
        if not sizes:
            continue
        rates = [found[kind, size]["flood_samples_per_s"] / 1000 for size in sizes]
        left.plot(sizes, rates, "o-", color=colour, label=names[kind])
        for share, line in (("p50", "o-"), ("p99", "s--")):
            waits = [found[kind, size][f"steady_{share}_ms"] for size in sizes]
            right.plot(sizes, waits, line, color=colour, label=f"{names[kind]}, {share}")
    left.set(title="As fast as the host confirms", ylabel="thousand samples a second")
    right.set(title=f"At {STEADY_PER_S:,} samples a second", ylabel="ms from published to confirmed")
    for axes in (left, right):
        axes.set(xlabel="gateways", xscale="log")
        axes.set_xticks(FLEETS, [f"{size:,}" for size in FLEETS])
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateways", type=int, action="append", help="only this fleet; may be given again")
    parser.add_argument("--store", choices=STORES, action="append", help="only this one")
    parser.add_argument("--samples", type=int, default=FLOOD, help=f"of each flood ({FLOOD})")
    parser.add_argument("--seconds", type=float, default=STEADY_S, help=f"of each steady time ({STEADY_S})")
    asked = parser.parse_args(arguments)
    found: dict[tuple[str, int], dict[str, float]] = {}
    for kind in asked.store or STORES:
        for gateways in asked.gateways or FLEETS:
            with tempfile.TemporaryDirectory() as name:
                found[kind, gateways] = measure(Path(name), kind, gateways, asked.samples, asked.seconds)
            print(f"{kind}, {gateways} gateways: {json.dumps(found[kind, gateways])}", flush=True)
    if asked.gateways or asked.store or asked.samples != FLOOD or asked.seconds != STEADY_S:
        return  # a part: nothing is kept
    figures: dict[str, object] = {
        f"{key}_of_{gateways}_into_{kind}": round(value, 2)
        for (kind, gateways), each in found.items()
        for key, value in each.items()
    }
    keep("fleet_growth", {"tags_a_gateway": TAGS, "steady_samples_per_s": STEADY_PER_S} | figures)
    draw(found, RESULTS / "fleet_growth.svg")


if __name__ == "__main__":
    main(sys.argv[1:])
