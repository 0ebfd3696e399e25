"""The soak: a whole plant for so many minutes, with every fault of the simulator at random, and what it has shown.

`make soak MINUTES=30 SEED=1`. A gateway reads 12 lines of every kind and judges with models; the broker is killed and
frozen, the host killed, site.yaml changed and set points written meanwhile. Exit code 1 when anything did not hold: no
task dies, memory is flat, the balance holds, no value is wrong, every unit answers at the end.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.result import RESULTS, keep
from benchmarks.soak_figure import memory_svg
from benchmarks.soak_judge import judge, shortcomings
from benchmarks.soak_run import Soak

GROWTH_MB = 2.0  # over the last two thirds, by the slope and between medians of a minute
SETTLED_S = 900.0
LEAK_MB = 5.0  # of a shorter run, whose gateway is still settling: first outages, first models
DENSE = 2.0  # a shorter run has its faults closer together
Progress = Callable[[float, dict[str, Any]], None]


def bar(done_s: float, seconds: float, status: dict[str, Any]) -> None:
    """One line that is written over on a terminal, and a new one every minute in a log."""
    share = min(1.0, done_s / seconds)
    produced = sum(int(entry["produced"]) for entry in status.get("devices", {}).values())
    pending = status.get("outbox", {}).get("pending_batches", 0)
    text = f"[{'#' * int(30 * share):<30}] {done_s:5.0f} of {seconds:.0f} s  produced {produced:,}  pending {pending}"
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[2K{text}")
        sys.stdout.flush()
    elif int(done_s) % 60 < 5:
        print(text, flush=True)


def run(
    folder: Path, seconds: float, seed: int, say: Callable[[str], None], progress: Progress
) -> tuple[dict[str, Any], Soak]:
    """The figures of a whole soak. Raises DemoError when a process ended by itself."""
    short = seconds < SETTLED_S
    soak = Soak(folder, seconds, seed, DENSE if short else 1.0, say)
    try:
        soak.start()
        soak.run(progress)
        soak.stop_gateway()
        return judge(soak, 6.0 if short else 60.0), soak
    finally:
        soak.stop()


def most_mb(seconds: float) -> float:
    """How much the gateway's memory may grow and span over the last two thirds of a run of so many seconds."""
    return LEAK_MB if seconds < SETTLED_S else GROWTH_MB


def table(figures: dict[str, Any], under: str = "") -> dict[str, object]:
    """Nested figures as `a.b.c`: value."""
    flat: dict[str, object] = {}
    for key, value in figures.items():
        if isinstance(value, dict) and value:
            flat |= table(value, f"{under}{key}.")
        else:
            flat[f"{under}{key}"] = value
    return flat


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep everything there (default: a temporary folder)")
    options = parser.parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT is ignored in what a shell starts in the background
        signal.signal(number, signal.default_int_handler)
    seconds = 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="gaugeline-soak-") as name:
        folder = options.folder or Path(name)
        began = time.monotonic()
        figures, soak = run(
            folder,
            seconds,
            options.seed,
            lambda text: print(f"\n{text}"),
            lambda now, status: bar(now, seconds, status),
        )
        print(f"\njudged after {time.monotonic() - began:.0f} s")
        (folder / "memory.json").write_text(json.dumps(soak.seen.memory))
    problems = shortcomings(figures, most_mb(seconds))
    name = "soak" if seconds >= SETTLED_S else "soak_short"
    keep(name, {**table(figures), "shortcomings": len(problems)})
    (RESULTS / f"{name}_memory.svg").write_text(memory_svg(soak.seen.memory))
    for problem in problems:
        sys.stderr.write(f"error: {problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
