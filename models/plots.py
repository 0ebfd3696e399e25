"""The pictures of a model card: scores over time, shares by tag, stated against observed false alarms."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from models.train import Trained

_SIZE, _DPI = (9.0, 3.6), 100
# More points than the picture has pixels: each slice keeps its lowest and highest.
_SLICES = 1500
_MOST_TAGS = 20
# Fixed, so that the same history gives the same picture.
_METADATA = {"Software": None}


def draw(trained: Trained, out: Path) -> dict[str, str]:
    """Writes NAME.score.png, NAME.shares.png and NAME.calibration.png beside out; what each shows -> its name."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    found = {}
    for key, about, picture in (
        ("score", "Scores of the training window", _scores),
        ("shares", "Shares of the scores by tag", _shares),
        ("calibration", "False alarms: stated and observed", _calibration),
    ):
        with mpl.rc_context({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "gaugeline"}):
            figure, axes = pyplot.subplots(figsize=_SIZE, layout="constrained")
            axes.set_title(f"{trained.manifest.name} {trained.manifest.version}: {about.lower()}")
            picture(trained, axes)
            figure.legend(loc="outside lower center", ncols=4, frameon=False)
            file = out.with_name(f"{out.stem}.{key}.png")
            figure.savefig(file, dpi=_DPI, metadata=_METADATA)
            pyplot.close(figure)
        found[about] = file.name
    return found


def _scores(trained: Trained, axes: Any) -> None:
    said = trained.manifest
    start = trained.pieces[0].seconds[0]
    unit, size = _unit(trained.pieces[-1].seconds[-1] - start)
    for i, (piece, scored) in enumerate(zip(trained.pieces, trained.scored, strict=True)):
        seconds, scores = _thinned(piece.seconds[said.warm_up_rows :], scored.scores[said.warm_up_rows :])
        axes.plot((seconds - start) / size, scores, color="#1f6f8b", linewidth=0.7, label=None if i else "score")
    label = f"threshold {said.threshold:g}: {said.false_alarms.statement}"
    axes.axhline(said.threshold, color="#c0392b", linewidth=1.2, label=label)
    axes.set_xlabel(f"{unit} from the first row")
    axes.set_ylabel("score")
    axes.set_ylim(bottom=0)


def _shares(trained: Trained, axes: Any) -> None:
    """What each tag contributes: on all rows, and on the rows with the highest hundredth of the scores."""
    said = trained.manifest
    scores = np.concatenate([each.scores[said.warm_up_rows :] for each in trained.scored])
    shares = np.concatenate([each.shares[said.warm_up_rows :] for each in trained.scored])
    high = scores >= np.quantile(scores, 0.99)
    usual, strange = np.nanmean(shares, axis=0), np.nanmean(shares[high], axis=0)
    order = np.argsort(-strange)[:_MOST_TAGS]
    names = [said.inputs[int(i)].name for i in order]
    places = np.arange(len(order))
    axes.barh(places - 0.2, 100 * strange[order], 0.4, color="#c0392b", label="of the highest 1 % of the scores")
    axes.barh(places + 0.2, 100 * usual[order], 0.4, color="#1f6f8b", label="of all scores")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlabel("share, %")


def _calibration(trained: Trained, axes: Any) -> None:
    """The held-out check at every rate of the curve: on the line is as stated, above it too many."""
    rate, period_s = trained.manifest.false_alarms, trained.manifest.period_s
    unit, size = _unit(rate.rows * period_s)
    due = np.array([rate.held_out_rows / each.rows for each in rate.curve])
    came = np.array([each.held_out_alarms for each in rate.curve], float)
    stated = np.array([each.rows * period_s / size for each in rate.curve])
    axes.plot(stated, due, color="#555555", linewidth=1.0, label=f"due in {rate.held_out_rows} held-out rows")
    # Counts scatter as a Poisson process: two standard deviations around what is due.
    axes.fill_between(
        stated, np.maximum(due - 2 * np.sqrt(due), 0), due + 2 * np.sqrt(due), color="#999999", alpha=0.25,
        label="expected scatter",
    )  # fmt: skip
    axes.plot(stated, came, "o", color="#c0392b", markersize=5, label="came")
    axes.axvline(rate.rows * period_s / size, color="#1f6f8b", linestyle="--", linewidth=1.0, label="the model's rate")
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"one false alarm in so many {unit}")
    axes.set_ylabel("false alarms")


def _thinned(seconds: Any, scores: Any) -> tuple[Any, Any]:
    if len(scores) <= 2 * _SLICES:
        return seconds, scores
    edges = np.linspace(0, len(scores), _SLICES + 1).astype(int)
    kept = [a + f(scores[a:b]) for a, b in pairwise(edges) for f in (np.argmin, np.argmax)]
    at = np.unique(kept)
    return seconds[at], scores[at]


def _unit(seconds: float) -> tuple[str, float]:
    for unit, size in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return unit, size
    return "seconds", 1.0
