"""What one score costs: time from numpy row to score and shares, memory of the runtime and of each model.

Times come from the packaged demo model on one core, row by row; `onnxruntime` is its part of them, the rest is numpy
and Python. Memory is the growth of a fresh process that has loaded numpy: once the runtime with a first model, then
models of other assets (a session of their own each; assets with one file share it). Two hundred models, each with a
row every second, are run for real: between two rows of one model the caches have seen the 199 others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import psutil

from benchmarks.result import keep
from models import runtime
from wire.block import FloatArray

ROWS = 50_000
WARM_UP = 1_000
FURTHER_MODELS = 50
MODELS_AT_1_HZ = 200
SECONDS_AT_1_HZ = 10
DEMO = runtime.packaged()["demo_machine"]

# What a row may cost, and what it should. Of a two-core machine that does nothing else.
LIMITS = {
    "p99_us": 100.0, "model_file_bytes": 2**20, "runtime_and_first_model_mib": 30.0, "each_further_model_mib": 0.2,
    "core_percent_200_models_1_hz": 3.0,
}  # fmt: skip


def rows_of(model: runtime.Model, count: int) -> FloatArray:
    dice = np.random.default_rng(1)
    centre = np.array([each.centre for each in model.manifest.inputs])
    spread = np.array([each.spread for each in model.manifest.inputs])
    return dice.normal(centre, spread, (count, len(centre)))


def times_us() -> dict[str, float]:
    """Percentiles of one row, and of onnxruntime's part."""
    model = runtime.load(DEMO)
    running = model.start()
    taken = _taken(lambda row: running.score(row), rows_of(model, ROWS + WARM_UP))
    inner = model.start()
    binding = inner._bindings[0]
    alone = _taken(lambda row: model.run(binding), rows_of(model, ROWS // 5 + WARM_UP))
    p50, p99 = np.percentile(taken, [50, 99])
    return {
        "p50_us": round(float(p50), 1),
        "p99_us": round(float(p99), 1),
        "of_which_onnxruntime_p50_us": round(float(np.percentile(alone, 50)), 1),
    }


def _taken(work: Any, rows: FloatArray) -> FloatArray:
    taken_ns = []
    for row in rows:
        begin = time.perf_counter_ns()
        work(row)
        taken_ns.append(time.perf_counter_ns() - begin)
    return np.array(taken_ns[WARM_UP:]) / 1000


def at_1_hz() -> float:
    """Per cent of one core that 200 models take, each with a session of its own."""
    models = [runtime.load(DEMO) for _ in range(MODELS_AT_1_HZ)]
    running = [model.start() for model in models]
    rows = rows_of(models[0], SECONDS_AT_1_HZ)
    began, used = time.monotonic(), time.process_time()
    for second, row in enumerate(rows):
        for each in running:
            each.score(row)
        time.sleep(max(0.0, began + second + 1 - time.monotonic()))
    return 100 * (time.process_time() - used) / (time.monotonic() - began)


def memory_mib() -> tuple[float, float]:
    """(runtime + first model, each further model), measured in this process: run it in a fresh one."""
    process = psutil.Process()
    row = np.zeros(4)

    def loaded() -> runtime.Running:
        running = runtime.load(DEMO).start()
        running.score(row)
        return running

    bare = process.memory_info().rss
    kept = [loaded()]
    first = process.memory_info().rss
    kept += [loaded() for _ in range(FURTHER_MODELS)]
    further = (process.memory_info().rss - first) / (len(kept) - 1)
    return (first - bare) / 2**20, further / 2**20


def main() -> int:
    if sys.argv[1:] == ["memory"]:
        print(json.dumps(memory_mib()))
        return 0
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    fresh = subprocess.run(
        [sys.executable, "-m", "benchmarks.score_row", "memory"], capture_output=True, text=True, check=True
    )
    first, further = json.loads(fresh.stdout)
    figures: dict[str, float] = {
        "inputs": 4,
        "rows": ROWS,
        **times_us(),
        "core_percent_200_models_1_hz": round(at_1_hz(), 2),
        "runtime_and_first_model_mib": round(first, 1),
        "each_further_model_mib": round(further, 3),
        "model_file_bytes": DEMO.stat().st_size,
    }
    keep("score_row", figures)
    missed = [f"{name} is {figures[name]:g}, at most {most:g}" for name, most in LIMITS.items() if figures[name] > most]
    for text in missed:
        print(f"  MISSED: {text}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
