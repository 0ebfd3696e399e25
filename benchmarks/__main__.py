"""Runs every benchmark, or those that are named: `python -m benchmarks score_row`. Prints figures, judges nothing."""

from __future__ import annotations

import subprocess
import sys

SCRIPTS = (
    "score_row",
    "store_write",
    "archive_size",
    "outbox_append",
    "outbox_wear",
    "demo_chain",
    "late_replies",
    "simulator_load",
    "gateway_load",
    "delivery",
    "gateway_metrics",
    "host_ingest",
    "fleet_growth",
    "chart_queries",
    "rtu_bus",
    "take_over",
)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in SCRIPTS]
    if unknown:
        sys.stderr.write(f"no benchmark {', '.join(unknown)}; there are: {', '.join(SCRIPTS)}\n")
        return 2
    # A process each, so that none measures the memory of the one before.
    commands = ([sys.executable, "-m", f"benchmarks.{name}"] for name in names or SCRIPTS)
    codes = [subprocess.run(command, check=False).returncode for command in commands]
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
