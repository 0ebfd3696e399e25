"""The whole chain for 30 s, as `make demo` runs it: latency, memory and CPU of each process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.result import keep
from firmware_sim.demo.processes import free_port, gaugeline


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.json"
        command = gaugeline("demo", "--for", "30", "--report", str(report), "--folder", f"{name}/demo")
        ended = subprocess.run(
            [*command, "--http", f"127.0.0.1:{free_port()}"], capture_output=True, check=False, text=True
        )
        if ended.returncode != 0:
            sys.stderr.write(ended.stdout + ended.stderr)
            return 1
        found = json.loads(report.read_text())
    keep(
        "demo_chain",
        {
            **{name: found[name] for name in ("produced", "stored", "lost", "sampling_s")},
            **{f"latency_ms_{name}": found["latency_ms"][name] for name in ("p50", "p99")},
            **{f"rss_mb_{name}": mb for name, mb in found["rss_mb"].items()},
            **{f"cpu_percent_{name}": share for name, share in found["cpu_percent"].items()},
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
