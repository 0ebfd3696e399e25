"""What one score costs: time from numpy row to score and shares, and memory of the runtime and of each model.

Times come from the packaged demo model on one core, row by row. Memory is the growth of a fresh process that has
loaded numpy: once the runtime with a first model, then models of other assets (a session of their own each).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
import psutil

from benchmarks.result import keep
from models import runtime

ROWS = 50_000
WARM_UP = 1_000
FURTHER_MODELS = 50
MODELS_AT_1_HZ = 200


def times_us() -> tuple[float, float, float]:
    """(p50, p99, mean) of one row in microseconds."""
    model = runtime.load(runtime.packaged()["demo_machine"])
    running = model.start()
    dice = np.random.default_rng(1)
    centre = np.array([each.centre for each in model.manifest.inputs])
    spread = np.array([each.spread for each in model.manifest.inputs])
    rows = dice.normal(centre, spread, (ROWS + WARM_UP, len(centre)))
    taken_ns = []
    for row in rows:
        begin = time.perf_counter_ns()
        running.score(row)
        taken_ns.append(time.perf_counter_ns() - begin)
    taken_us = np.array(taken_ns[WARM_UP:]) / 1000
    p50, p99 = np.percentile(taken_us, [50, 99])
    return float(p50), float(p99), float(taken_us.mean())


def memory_mib() -> tuple[float, float]:
    """(runtime + first model, each further model), measured in this process: run it in a fresh one."""
    process = psutil.Process()
    file = runtime.packaged()["demo_machine"]
    row = np.zeros(4)

    def loaded() -> runtime.Running:
        running = runtime.load(file).start()
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
    p50, p99, mean = times_us()
    fresh = subprocess.run(
        [sys.executable, "-m", "benchmarks.score_row", "memory"], capture_output=True, text=True, check=True
    )
    first, further = json.loads(fresh.stdout)
    keep(
        "score_row",
        {
            "inputs": 4,
            "rows": ROWS,
            "p50_us": round(p50, 1),
            "p99_us": round(p99, 1),
            "core_percent_200_models_1_hz": round(100 * MODELS_AT_1_HZ * mean / 1e6, 2),
            "runtime_and_first_model_mib": round(first, 1),
            "each_further_model_mib": round(further, 3),
            "model_file_bytes": runtime.packaged()["demo_machine"].stat().st_size,
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
