"""CPU and memory of the whole gateway process: 1,000 and 10,000 tags at 1 Hz over Modbus TCP, deadband off.

With outbox, uplink to a real mosquitto and a host that confirms into DuckDB; the simulator, the broker and the host are
processes of their own and are not counted. Measured twice, without models and with one for every 20 tags: the
difference is the models' share (scoring and the score tags that it adds).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.result import keep
from benchmarks.site_files import scenario, site, training
from firmware_sim.demo.host_api import HostApi
from firmware_sim.demo.processes import Child, free_port, gaugeline, wait_for_port
from tests.servers import Mosquitto

WARM_UP_S, SECONDS = 8.0, 30.0


def model_file(folder: Path) -> str:
    config, history = training(folder)
    command = gaugeline(
        "models", "train", "--config", str(config), "--data", str(history), "--out", f"{folder}/load.onnx"
    )
    subprocess.run(command, check=True, capture_output=True)
    return f"{folder}/load.onnx"


def measure(folder: Path, tags: int, model: str | None) -> dict[str, float]:
    """cpu_percent of one core, rss_mb, samples_per_s of the gateway over SECONDS."""
    folder.mkdir()
    (folder / "scenario.yaml").write_text(scenario(tags))
    broker = Mosquitto(folder / "broker")
    port = free_port()
    simulator = Child("simulator", gaugeline("sim", "run", str(folder / "scenario.yaml")), folder, read_stdout=True)
    cloud_command = gaugeline(
        *("cloud", "run", "--broker", broker.url, "--store", f"duckdb:{folder / 'samples.duckdb'}"),
        *("--state", str(folder / "state.db"), "--http", f"127.0.0.1:{port}"),
    )
    cloud = Child("cloud", cloud_command, folder)
    gateway = Child("gateway", gaugeline("gateway", "run", str(folder / "site.yaml")), folder)
    try:
        broker.start()
        simulator.start()
        devices: list[dict[str, Any]] = json.loads(simulator.stdout.readline())["devices"]
        (folder / "site.yaml").write_text(site(devices, broker.port, model))
        cloud.start()
        wait_for_port(cloud, "127.0.0.1", port)
        HostApi(f"http://127.0.0.1:{port}").wait_ready(cloud)
        gateway.start()
        assert gateway.process is not None
        process = psutil.Process(gateway.process.pid)
        time.sleep(WARM_UP_S)
        before, used, began = produced(folder), sum(process.cpu_times()[:2]), time.monotonic()
        time.sleep(SECONDS)
        used, took = sum(process.cpu_times()[:2]) - used, time.monotonic() - began
        rss_mb = process.memory_info().rss / 1e6
        made = produced(folder) - before
        counted_s = time.monotonic() - began  # asking takes its time, and sampling goes on meanwhile
        return {"cpu_percent": 100 * used / took, "rss_mb": rss_mb, "samples_per_s": made / counted_s}
    finally:
        for child in (gateway, cloud, simulator):
            child.end(15)
        broker.stop()


def produced(folder: Path) -> int:
    command = gaugeline("gateway", "status", str(folder / "site.yaml"), "--json")
    answer = subprocess.run(command, check=False, capture_output=True, text=True)  # its exit code: how the gateway is
    return sum(int(entry["produced"]) for entry in json.loads(answer.stdout)["devices"].values())


def main() -> None:
    figures: dict[str, object] = {"seconds_each": SECONDS}
    with tempfile.TemporaryDirectory() as name:
        model = model_file(Path(name))
        for tags in (1_000, 10_000):
            plain = measure(Path(name) / f"plain{tags}", tags, None)
            scored = measure(Path(name) / f"scored{tags}", tags, model)
            figures |= {f"{key}_{tags}_tags": round(value, 1) for key, value in plain.items()}
            figures |= {f"{key}_{tags}_tags_with_models": round(value, 1) for key, value in scored.items()}
            figures[f"models_share_cpu_percent_{tags}_tags"] = round(scored["cpu_percent"] - plain["cpu_percent"], 1)
    keep("gateway_load", figures)


if __name__ == "__main__":
    main()
