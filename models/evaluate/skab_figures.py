"""What is counted of the alarms in SKAB's files, where these are labelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from wire.block import FloatArray


class Counts(NamedTuple):
    """Rows: anomalous ones in alarm, normal ones in alarm, anomalous ones without, normal ones without."""

    hits: int
    false: int
    missed: int
    quiet: int


@dataclass(frozen=True)
class Judged:
    """One file. rows: judged ones. counts: None where the file has no labels.

    row_us: of each judged row, from numpy to the score. model_bytes: of the exported file.
    """

    file: str
    rows: int
    alarm_rows: int
    alarms: int
    counts: Counts | None
    model_bytes: int
    row_us: FloatArray


def summary(judged: list[Judged], drop: int, seconds: float) -> dict[str, Any]:
    """What --json prints: rates over all rows of all labelled files, and of each file."""
    per_file = [
        {
            "file": each.file,
            "rows": each.rows,
            "alarm_rows": each.alarm_rows,
            "alarm_percent": round(100.0 * each.alarm_rows / each.rows, 2),
            "alarms": each.alarms,
            **(each.counts._asdict() if each.counts else {}),
            **rates([each]),
        }
        for each in judged
    ]
    row_us = np.concatenate([each.row_us for each in judged])
    return {
        "benchmark": "skab",
        "drop": drop,
        **rates(judged),
        "seconds": round(seconds, 2),
        "row_us_p50": round(float(np.percentile(row_us, 50)), 1),
        "row_us_p99": round(float(np.percentile(row_us, 99)), 1),
        "model_bytes": max(each.model_bytes for each in judged),
        "per_file": per_file,
    }


def rates(judged: list[Judged]) -> dict[str, float | None]:
    """F1, false and missing alarm rate in per cent of the labelled rows together; None where nothing counts."""
    hits, false, missed, quiet = np.sum([each.counts or (0, 0, 0, 0) for each in judged], axis=0).tolist()

    def part(of: float, whole: float) -> float | None:
        return round(of / whole, 4) if whole else None

    return {
        "f1": part(2 * hits, 2 * hits + false + missed),
        "far": part(100 * false, false + quiet),
        "mar": part(100 * missed, missed + hits),
    }
