"""A detector of a single series as a gateway meets it: exported, loaded by the runtime, one row at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models import runtime
from models.alarm_logic import AlarmRule
from models.detectors.detector import Scored
from models.detectors.forecast import Forecast
from models.detectors.novelty import Novelty
from models.detectors.seasonal import Seasonal
from models.detectors.seasonal_novelty import SeasonalNovelty
from models.export import export
from models.manifest import FalseAlarms, Input, Manifest, Training
from wire.block import FloatArray

DAY_ROWS = 96  # a row each 15 minutes


def clocks(n: int) -> FloatArray:
    """From a Monday's midnight on, every 15 minutes. Shape (n, 2)."""
    at = np.arange(n) * 900.0
    return np.column_stack([at % 86400.0, at // 86400.0 % 7.0])


def rhythm(n: int, seed: int, weekend: float = 0.5) -> FloatArray:
    """80 by day, 20 by night, that part of it at weekends, and some noise. Shape (n,)."""
    when = clocks(n)
    busy = (when[:, 0] >= 7 * 3600) & (when[:, 0] < 19 * 3600)
    level = np.where(busy, 80.0, 20.0) * np.where(when[:, 1] >= 5, weekend, 1.0)
    return level + np.random.default_rng(seed).normal(0, 1, n)


def through_file(
    detector: Forecast | Novelty | Seasonal | SeasonalNovelty,
    name: str,
    values: FloatArray,
    when: FloatArray,
    folder: Path,
) -> Scored:
    """What the runtime says of each value, through a file."""
    manifest = Manifest(
        name="series",
        version="1",
        detector=name,
        inputs=(Input("value", "", 0.0, 1.0),),
        period_s=900.0,
        threshold=0.1,
        warm_up_rows=0,
        false_alarms=FalseAlarms(1000, 0, 0, "none"),
        alarm=AlarmRule(),
        training=Training("made up", "a to b", len(values), "0" * 64),
    )
    file = folder / "series.onnx"
    file.write_bytes(export(detector.graph(), manifest))
    running = runtime.load(file).start()
    scores = [running.score(values[i : i + 1], (when[i, 0], when[i, 1])) for i in range(len(values))]
    return Scored(
        np.array([each.score for each in scores]),
        np.array([each.shares for each in scores]),
        np.array([each.deviations for each in scores]),
    )


def assert_same(got: Scored, wanted: Scored) -> None:
    """float32 against float64."""
    np.testing.assert_allclose(got.scores, wanted.scores, atol=1e-4)
    np.testing.assert_array_equal(got.shares, wanted.shares)
    np.testing.assert_allclose(got.deviations, wanted.deviations, rtol=1e-3, atol=1e-3)
