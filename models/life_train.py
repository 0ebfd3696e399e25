"""From whole lives of many machines to a remaining-life file, judged on machines that took no part in the fit.

What the model cannot know from the rows it must choose (how many directions of wear, the longest remaining life to tell
apart): both are chosen by leaving out each tenth of the training units, cutting them at many points, and comparing with
their true, uncapped remaining life. The same predictions give the interval its margins (cross-conformal: Vovk,
"Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence 74, 2015).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.export import export
from models.life import Cap, HeldOut, LifeManifest, load
from models.life_features import MOST_DIRECTIONS, Fusion, figures, varied
from models.life_graph import Margins, graph
from models.life_nets import Nets
from models.manifest import Input, Training
from wire.block import FloatArray
from wire.errors import ModelError

# The file is float32, the reference float64: in cycles.
_AGREEMENT = 0.5


@dataclass(frozen=True)
class Plan:
    """How a model is made. horizon: the longest remaining life that matters, in rows; training lives are cut up to so
    long before their end. caps: candidates for the cap, as parts of the horizon. nets: averaged in the file;
    trial_nets: in each held-out fit. rounds: passes over the rows.
    copies: varied ones of each life. folds: parts of the units. least_rows: of a cut
    life. warm_up_rows: before an estimate counts. most_rows: of training, thinned above."""

    horizon: float = 150.0
    caps: tuple[float, ...] = (0.7, 0.77, 0.84, 0.91, 1.0)
    level: float = 0.9
    nets: int = 16
    trial_nets: int = 2
    hidden: tuple[int, int] = (32, 16)
    rounds: int = 40
    copies: int = 2
    folds: int = 10
    least_rows: int = 30
    warm_up_rows: int = 15
    most_rows: int = 32_000
    seed: int = 1

    @property
    def steps(self) -> int:
        """At most so many fits, for a progress bar."""
        return self.folds * (3 + len(self.caps) - 1) + 1


@dataclass(frozen=True)
class Judged:
    """Held-out predictions at many cuts. unit, fold: of each cut. rul, true: in rows."""

    unit: NDArray[np.int64]
    fold: NDArray[np.int64]
    rul: FloatArray
    true: FloatArray

    @property
    def rmse(self) -> float:
        return float(np.sqrt(np.mean((self.rul - self.true) ** 2)))

    @property
    def score(self) -> float:
        """NASA's, per 100 units: a late prediction costs more than an early one."""
        return 100.0 * float(np.mean(penalty(self.rul - self.true)))


@dataclass(frozen=True)
class Trained:
    """A model in memory, and the bytes of its file."""

    manifest: LifeManifest
    fusion: Fusion
    nets: Nets
    margins: Margins
    content: bytes


def penalty(late: FloatArray) -> FloatArray:
    """NASA's score of each prediction (Saxena and others, PHM08). late: predicted minus true, in cycles."""
    bounded = np.clip(late, -500.0, 500.0)
    return np.where(bounded < 0, np.exp(-bounded / 13.0), np.exp(bounded / 10.0)) - 1.0


def train(
    lives: Mapping[int, FloatArray],
    inputs: Sequence[tuple[str, str]],
    settings: int,
    name: str,
    training: Training,
    plan: Plan | None = None,
    advance: Callable[[str], None] = lambda _: None,
) -> Trained:
    """lives: unit -> its rows from first to failure, shape (n_rows, n_inputs), NaN where missing; the first `settings`
    inputs are operating settings. inputs: (name, unit) of each column. advance: called after each fit with what comes.

    Raises ModelError for lives that cannot be learnt from.
    """
    plan = plan or Plan()
    units = _usable(lives, plan)
    fold = _folds(len(units), plan)
    fusions = []
    for part in range(plan.folds):
        fusions.append(Fusion.fit([unit for unit, of in zip(units, fold, strict=True) if of != part], settings))
    whole = Fusion.fit(units, settings)

    def judged(directions: int, cap: float, what: str) -> Judged:
        return _held_out(units, fold, fusions, directions, cap, plan, lambda: advance(what))

    middle = plan.caps[len(plan.caps) // 2] * plan.horizon
    clear = whole.clear_directions
    most = min(MOST_DIRECTIONS, *(fusion.directions for fusion in (whole, *fusions)))
    trials = {
        k: judged(k, middle, "choosing directions of wear") for k in (clear - 1, clear, clear + 1) if 1 <= k <= most
    }
    directions = min(trials, key=lambda k: _loss(trials[k]))
    by_cap = {
        part * plan.horizon: trials[directions]
        if part * plan.horizon == middle
        else judged(directions, part * plan.horizon, "choosing the cap")
        for part in plan.caps
    }
    cap = min(by_cap, key=lambda each: _loss(by_cap[each]))
    chosen = by_cap[cap]
    fusion = whole.narrowed(directions)
    nets = _fit(fusion, units, cap, plan.nets, plan)
    advance("writing the file")
    margins = _margins(chosen, plan.level)
    coverage, width = _checked(chosen, plan)
    manifest = LifeManifest(
        name=name,
        version="1",
        inputs=_described(inputs, np.concatenate(units)),
        life_unit="cycles",
        cap=float(cap),
        caps=tuple(Cap(float(each), round(of.rmse, 3), round(of.score, 2)) for each, of in by_cap.items()),
        horizon=plan.horizon,
        level=plan.level,
        warm_up_rows=plan.warm_up_rows,
        longest=float(max(len(unit) for unit in units)),
        regimes=len(whole.regimes),
        held_out=HeldOut(
            len(units),
            len(chosen.rul),
            round(chosen.rmse, 3),
            round(chosen.score, 2),
            round(coverage, 4),
            round(width, 2),
        ),
        training=training,
        ignored={inputs[i][0]: why for i, why in sorted(whole.ignored.items())},
    )
    return Trained(manifest, fusion, nets, margins, export(graph(len(inputs), fusion, nets, margins), manifest))


def write(trained: Trained, out: Path, proof: FloatArray) -> None:
    """Writes the file and runs it over one life (proof) as a gateway will. Raises ModelError if that differs."""
    try:
        out.write_bytes(trained.content)
    except OSError as fault:
        raise ModelError(f"{out}: cannot be written: {fault.strerror}") from fault
    running = load(out).start()
    said = np.array([running.step(row).rul for row in proof])
    worst = float(np.abs(said - trained.nets.predict(trained.fusion.describe(proof))).max())
    if not worst <= _AGREEMENT:
        raise ModelError(f"{out}: onnxruntime and the reference differ by {worst:.2g}: do not use this file")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _usable(lives: Mapping[int, FloatArray], plan: Plan) -> list[FloatArray]:
    units = [rows for _, rows in sorted(lives.items()) if len(rows) > plan.least_rows]
    if len(units) < 2 * plan.folds:
        raise ModelError(
            f"{len(units)} units with more than {plan.least_rows} rows until failure; at least {2 * plan.folds} are "
            "needed. Without such a history, use a limit and the trend towards it"
        )
    return units


def _folds(units: int, plan: Plan) -> NDArray[np.int64]:
    return np.random.default_rng(plan.seed).permutation(units) % plan.folds


def _loss(judged: Judged) -> float:
    """RMSE and NASA's score both count; the score is about a square."""
    return math.log(judged.rmse) + 0.5 * math.log(judged.score)


def _held_out(
    units: Sequence[FloatArray],
    fold: NDArray[np.int64],
    fusions: Sequence[Fusion],
    directions: int,
    cap: float,
    plan: Plan,
    advance: Callable[[], None],
) -> Judged:
    found: list[tuple[int, int, FloatArray, FloatArray]] = []
    for part, full in enumerate(fusions):
        fusion = full.narrowed(directions)
        rest = [unit for unit, of in zip(units, fold, strict=True) if of != part]
        nets = _fit(fusion, rest, cap, plan.trial_nets, plan)
        for i in np.flatnonzero(fold == part).tolist():
            left = np.arange(len(units[i]))[::-1].astype(np.float64)
            cut = (np.arange(len(left)) >= plan.least_rows) & (left <= plan.horizon) & (left % 3 == 0)
            found.append((i, part, nets.predict(fusion.describe(units[i])[cut]), left[cut]))
        advance()
    return Judged(
        np.concatenate([np.full(len(true), i, dtype=np.int64) for i, _, _, true in found]),
        np.concatenate([np.full(len(true), part, dtype=np.int64) for _, part, _, true in found]),
        np.concatenate([rul for _, _, rul, _ in found]),
        np.concatenate([true for _, _, _, true in found]),
    )


def _fit(fusion: Fusion, units: Sequence[FloatArray], cap: float, nets: int, plan: Plan) -> Nets:
    """Nets from whole lives and varied copies of them; rows are thinned where there are many."""
    dice = np.random.default_rng(plan.seed)
    thin = max(1, math.ceil((1 + plan.copies) * sum(map(len, units)) / plan.most_rows))
    features, target = [], []
    for unit in units:
        fused = fusion.fuse(unit)
        for life in (fused, *(varied(fused, dice) for _ in range(plan.copies))):
            kept = slice(plan.warm_up_rows, None, thin)
            features.append(figures(life)[kept])
            target.append(np.minimum(np.arange(len(life))[::-1], cap)[kept])
    x, y = np.concatenate(features), np.concatenate(target).astype(np.float64)
    return Nets.fit(x, y, nets=nets, hidden=plan.hidden, rounds=plan.rounds, seed=plan.seed)


_KNOTS = 12


def _margins(judged: Judged, level: float) -> Margins:
    """Margins that depend on the prediction: at each knot, quantiles of the errors of the predictions nearest to it."""
    order = np.argsort(judged.rul, kind="stable")
    rul, late = judged.rul[order], (judged.rul - judged.true)[order]
    # Cuts of one unit err together: the sample is as large as the number of units, not of cuts.
    units = len(np.unique(judged.unit))
    each = min(1.0, math.ceil((units + 1) * (1 + level) / 2) / units)
    near = max(len(rul) // 8, 1)
    middles = np.linspace(near // 2, len(rul) - 1 - near // 2, _KNOTS).astype(int)
    at: list[float] = []
    below: list[float] = []
    above: list[float] = []
    for middle in middles:
        part = slice(max(0, middle - near // 2), middle + near // 2 + 1)
        knot = float(np.median(rul[part]))
        if at and knot <= at[-1] + 1e-3:
            continue
        at.append(knot)
        below.append(max(0.0, float(np.quantile(late[part], each))))
        above.append(max(0.0, float(np.quantile(-late[part], each))))
    if len(at) == 1:
        at, below, above = [at[0], at[0] + 1.0], below * 2, above * 2
    return Margins(np.array(at), np.array(below), np.array(above))


def _checked(judged: Judged, plan: Plan) -> tuple[float, float]:
    """(coverage, mean width) of intervals whose margins come from the other folds."""
    inside, width = [], []
    for part in np.unique(judged.fold):
        own = judged.fold == part
        rest = Judged(judged.unit[~own], judged.fold[~own], judged.rul[~own], judged.true[~own])
        lower, upper = _margins(rest, plan.level).interval(judged.rul[own])
        inside.append((judged.true[own] >= lower) & (judged.true[own] <= upper))
        width.append(upper - lower)
    return float(np.concatenate(inside).mean()), float(np.concatenate(width).mean())


def _described(inputs: Sequence[tuple[str, str]], rows: FloatArray) -> tuple[Input, ...]:
    described = []
    for (name, unit), column in zip(inputs, rows.T, strict=True):
        known = column[~np.isnan(column)]
        centre, spread = (float(known.mean()), float(known.std())) if known.size else (0.0, 0.0)
        described.append(Input(name, unit, float(f"{centre:.6g}"), float(f"{spread:.6g}")))
    return tuple(described)
