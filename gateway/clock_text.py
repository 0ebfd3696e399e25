"""What `gateway status` tells a person of the clock. Nothing while there is nothing to tell."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from gateway.time_news import FAR_MS


def clock_lines(clock: dict[str, Any]) -> Iterator[str]:
    """clock: that part of the status."""
    if clock.get("problem"):
        yield f"clock: {clock['problem']}"
    if waiting := clock.get("waiting_samples"):
        yield f"clock: {waiting} samples wait for their time; nothing is lost"
    if (ahead_ms := clock.get("ahead_ms", 0)) > 1000:
        far = "; start NTP, or connect to a host that agrees with this clock" if ahead_ms > FAR_MS else ""
        yield (
            f"clock: the newest sample is {ahead_ms / 1000:.0f} s ahead of the clock, which makes others UNCERTAIN{far}"
        )
    if steps := clock.get("steps_on_record"):
        last = steps[-1]
        yield f"clock: {len(steps)} steps on record, the last by {last['by_ms'] / 1000:+.1f} s at {_utc(last['to_ms'])}"
    for boot in clock.get("boots", ()):
        if boot["off_by_ms"] is not None or boot["placed"] in ("before", "squeezed"):
            off = "" if boot["off_by_ms"] is None else f", off by {boot['off_by_ms'] / 1000:.0f} s at most"
            yield (
                f"boot {boot['boot'][:8]} never knew the time: {boot['samples']} samples placed from "
                f"{_utc(boot['from_ms'])} to {_utc(boot['to_ms'])} ({boot['placed']}{off})"
            )


def _utc(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
