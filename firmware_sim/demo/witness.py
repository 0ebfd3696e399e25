"""The simulator's truth against what the database holds: every stored value must have been served."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

Served = dict[tuple[str, str], list[tuple[int, float]]]

# An answer is stamped when it has arrived: after it was served, at most one request time-out later.
EARLY_MS, LATE_MS = 50, 1500
Window = tuple[int, int]


def read_truth(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a truth file; a last line that a kill cut short is left out."""
    with path.open() as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def served_values(truth: Iterable[dict[str, Any]]) -> Served:
    """(device, tag) -> what was served when, in the order of time."""
    served: Served = defaultdict(list)
    for entry in truth:
        if entry["kind"] == "served":
            for signal, value in entry["values"].items():
                served[entry["device"], signal].append((int(entry["t_ms"]), float(value)))
    for values in served.values():
        values.sort()
    return served


def true_windows(truth: Iterable[dict[str, Any]], from_ms: int, to_ms: int) -> list[tuple[int, int]]:
    """The windows in which something was truly wrong, cut to the time of the run."""
    ends: dict[tuple[str, str, int], int] = {}
    for entry in truth:
        if entry["kind"] == "fault":
            key = (entry["device"], entry["name"], int(entry["from_ms"]))
            ends[key] = int(entry["to_ms"]) if entry["to_ms"] is not None else to_ms
    cut = [(max(begin, from_ms), min(end, to_ms)) for (_, _, begin), end in ends.items()]
    return sorted((begin, end) for begin, end in cut if begin < end)


@dataclass
class Comparison:
    """checked: stored values looked up in the truth. wrong: those that were never served near their stamp."""

    checked: int = 0
    wrong: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)


def same(stored: float, served: float) -> bool:
    """Equal but for the 24 bits of a Sparkplug Float."""
    return math.isclose(stored, served, rel_tol=2e-7, abs_tol=1e-9)


def standstills(stamps: Iterable[int]) -> list[Window]:
    """Times in which the gateway read nothing from any device: it, or its machine, stood still.

    What came meanwhile waits in the system's buffers, and is stamped when it is read. stamps: of all that was stored.
    """
    return [(a, b) for a, b in pairwise(sorted(set(stamps))) if b - a > LATE_MS]


def _waited_ms(ts_ms: int, still: Sequence[Window]) -> int:
    return max((end - begin for begin, end in still if end <= ts_ms <= end + LATE_MS), default=0)


def compare(
    served: Served,
    device: str,
    tag: str,
    stored: Iterable[tuple[int, float | None]],
    into: Comparison,
    still: Sequence[Window] = (),
) -> None:
    """Each stored value (BAD ones have none) must be one that the device served shortly before its stamp, or before
    the standstill that had just ended then."""
    truth = served.get((device, tag), [])
    times = [t for t, _ in truth]
    for ts_ms, value in stored:
        if value is None:
            continue
        into.checked += 1
        first = bisect_left(times, ts_ms - LATE_MS - _waited_ms(ts_ms, still))
        last = bisect_left(times, ts_ms + EARLY_MS)
        if not any(same(float(value), v) for _, v in truth[first:last]):
            into.wrong += 1
            if len(into.examples) < 5:
                near = [v for _, v in truth[first:last]]
                into.examples.append(
                    {"device": device, "tag": tag, "ts_ms": ts_ms, "stored": value, "served": near[-3:]}
                )


def compare_all(
    served: Served,
    stored: Iterable[tuple[str, str, Iterable[tuple[int, float | None]]]],
    still: Sequence[Window] = (),
) -> Comparison:
    """stored: (device, tag, samples) of the tags that the simulator serves."""
    found = Comparison()
    for device, tag, samples in stored:
        compare(served, device, tag, samples, found, still)
    return found
