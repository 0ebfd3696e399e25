"""From normal history to one self-describing ONNX file, the same bytes each time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models import detectors, threshold
from models.detectors.detector import Detector, Scored
from models.export import export
from models.history import History, check_period
from models.judge import Following, Judge
from models.manifest import Calibrated, FalseAlarms, Input, Manifest, Training, duration
from models.runtime import load
from models.settings import Settings
from models.usual import followed, usual
from models.without import rule_for
from wire.block import FloatArray
from wire.errors import ModelError

# Each fifth of the history is judged once by a model of the other four.
_FOLDS = 5
# The file is float32, the reference float64.
_AGREEMENT = 1e-4
_LARGEST = 1e18
# A single series' detector gives 0 to nearly every normal row. One span that leaves its range by 3 % of its width is
# less than this (novelty.py), and so is a value that comes every other row (tail.py); it is also the threshold of range
# novelty on the public half of NAB.
_LEAST_OF_SERIES = 0.023

Told = Callable[[str, float], None]
"""(what is done now, part of the whole that is done)."""


class Piece(NamedTuple):
    """A stretch of normal operation without a gap. seconds: shape (n_rows,). clocks: shape (n_rows, 2)."""

    rows: FloatArray
    clocks: FloatArray
    seconds: FloatArray


@dataclass(frozen=True)
class Trained:
    """A model in memory: its description, its constants, the bytes of its file, and what it says of its own history.

    pieces, scored: that history, and the scores of its rows.
    """

    manifest: Manifest
    detector: Detector
    content: bytes
    pieces: tuple[Piece, ...] = ()
    scored: tuple[Scored, ...] = ()


def _quiet(step: str, part: float) -> None:
    """Nobody watches."""


def rows_needed(settings: Settings) -> int:
    """The least history that can be trained from, in one stretch: enough scores for the threshold, twice over.

    Twice, because each fold of the held-out check sets a threshold from four fifths, in shorter stretches.
    """
    return 2 * threshold.MIN_SCORES + _FOLDS * _lost(settings)


def _lost(settings: Settings) -> int:
    """Rows of each stretch that give no score."""
    return settings.warm_up_rows + settings.rule.raise_rows - 1


def train(settings: Settings, history: History, path: Path | str, told: Told = _quiet) -> Trained:
    """path: of the history, for messages. Raises ModelError for a history that cannot be learnt from."""
    check_period(history, settings.period_s, path)
    _check_columns(settings, history.rows, path)
    pieces = _usable(settings, history, path)
    told("fitting", 0.0)
    judge, scored = _fit(settings, pieces, path)
    checks = _held_out(settings, pieces, path, told)
    # What a single series' detector was fitted to does not surprise it: its threshold comes from the held-out rows.
    apart = settings.detector in detectors.SINGLE_SERIES
    counted = [part for check in checks for part in check.judged] if apart else _counted(settings, scored)
    tail = threshold.tail(counted, settings.rule, _LEAST_OF_SERIES if apart else 0.0)
    fit = threshold.told(tail, settings.false_alarm_every_rows)
    reach = judge.detector.reach()
    deaf = [settings.inputs[int(i)].name for i in np.flatnonzero(reach <= fit.threshold)]
    if deaf:
        raise ModelError(
            f"{path}: {', '.join(deaf)} alone could never raise an alarm: the threshold would be {fit.threshold:.4g}. "
            "Look for faults among the normal rows, or allow more false alarms (false_alarm_every_rows)"
        )
    # A rate whose threshold some input could never reach alone is not offered.
    rates = [rows for rows in tail.rates(settings.false_alarm_every_rows) if tail.at(rows) < float(reach.min())]
    held_out_rows, alarms = _alarms(settings, checks, {*rates, float(settings.false_alarm_every_rows)}, apart=apart)
    all_rows = np.concatenate([piece.rows for piece in pieces])
    centre, spread = usual(judge.detector, all_rows)
    follows = followed(all_rows, [each.name for each in settings.inputs])
    stated = settings.false_alarm_every_rows
    manifest = Manifest(
        name=settings.name,
        version=settings.version,
        detector=settings.detector,
        inputs=tuple(
            Input(each.name, each.unit, float(centre[i]), float(spread[i]), follows[i])
            for i, each in enumerate(settings.inputs)
        ),
        period_s=settings.period_s,
        threshold=fit.threshold,
        warm_up_rows=settings.warm_up_rows,
        false_alarms=FalseAlarms(
            stated,
            held_out_rows,
            alarms[float(stated)],
            fit.method,
            tuple(Calibrated(rows, tail.at(rows), alarms[rows]) for rows in rates),
        ),
        alarm=settings.rule,
        training=Training(
            settings.source,
            f"{settings.time_column} {history.times[0]} to {history.times[-1]}",
            len(all_rows),
            history.sha256,
        ),
        takes_missing=judge.takes_missing,
        baseline=settings.baseline_rule,
        missing=rule_for(settings, judge.detector, [piece.rows for piece in pieces], fit.threshold),
    )
    told("writing", 0.95)
    content = export(judge.detector.graph(), manifest)
    return Trained(manifest, judge.detector, content, tuple(pieces), tuple(scored))


def write(trained: Trained, out: Path, proof: FloatArray, clocks: FloatArray | None = None) -> None:
    """Writes the file and runs it over a few rows (proof) as a gateway will. Raises ModelError if that differs."""
    clocks = np.zeros((len(proof), 2)) if clocks is None else clocks
    try:
        out.write_bytes(trained.content)
    except OSError as fault:
        raise ModelError(f"{out}: cannot be written: {fault.strerror}") from fault
    running = load(out).start()
    running.baseline = None  # the reference is that of the graph, whose centre stands still
    scores = np.array([running.score(row, (c[0], c[1])).score for row, c in zip(proof, clocks, strict=True)])
    wanted = Judge(trained.detector, trained.manifest.period_s).score(proof, clocks).scores
    worst = float(np.max(np.abs(scores - wanted) / (1.0 + wanted)))
    if not worst <= _AGREEMENT:
        raise ModelError(f"{out}: onnxruntime and the reference differ by {worst:.2g}: do not use this file")


def _usable(settings: Settings, history: History, path: Path | str) -> list[Piece]:
    """The stretches that are long enough. Raises ModelError when that is too little."""
    lost = _lost(settings)
    stretches = [piece for piece in history.stretches(settings.period_s) if len(piece) > lost]
    kept, scored = sum(len(piece) for piece in stretches), sum(len(piece) - lost for piece in stretches)
    needed = rows_needed(settings)
    if scored < needed - lost:
        raise ModelError(
            f"{path}: too little history: {kept} usable rows of {len(history.rows)} in {len(stretches)} stretches "
            f"without a gap; needed are {needed} in one stretch ({duration(needed * settings.period_s)} at "
            f"{settings.period_s:g} s a row), and {lost} more for each further stretch{_holes(settings, history)}"
        )
    clocks = history.clocks(settings.time_zone)
    return [Piece(history.rows[at], clocks[at], history.seconds[at]) for at in stretches]


def _holes(settings: Settings, history: History) -> str:
    """Which inputs make rows unusable, the worst first; '' where none does."""
    gone = np.isnan(history.rows).sum(axis=0)
    worst = [int(i) for i in np.argsort(-gone, kind="stable")[:3] if gone[i]]
    if not worst:
        return ""
    told = ", ".join(f"{settings.inputs[i].name} in {gone[i]}" for i in worst)
    return f". Values are missing: {told} rows; leave such a tag out, or give hold_s if it tells only changes"


def _fit(settings: Settings, pieces: Sequence[Piece], path: Path | str) -> tuple[Judge, list[Scored]]:
    """A fitted detector, and the scores of what it was fitted to."""
    constant = np.ptp(np.concatenate([piece.rows for piece in pieces]), axis=0) == 0
    if constant.any():
        names = ", ".join(settings.inputs[int(i)].name for i in np.flatnonzero(constant))
        raise ModelError(
            f"{path}: {names}: constant over most of the history; leave it out of `inputs`, or give more data"
        )
    given = detectors.Given(
        period_s=settings.period_s,
        seed=settings.seed,
        clocks=[piece.clocks for piece in pieces],
        inputs=[(each.name, each.unit) for each in settings.inputs],
        rule=settings.rule,
        every_rows=settings.false_alarm_every_rows,
        warm_up_rows=settings.warm_up_rows,
    )
    try:
        detector = detectors.fit(
            settings.detector,
            [piece.rows for piece in pieces],
            detectors.checked(settings.detector, settings.detector_settings),
            given,
        )
    except ModelError as fault:
        raise ModelError(f"{path}: {fault}") from fault
    judge = Judge(detector, settings.period_s, _followed(settings, detector, pieces))
    return judge, [judge.score(piece.rows, piece.clocks) for piece in pieces]


def _followed(settings: Settings, detector: Detector, pieces: Sequence[Piece]) -> Following | None:
    """The managed baseline as the runtime will have it, for one asset whose own centre is that of the model."""
    rule = settings.baseline_rule
    if rule is None:
        return None
    centre, spread = usual(detector, np.concatenate([piece.rows for piece in pieces]))
    inputs = [Input(each.name, each.unit, float(centre[i]), float(spread[i])) for i, each in enumerate(settings.inputs)]
    return Following(replace(rule, own_rows=0), tuple(inputs), settings.rule)


def _counted(settings: Settings, scored: Sequence[Scored]) -> list[FloatArray]:
    """The scores that count: without warm-up."""
    return [each.scores[settings.warm_up_rows :] for each in scored]


class Fold(NamedTuple):
    """One part of the held-out check. own: the scores that the model gives to what it was fitted to; judged: those of
    the rows that it has not seen."""

    own: list[FloatArray]
    judged: list[FloatArray]


def _held_out(settings: Settings, pieces: Sequence[Piece], path: Path | str, told: Told) -> list[Fold]:
    """Each contiguous fifth, judged by a model that did not see it."""
    total = sum(len(piece.rows) for piece in pieces)
    folds: list[list[Piece]] = [[] for _ in range(_FOLDS)]
    begin = 0
    for piece in pieces:
        fold_of_row = _FOLDS * (begin + np.arange(len(piece.rows))) // total
        for fold in np.unique(fold_of_row):
            folds[fold].append(Piece(*(part[fold_of_row == fold] for part in piece)))
        begin += len(piece.rows)
    found = []
    for fold, held_out in enumerate(folds):
        told(f"held-out check {fold + 1} of {_FOLDS}", (fold + 1) / (_FOLDS + 2))
        rest = [part for other, parts in enumerate(folds) if other != fold for part in parts]
        judge, scored = _fit(settings, rest, path)
        judged = [judge.score(part.rows, part.clocks) for part in held_out]
        found.append(Fold(_counted(settings, scored), _counted(settings, judged)))
    return found


def _alarms(
    settings: Settings, folds: Sequence[Fold], rates: Collection[float], *, apart: bool
) -> tuple[int, dict[float, int]]:
    """(held-out rows, rate -> alarms in them). Each fold's threshold knows nothing of its own rows: it comes from what
    its model was fitted to or, apart, from the held-out rows of the others."""
    alarms = dict.fromkeys(sorted(rates), 0)
    for fold in folds:
        others = [part for other in folds if other is not fold for part in other.judged]
        tail = (
            threshold.tail(others, settings.rule, _LEAST_OF_SERIES)
            if apart
            else threshold.tail(fold.own, settings.rule)
        )
        for scores in fold.judged:
            for rate in alarms:
                alarms[rate] += threshold.count_alarms(scores, settings.rule, tail.at(rate))
    return sum(len(scores) for fold in folds for scores in fold.judged), alarms


def _check_columns(settings: Settings, rows: FloatArray, path: Path | str) -> None:
    """Raises ModelError that names every column which cannot be learnt from."""
    problems = []
    for i, each in enumerate(settings.inputs):
        column = rows[:, i][~np.isnan(rows[:, i])]
        if column.size == 0:
            problems.append(f"{each.name} has no value at all")
        elif not np.abs(column).max() <= _LARGEST:
            problems.append(
                f"{each.name} has values such as {column[np.abs(column).argmax()]:.3g}, which no sensor gives"
            )
        elif np.ptp(column) == 0:
            problems.append(f"{each.name} is always {column[0]:.6g}")
    if problems:
        raise ModelError(
            f"{path}: {'; '.join(problems)}: leave it out of `inputs`, or give data in which it varies as it should"
        )
