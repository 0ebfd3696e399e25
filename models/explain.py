"""One sentence for one score: which tag is to blame, and in which direction."""

from __future__ import annotations

from models.manifest import Manifest
from models.runtime import Score

# A tag with a smaller part of the score than this is not worth naming.
_NAMED_SHARE = 0.25
_NAMED_TAGS = 2


def sentence(manifest: Manifest, score: Score) -> str:
    """What an operator reads beside the score."""
    if score.warming:
        return "Warming up: too few rows yet to judge."
    if score.score != score.score:
        return "Not judged: a value is missing."
    level = f"score {score.score:.3g}, threshold {score.threshold:.3g}"
    if score.score < score.threshold:
        return f"As usual ({level}){'; the alarm is still held' if score.anomaly else ''}."
    order = sorted(range(len(manifest.inputs)), key=lambda i: -score.shares[i])
    named = [i for i in order[:_NAMED_TAGS] if score.shares[i] >= _NAMED_SHARE] or order[:1]
    return f"Unusual ({level}): {' and '.join(_blame(manifest, score, i) for i in named)}."


def _blame(manifest: Manifest, score: Score, i: int) -> str:
    which, deviation = manifest.inputs[i], float(score.deviations[i])
    part = f"{100 * float(score.shares[i]):.0f} % of the score"
    # Within 2 robust standard deviations the value itself is common: the others make it strange.
    if abs(deviation) < 2.0:
        return f"{which.name} does not go with the other tags ({part})"
    unit = f" {which.unit}" if which.unit not in ("", "1") else ""
    return f"{which.name} is too {'high' if deviation > 0 else 'low'}, usually {which.centre:.4g}{unit} ({part})"
