"""What an operator reads beside a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models import explain
from models.runtime import Score
from models.train import Trained


def said(
    trained: Trained, score: float, shares: Sequence[float], deviations: Sequence[float], *, warming: bool = False
) -> str:
    full = Score(score, 4.0, np.array(shares), warming, score >= 4.0, np.array(deviations))
    return explain.sentence(trained.manifest, full)


def test_one_tag_to_blame_is_named_with_its_direction_and_its_usual_value(trained: Trained) -> None:
    usual = f"{trained.manifest.inputs[0].centre:.4g}"
    assert said(trained, 6.0, [0.8, 0.1, 0.1], [-5.0, 0.2, 0.1]) == (
        f"Unusual (score 6, threshold 4): flow is too low, usually {usual} m3/h (80 % of the score)."
    )


def test_two_tags_to_blame_are_both_named_the_greater_first(trained: Trained) -> None:
    text = said(trained, 6.0, [0.4, 0.6, 0.0], [-3.0, 4.0, 0.0])
    assert text.index("pressure is too high") < text.index("flow is too low")
    assert "current" not in text


def test_a_value_that_is_common_by_itself_is_blamed_for_the_relation(trained: Trained) -> None:
    assert "flow does not go with the other tags (90 % of the score)" in said(trained, 5.0, [0.9, 0.1, 0], [1.5, 0, 0])


def test_when_many_share_the_blame_the_greatest_is_named(trained: Trained) -> None:
    manifest_inputs = trained.manifest.inputs * 2
    wide = Score(5.0, 4.0, np.array([0.15, 0.15, 0.24, 0.16, 0.15, 0.15]), False, True, np.full(6, 3.0))
    text = explain.sentence(replace(trained.manifest, inputs=manifest_inputs), wide)
    assert text.count("%") == 1
    assert "current is too high" in text


def test_below_the_threshold_nothing_is_blamed(trained: Trained) -> None:
    assert said(trained, 1.0, [1, 0, 0], [1, 0, 0]) == "As usual (score 1, threshold 4)."
    held = Score(3.9, 4.0, np.array([1.0, 0, 0]), False, True, np.zeros(3))
    assert explain.sentence(trained.manifest, held).endswith("; the alarm is still held.")


def test_no_score_is_said_to_be_none(trained: Trained) -> None:
    assert said(trained, 9.0, [1, 0, 0], [9, 0, 0], warming=True).startswith("Warming up")
    assert said(trained, float("nan"), [1, 0, 0], [9, 0, 0]) == "Not judged: a value is missing."
