"""A detector as a gateway meets it: exported to a file, loaded, run row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models import runtime
from models.alarm_logic import AlarmRule
from models.baseline import BaselineRule
from models.detectors.detector import Detector
from models.export import export
from models.manifest import FalseAlarms, Input, Manifest, Training
from wire.block import FloatArray

NAMES = ("flow", "pressure", "current")


def manifest_of(
    n: int, threshold: float = 4.0, alarm: AlarmRule | None = None, baseline: BaselineRule | None = None
) -> Manifest:
    """Inputs flow, pressure, current (and further ones by number) with centre 0 and spread 1."""
    names = [*NAMES, *(f"tag_{i}" for i in range(3, n))][:n]
    return Manifest(
        name="made_up",
        version="1",
        detector="made_up",
        inputs=tuple(Input(name, "", 0.0, 1.0) for name in names),
        period_s=1.0,
        threshold=threshold,
        warm_up_rows=2,
        false_alarms=FalseAlarms(1000, 0, 0, "none"),
        alarm=alarm or AlarmRule(),
        training=Training("made up", "none", 100, ""),
        baseline=baseline,
    )


def load(folder: Path, detector: Detector, manifest: Manifest) -> runtime.Model:
    file = folder / "made_up.onnx"
    file.write_bytes(export(detector.graph(), manifest))
    return runtime.load(file)


def check_against_reference(folder: Path, detector: Detector, rows: FloatArray) -> None:
    """The file says what the detector's reference in numpy says, of every row."""
    running = load(folder, detector, manifest_of(rows.shape[1])).start()
    scores = [running.score(row) for row in rows]
    wanted = detector.score(rows)
    np.testing.assert_allclose([each.score for each in scores], wanted.scores, rtol=2e-4, atol=1e-4)
    np.testing.assert_allclose([each.deviations for each in scores], wanted.deviations, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose([each.shares for each in scores], wanted.shares, atol=2e-3)
    np.testing.assert_allclose([each.shares.sum() for each in scores], 1.0, atol=1e-5)
