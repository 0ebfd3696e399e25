"""How a benchmark keeps its figures: JSON with date, commit and machine, and a table on the screen."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


def commit(paths: Sequence[str] = ()) -> str:
    """The last one, or the last one that touched these paths."""
    command = ["git", "log", "-1", "--format=%h", "--", *paths]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    return found.stdout.strip() or "unknown"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor()


def keep(name: str, figures: Mapping[str, object], quiet: bool = False) -> None:
    """Writes the figures to benchmarks/results/<name>.json, and prints them unless they were shown already."""
    document = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "figures": dict(figures),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    if quiet:
        return
    width = max(len(key) for key in figures)
    print(name)
    for key, value in figures.items():
        print(f"  {key:<{width}}  {value:,.6g}" if isinstance(value, float) else f"  {key:<{width}}  {value}")
