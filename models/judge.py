"""Scores of many rows while training: by a detector's own numpy, or by its graph where it needs the hour or where the
baseline follows the asset."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.alarm_logic import AlarmRule
from models.baseline import BaselineRule
from models.detectors.detector import Detector, Scored
from models.export import export
from models.manifest import FalseAlarms, Input, Manifest, Training
from models.runtime import CLOCK, Model, of_content
from wire.block import FloatArray


class Following(NamedTuple):
    """A managed baseline: its rule, the inputs with centre and spread, and the alarm rule beside it."""

    rule: BaselineRule
    inputs: tuple[Input, ...]
    alarm: AlarmRule


class Judge:
    """A fitted detector at work over stretches of rows.

    following: where the baseline of the model follows. The rows are normal, so it follows all of them, as it does on a
    machine that gives no alarm; each stretch begins with the model's own centre.
    """

    def __init__(self, detector: Detector, period_s: float, following: Following | None = None) -> None:
        self.detector = detector
        graph = detector.graph()
        self.takes_missing = bool(getattr(detector, "takes_missing", False))
        self.wants_clock = any(each.name == CLOCK for each in graph.input)
        self._model: Model | None = None
        if self.wants_clock or following is not None or not hasattr(detector, "score"):
            n = graph.input[0].type.tensor_type.shape.dim[0].dim_value
            manifest = _nobody(n, period_s, self.takes_missing)
            if following is not None:
                rule, inputs, alarm = following
                manifest = replace(manifest, baseline=rule, inputs=inputs, alarm=alarm)
            self._model = of_content(export(graph, manifest), Path("graph"))

    def score(self, rows: FloatArray, clocks: FloatArray) -> Scored:
        """rows: one contiguous stretch, shape (n_rows, n_inputs); clocks: shape (n_rows, 2)."""
        if self._model is None:
            return self.detector.score(rows)
        running = self._model.start(math.inf)
        found = [running.score(row, (clock[0], clock[1])) for row, clock in zip(rows, clocks, strict=True)]
        return Scored(
            np.array([each.score for each in found]),
            np.array([each.shares for each in found]),
            np.array([each.deviations for each in found]),
        )


def _nobody(n: int, period_s: float, takes_missing: bool) -> Manifest:
    """A description for a graph that no file will hold."""
    return Manifest(
        name="graph",
        version="0",
        detector="graph",
        inputs=tuple(Input(f"x{i}", "", 0.0, 1.0) for i in range(n)),
        period_s=period_s,
        threshold=1.0,
        warm_up_rows=0,
        false_alarms=FalseAlarms(1, 0, 0, ""),
        alarm=AlarmRule(),
        training=Training("", "", 0, ""),
        takes_missing=takes_missing,
    )
