"""CPU and memory of the whole gateway process: 1,000 and 10,000 tags at 1 Hz over Modbus TCP, deadband off.

With outbox, uplink to a real mosquitto and a host that confirms into DuckDB; the simulator, the broker and the host are
processes of their own and are not counted. Devices of 100 tags, and once of 20: what a device costs is a request and a
message, whatever it holds. Measured without models and with one for every 20 tags: the difference is the models' share
(scoring, and the 23 score tags that each adds).
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.plant import running
from benchmarks.result import keep
from benchmarks.site_files import training
from firmware_sim.demo.processes import gaugeline

WARM_UP_S, SECONDS = 10.0, 30.0


def model_file(folder: Path) -> str:
    config, history = training(folder)
    command = gaugeline(
        "models", "train", "--config", str(config), "--data", str(history), "--out", f"{folder}/load.onnx"
    )
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return f"{folder}/load.onnx"


def measure(folder: Path, tags: int, per_device: int, model: str | None) -> dict[str, float]:
    """cpu_percent of one core, rss_mb, samples_per_s of the gateway over SECONDS."""
    with running(folder, tags, per_device, model) as plant:
        time.sleep(WARM_UP_S)
        before, used, began = plant.produced(), sum(plant.process.cpu_times()[:2]), time.monotonic()
        time.sleep(SECONDS)
        used, took = sum(plant.process.cpu_times()[:2]) - used, time.monotonic() - began
        rss_mb = plant.process.memory_info().rss / 1e6
        made = plant.produced() - before
        counted_s = time.monotonic() - began  # asking takes its time, and sampling goes on meanwhile
        return {"cpu_percent": 100 * used / took, "rss_mb": rss_mb, "samples_per_s": made / counted_s}


def main() -> None:
    figures: dict[str, object] = {"seconds_each": SECONDS}
    with tempfile.TemporaryDirectory() as name:
        model = model_file(Path(name))
        for tags, per_device in ((1_000, 100), (10_000, 100), (10_000, 20)):
            what = f"{tags}_tags" + ("" if per_device == 100 else f"_of_{per_device}_a_device")
            plain = measure(Path(name) / f"plain{what}", tags, per_device, None)
            scored = measure(Path(name) / f"scored{what}", tags, per_device, model)
            figures |= {f"{key}_{what}": round(value, 1) for key, value in plain.items()}
            figures |= {f"{key}_{what}_with_models": round(value, 1) for key, value in scored.items()}
            figures[f"models_share_cpu_percent_{what}"] = round(scored["cpu_percent"] - plain["cpu_percent"], 1)
            figures[f"models_share_rss_mb_{what}"] = round(scored["rss_mb"] - plain["rss_mb"], 1)
    keep("gateway_load", figures)


if __name__ == "__main__":
    main()
