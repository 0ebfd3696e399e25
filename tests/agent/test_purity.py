"""The pure modules import no clock, no dice, no sockets."""

from __future__ import annotations

import subprocess
import sys

import pytest

PURE = (
    "plan",
    "join",
    "learn",
    "wire_time",
    "expression",
    "derive",
    "load",
    "advice",
    "frame_time",
    "turns",
    "scaling",
    "decode",
    "decode_frame",
    "frames",
    "framer",
    "frame_spec",
    "checksum",
    "dlt645",
    "check",
    "encode",
    "report",
    "breaker",
    "stamps",
    "window",
    "spec",
    "drivers.fence",
)
FORBIDDEN = {"asyncio", "socket", "time", "random", "pymodbus", "serial", "sqlite3", "onnxruntime"}


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_imports_nothing_with_a_will_of_its_own(name: str) -> None:
    import ast
    from pathlib import Path

    tree = ast.parse((Path("agent") / (name.replace(".", "/") + ".py")).read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    assert not found & FORBIDDEN


def test_a_gateway_without_pymodbus_loaded_can_still_plan_and_decode() -> None:
    code = "import sys, agent.plan, agent.decode, agent.report, agent.window; print('pymodbus' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
