"""The one place where the gateway reads the wall clock."""

from __future__ import annotations

import time


def now_ms() -> int:
    """UTC epoch milliseconds. May step: stamps are kept rising per tag by the agent, above the high-water mark."""
    return time.time_ns() // 1_000_000
