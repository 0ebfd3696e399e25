"""What an operator reads beside a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import explain, runtime
from models.baseline import BaselineRule
from models.detectors.robust_distance import RobustDistance
from models.export import export
from models.runtime import Score, load
from models.train import Trained
from tests.models.conftest import normal_rows


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


def expecting(trained: Trained, deviations: Sequence[float], expected: Sequence[float]) -> Score:
    return Score(6.0, 4.0, np.array([0.8, 0.1, 0.1]), False, True, np.array(deviations), np.array(expected))


def test_what_the_others_suggest_is_said_in_per_cent_in_both_languages(trained: Trained) -> None:
    flow = trained.manifest.inputs[0]
    low = expecting(trained, [-4.0, 0.0, 0.0], [flow.centre, 6.0, 11.0])
    percent = 100 * 4 * flow.spread / flow.centre
    first, second = flow.follows
    assert explain.sentence(trained.manifest, low) == (
        f"Unusual (score 6, threshold 4): flow {percent:.0f} % lower than {first} and {second} suggest "
        "(80 % of the score)."
    )
    assert explain.sentence(trained.manifest, low, "zh") == (
        f"异常（得分 6，阈值 4）：flow 比根据 {first} 和 {second} 推算的值低 {percent:.0f} %（占得分的 80 %）。"
    )
    high = expecting(trained, [4.0, 0.0, 0.0], [flow.centre, 6.0, 11.0])
    assert " % higher than " in explain.sentence(trained.manifest, high)
    assert "推算的值高" in explain.sentence(trained.manifest, high, "zh")


def test_a_value_that_the_others_suggest_too_is_only_called_too_high(trained: Trained) -> None:
    flow = trained.manifest.inputs[0]
    agreed = expecting(trained, [4.0, 4.0, 4.0], [flow.centre + 3.9 * flow.spread, 6.0, 11.0])
    assert "flow is too high" in explain.sentence(trained.manifest, agreed)
    assert "flow 过高" in explain.sentence(trained.manifest, agreed, "zh")


def test_degrees_are_told_in_degrees_and_not_in_per_cent(trained: Trained) -> None:
    flow, *rest = trained.manifest.inputs
    warm = replace(trained.manifest, inputs=(replace(flow, unit="Cel"), *rest))
    by = f"{4 * flow.spread:.3g} Cel higher than"
    assert by in explain.sentence(warm, expecting(trained, [4.0, 0, 0], [flow.centre, 6.0, 11.0]))


def test_each_part_has_its_share_direction_value_and_what_was_expected(trained: Trained) -> None:
    full = Score(6.0, 4.0, np.array([0.2, 0.7, np.nan]), False, True, np.array([0.5, -3.0, np.nan]))
    parts = explain.parts(trained.manifest, full)
    assert [(part.name, part.direction) for part in parts] == [
        ("pressure", explain.Direction.LOW),
        ("flow", explain.Direction.RELATION),
        ("current", explain.Direction.MISSING),
    ]
    pressure = trained.manifest.inputs[1]
    assert parts[0].value == pressure.centre - 3.0 * pressure.spread
    assert parts[0].expected is None and parts[0].share == 0.7
    assert explain.sentence(trained.manifest, full).endswith("; judged without current.")
    assert explain.sentence(trained.manifest, full, "zh").endswith("；判断时缺少 current。")


def test_every_case_has_its_words_in_chinese(trained: Trained) -> None:
    shares, flat = np.array([0.9, 0.1, 0.0]), np.array([1.5, 0.0, 0.0])
    for score, word in (
        (Score(9.0, 4.0, shares, True, False, flat), "预热中"),
        (Score(float("nan"), 4.0, shares, False, False, flat), "未判断"),
        (Score(1.0, 4.0, shares, False, True, flat), "正常（得分 1，阈值 4）；报警仍在保持。"),
        (Score(5.0, 4.0, shares, False, True, flat), "flow 与其他测点不相符（占得分的 90 %）"),
    ):
        assert word in explain.sentence(trained.manifest, score, "zh")


def test_the_graph_says_what_the_reference_expects(trained: Trained, model_file: Path) -> None:
    rows = normal_rows(50, seed=21)
    running = runtime.load(model_file).start()
    scores = [running.score(row) for row in rows]
    detector = trained.detector
    assert isinstance(detector, RobustDistance)
    wanted = detector.expected(detector.score(rows).deviations)
    np.testing.assert_allclose([score.expected for score in scores if score.expected is not None], wanted, rtol=1e-4)
    # A pump whose flow alone is off: the others suggest what it should be.
    odd = rows + np.array([-15.0, 0.0, 0.0])
    last = [running.score(row) for row in odd][-1]
    assert last.expected is not None
    assert abs(last.expected[0] - rows[-20:, 0].mean()) < 5.0


def test_where_the_baseline_has_moved_usual_is_where_the_asset_is_now(trained: Trained) -> None:
    manifest = trained.manifest
    each, n = manifest.inputs[0], len(manifest.inputs)
    deviations, shift, widening = np.zeros(n), np.zeros(n), np.ones(n)
    deviations[0], shift[0], widening[0] = 5.0, 10.0, 2.0
    expected = np.array([one.centre for one in manifest.inputs])
    score = Score(6.0, 4.0, np.eye(n)[0], False, True, deviations, expected, shift, widening)
    part = explain.parts(manifest, score)[0]
    assert part.usual == pytest.approx(each.centre + 10.0) and part.spread == pytest.approx(2 * each.spread)
    assert part.value == pytest.approx(each.centre + 10.0 + 10.0 * each.spread)
    assert part.expected == pytest.approx(each.centre + 10.0)
    words = explain.sentence(manifest, score._replace(expected=None))
    assert f"flow is too high, usually {each.centre + 10:.4g} m3/h" in words


def test_a_running_baseline_tells_its_shift_with_the_score(trained: Trained, tmp_path: Path) -> None:
    manifest = replace(trained.manifest, baseline=BaselineRule(follow_rows=1e6))
    (tmp_path / "m.onnx").write_bytes(export(trained.detector.graph(), manifest))
    running = load(tmp_path / "m.onnx").start()
    assert running.baseline is not None
    running.baseline.shift[:] = [10.0, 0.0, 0.0]
    level = np.array([one.centre for one in manifest.inputs]) + np.array([10.0, 0.0, 0.0])
    for _ in range(30):
        score = running.score(level)
    assert score.score < 0.1 and score.shift is not None and score.shift[0] == pytest.approx(10.0, rel=1e-3)
    flow = next(part for part in explain.parts(manifest, score) if part.name == "flow")
    assert flow.usual == pytest.approx(flow.value, rel=1e-3) == pytest.approx(level[0], rel=1e-3)
