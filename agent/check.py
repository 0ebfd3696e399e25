"""What is wrong with a line, whatever stands on it. Pure."""

from __future__ import annotations

from agent import frames, plan
from agent.spec import FRAMED, LineSpec


def check_line(line: LineSpec) -> None:
    """Raises ConfigError with every problem of the line and of all devices on it."""
    if line.driver in FRAMED or line.driver == "dlt645":
        frames.check_line(line)
    else:
        plan.check_line(line)
