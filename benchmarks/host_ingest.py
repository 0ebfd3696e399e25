"""Samples a second from MQTT to committed with one collector process, into DuckDB and into InfluxDB.

Two processes with five gateways of ten devices each say messages that were made before (benchmarks.ready_gateways), as
fast as the host confirms them; a real mosquitto between. Timed from the first message to the last confirmation, so that
every sample counted is durable. CPU seconds are those of the whole process, all its threads included.

Before and after, and into the same InfluxDB, a plain writer in a process of its own says the same number of the same
lines, ready-made, in bodies of the same size over as many connections (benchmarks.ready_lines): the limit of any
writer. The ratio is to the mean of both, for other work on the machine comes and goes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks.result import ROOT, keep
from firmware_sim.demo.host_api import HostApi
from firmware_sim.demo.processes import Child, free_port, gaugeline, wait_for_port
from tests.servers import InfluxDB, Mosquitto, Server

PUBLISHERS, GATEWAYS, DEVICES = 2, 5, 10
TAGS = 100  # metrics of a message
SAMPLES = 5_000_000  # so that roll-ups have their usual share of the time
WAITING = 150_000  # samples of all gateways on their way: what a host has no room for would have to be sent again
STORES = ("duckdb", "influxdb")


def _pid(process: subprocess.Popen[bytes] | None) -> int:
    if process is None:
        raise RuntimeError("a server that was not started")
    return process.pid


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _publisher(number: int, port: int, tags: int, batches: int, end_ms: int) -> subprocess.Popen[str]:
    given = {
        **{"port": port, "first": number * GATEWAYS, "gateways": GATEWAYS, "devices": DEVICES},
        **{"tags": tags, "batches": batches, "end-ms": end_ms},
        "window": max(1, WAITING // (PUBLISHERS * GATEWAYS) // tags),
    }
    options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "benchmarks.ready_gateways", *options]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _said(publisher: subprocess.Popen[str]) -> str:
    assert publisher.stdout is not None
    line = publisher.stdout.readline()
    if not line:
        raise RuntimeError(f"a publisher ended with {publisher.wait(10)}: see above")
    return line


def _ready_lines_per_s(url: str, database: str, tags: int, batches: int) -> float:
    shape = [str(n) for n in (PUBLISHERS * GATEWAYS, DEVICES, tags, batches)]
    command = [sys.executable, "-m", "benchmarks.ready_lines", url, database, *shape]
    answer = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
    return float(answer.stdout)


def measure(folder: Path, kind: str, tags: int, samples: int, profile: str = "") -> dict[str, float]:
    """One host with one kind of store. profile: a file that py-spy writes, '' for none."""
    batches = samples // tags // (PUBLISHERS * GATEWAYS)
    with ExitStack() as stack:
        broker = Mosquitto(folder / "broker")
        servers: list[Server] = [broker]
        raw: list[float] = []
        store = f"duckdb:{folder / 'samples.duckdb'}"
        if kind == "influxdb":
            servers.append(database := InfluxDB(folder / "influxdb"))
            store = f"influxdb+v1://127.0.0.1:{database.port}/bench"
        for server in servers:
            server.start()
            stack.callback(server.stop)
        if kind == "influxdb":
            raw.append(_ready_lines_per_s(database.url, "before", tags, batches))
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
        end_ms = int(time.time() * 1000)
        publishers = [_publisher(i, broker.port, tags, batches, end_ms) for i in range(PUBLISHERS)]
        for publisher in publishers:
            stack.callback(publisher.kill)
        for publisher in publishers:
            _said(publisher)
        host = psutil.Process(_pid(cloud.process))
        others = [psutil.Process(_pid(server.process)) for server in servers]
        rss, before, before_others = host.memory_info().rss, _cpu_s(host), [_cpu_s(p) for p in others]
        if profile:
            spy = ["py-spy", "record", "-o", profile, "-f", "raw", "-r", "200", "--pid", str(host.pid)]
            spying = subprocess.Popen(spy, stdout=subprocess.DEVNULL)
            stack.callback(spying.kill)
        for publisher in publishers:
            assert publisher.stdin is not None
            publisher.stdin.write("go\n")
            publisher.stdin.flush()
        found = [json.loads(_said(publisher)) for publisher in publishers]
        took_s = max(f["ended_s"] for f in found) - min(f["began_s"] for f in found)
        done = sum(f["batches"] for f in found) * tags
        stored = api.get("/api/stats")["counters"]["samples_stored"]
        if done != batches * tags * PUBLISHERS * GATEWAYS or stored != done:
            raise RuntimeError(f"{done} samples confirmed, {stored} stored: the figures would lie")
        figures = {
            "samples_per_s": done / took_s,
            "publishers_cpu_s_per_million": sum(f["cpu_s"] for f in found) / done * 1e6,
            "host_cpu_s_per_million": (_cpu_s(host) - before) / done * 1e6,
            "host_rss_mb_before": rss / 1e6,
            "host_rss_mb_after": host.memory_info().rss / 1e6,
        }
        for name, process, was in zip(("mosquitto", kind), others, before_others, strict=False):
            figures[f"{name}_cpu_s_per_million"] = (_cpu_s(process) - was) / done * 1e6
        if profile:
            cloud.end(30)
            spying.wait(60)
        if kind == "influxdb":
            cloud.end(30)
            raw.append(_ready_lines_per_s(database.url, "after", tags, batches))
            figures["ready_lines_per_s"] = sum(raw) / len(raw)
            figures["ratio_to_ready_lines"] = figures["samples_per_s"] / figures["ready_lines_per_s"]
        return figures


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tags", type=int, default=TAGS, help="metrics of a message (100)")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of each store (5000000)")
    parser.add_argument("--store", choices=STORES, action="append", help="only this one")
    parser.add_argument("--profile", default="", help="a file for py-spy's stacks of the host; nothing is kept")
    asked = parser.parse_args(arguments)
    figures: dict[str, object] = {"metrics_a_message": asked.tags, "samples_each": asked.samples}
    figures["load_of_the_machine_before"] = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as name:
        for kind in asked.store or STORES:
            folder = Path(name) / kind
            folder.mkdir()
            found = measure(folder, kind, asked.tags, asked.samples, asked.profile)
            figures |= {f"{key}_into_{kind}": round(value, 2) for key, value in found.items()}
            if asked.profile:
                print(json.dumps(figures, indent=1))
    whole = asked.tags == TAGS and asked.samples == SAMPLES and not asked.store and not asked.profile
    if whole:
        keep("host_ingest", figures)
    elif not asked.profile:
        print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
