"""From normal history to one self-describing ONNX file, the same bytes each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import threshold
from models.detectors.robust_distance import RobustDistance
from models.export import export
from models.history import History, check_period
from models.manifest import FalseAlarms, Input, Manifest, Training, duration
from models.runtime import load
from models.settings import Settings
from wire.block import FloatArray
from wire.errors import ModelError

# Each fifth of the history is judged once by a model of the other four.
_FOLDS = 5
# The file is float32, the reference float64.
_AGREEMENT = 1e-4


@dataclass(frozen=True)
class Trained:
    """A model in memory: its description, its constants, and the bytes of its file."""

    manifest: Manifest
    detector: RobustDistance
    content: bytes


def rows_needed(settings: Settings) -> int:
    """The least history that can be trained from, in one stretch: enough scores for the threshold, twice over.

    Twice, because each fold of the held-out check sets a threshold from four fifths, in shorter stretches.
    """
    lost = settings.warm_up_rows + settings.alarm.raise_rows - 1
    return 2 * threshold.MIN_SCORES + _FOLDS * lost


def train(settings: Settings, history: History, path: Path) -> Trained:
    """path: of the history, for messages. Raises ModelError for a history that cannot be learnt from."""
    check_period(history, settings.period_s, path)
    _check_columns(settings, history.rows, path)
    lost = settings.warm_up_rows + settings.alarm.raise_rows - 1  # rows of each stretch that give no score
    usable = [piece for piece in history.pieces(settings.period_s) if len(piece) > lost]
    kept, scored = sum(len(piece) for piece in usable), sum(len(piece) - lost for piece in usable)
    needed = rows_needed(settings)
    if scored < needed - lost:
        raise ModelError(
            f"{path}: too little history: {kept} usable rows of {len(history.rows)} in {len(usable)} stretches "
            f"without a gap; needed are {needed} in one stretch ({duration(needed * settings.period_s)} at "
            f"{settings.period_s:g} s a row), and {lost} more for each further stretch"
        )
    detector, fit = _fit(settings, usable, path)
    deaf = [settings.inputs[int(i)].name for i in np.flatnonzero(detector.reach() <= fit.threshold)]
    if deaf:
        raise ModelError(
            f"{path}: {', '.join(deaf)} alone could never raise an alarm: the threshold would be {fit.threshold:.4g}. "
            "Look for faults among the normal rows, or allow more false alarms (false_alarm_every_rows)"
        )
    held_out_rows, held_out_alarms = _held_out(settings, usable, path)
    manifest = Manifest(
        name=settings.name,
        version=settings.version,
        detector=settings.detector,
        inputs=tuple(
            Input(each.name, each.unit, float(detector.centre[i]), float(detector.scale[i]))
            for i, each in enumerate(settings.inputs)
        ),
        period_s=settings.period_s,
        threshold=fit.threshold,
        warm_up_rows=settings.warm_up_rows,
        false_alarms=FalseAlarms(settings.false_alarm_every_rows, held_out_rows, held_out_alarms, fit.method),
        alarm=settings.alarm.rule(),
        training=Training(
            settings.source,
            f"{settings.time_column} {history.times[0]} to {history.times[-1]}",
            kept,
            history.sha256,
        ),
    )
    return Trained(manifest, detector, export(detector.graph(), manifest))


def write(trained: Trained, out: Path, proof: FloatArray) -> None:
    """Writes the file and runs it over a few rows (proof) as a gateway will. Raises ModelError if that differs."""
    try:
        out.write_bytes(trained.content)
    except OSError as fault:
        raise ModelError(f"{out}: cannot be written: {fault.strerror}") from fault
    running = load(out).start()
    scores = np.array([running.score(row).score for row in proof])
    wanted = trained.detector.score(proof).scores
    worst = float(np.max(np.abs(scores - wanted) / (1.0 + wanted)))
    if not worst <= _AGREEMENT:
        raise ModelError(f"{out}: onnxruntime and the reference differ by {worst:.2g}: do not use this file")


def _fit(settings: Settings, pieces: Sequence[FloatArray], path: Path) -> tuple[RobustDistance, threshold.Fit]:
    constant = np.ptp(np.concatenate(pieces), axis=0) == 0
    if constant.any():
        names = ", ".join(settings.inputs[int(i)].name for i in np.flatnonzero(constant))
        raise ModelError(
            f"{path}: {names}: constant over most of the history; leave it out of `inputs`, or give more data"
        )
    detector = RobustDistance.fit(list(pieces), settings.smoothing_rows)
    scores = [detector.score(piece).scores[settings.warm_up_rows :] for piece in pieces]
    return detector, threshold.fit(scores, settings.alarm.rule(), settings.false_alarm_every_rows)


def _held_out(settings: Settings, pieces: Sequence[FloatArray], path: Path) -> tuple[int, int]:
    """(rows judged, alarms in them): each contiguous fifth, judged by a model that did not see it."""
    total = sum(len(piece) for piece in pieces)
    folds: list[list[FloatArray]] = [[] for _ in range(_FOLDS)]
    begin = 0
    for piece in pieces:
        fold_of_row = _FOLDS * (begin + np.arange(len(piece))) // total
        for fold in np.unique(fold_of_row):
            folds[fold].append(piece[fold_of_row == fold])
        begin += len(piece)
    rule = settings.alarm.rule()
    rows = alarms = 0
    for fold, held_out in enumerate(folds):
        rest = [part for other, parts in enumerate(folds) if other != fold for part in parts]
        detector, fit = _fit(settings, rest, path)
        for part in held_out:
            scores = detector.score(part).scores[settings.warm_up_rows :]
            rows += len(scores)
            alarms += threshold.count_alarms(scores, rule, fit.threshold)
    return rows, alarms


def _check_columns(settings: Settings, rows: FloatArray, path: Path) -> None:
    """Raises ModelError that names every column which cannot be learnt from."""
    problems = []
    for i, each in enumerate(settings.inputs):
        column = rows[:, i][~np.isnan(rows[:, i])]
        if column.size == 0:
            problems.append(f"{each.name} has no value at all")
        elif np.ptp(column) == 0:
            problems.append(f"{each.name} is always {column[0]:.6g}")
    if problems:
        raise ModelError(f"{path}: {'; '.join(problems)}: leave it out of `inputs`, or give data in which it varies")
