"""What is normal for one asset, and how that may move."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models import manifest as manifests
from models.alarm_logic import CALM, AlarmRule, AlarmState
from models.baseline import Baseline, BaselineRule, Notice
from models.detectors.level import Level
from models.detectors.smoothing import Smoothing
from models.runtime import Model, Running, Score
from tests.models.exported import NAMES, load, manifest_of
from wire.block import FloatArray
from wire.errors import ModelError

THRESHOLD = 4.0
RULE = BaselineRule(
    follow_rows=100, slow=("current",), slow_follow_rows=20, settle_follow_rows=10, reach=3.0, drift_notice=5.0
)
ALARM = AlarmRule(
    raise_rows=2, hold_rows=5, release_rows=3, clear_ratio=0.5, peak_ratio=0.3, settle_rows=40, settle_ratio=0.5
)
RAISED = AlarmState(True, 0, 1, (9.0, 0.0, 0.0))


def baseline(rule: BaselineRule = RULE) -> Baseline:
    return Baseline(rule, NAMES, np.zeros(3), np.ones(3))


def model(folder: Path, rule: BaselineRule = RULE) -> Model:
    """Centre 0, spread 1, smoothing over 3 rows."""
    detector = Level(Smoothing(np.zeros(3), np.ones(3), 0.5, 50.0))
    return load(folder, detector, manifest_of(3, THRESHOLD, ALARM, rule))


def noise(n: int, seed: int = 1) -> FloatArray:
    return np.random.default_rng(seed).normal(0.0, 0.5, (n, 3))


def run(running: Running, rows: FloatArray) -> list[Score]:
    return [running.score(row) for row in rows]


def managed(running: Running) -> Baseline:
    assert running.baseline is not None
    return running.baseline


def test_a_slow_drift_is_followed_and_never_raises_an_alarm(tmp_path: Path) -> None:
    rows = noise(3000)
    rows[:, 0] += np.linspace(0.0, 40.0, 3000)
    running = model(tmp_path).start()
    assert not any(each.anomaly for each in run(running, rows))
    assert managed(running).shift[0] == pytest.approx(40.0, abs=2.5)


def test_without_a_baseline_the_same_drift_alarms_for_ever(tmp_path: Path) -> None:
    rows = noise(1000)
    rows[:, 0] += np.linspace(0.0, 40.0, 1000)
    detector = Level(Smoothing(np.zeros(3), np.ones(3), 0.5, 50.0))
    running = load(tmp_path, detector, manifest_of(3, THRESHOLD, ALARM)).start()
    assert all(each.anomaly for each in run(running, rows)[200:])
    assert running.baseline is None


def test_a_fault_is_not_learnt_as_normal_however_long_it_lasts(tmp_path: Path) -> None:
    rows = noise(5000)
    rows[200:, 0] += 8.0
    running = model(tmp_path).start()
    before = run(running, rows[:200])
    shift = managed(running).shift.copy()
    during = run(running, rows[200:])
    assert not any(each.anomaly for each in before)
    assert all(each.anomaly for each in during[5:])
    np.testing.assert_allclose(managed(running).shift, shift, atol=0.1)  # the two rows before it was raised


def test_nothing_is_learnt_in_alarm_nor_from_a_row_above_the_threshold() -> None:
    normal = baseline()
    normal.follow(np.full(3, 9.0), 9.0, THRESHOLD, RAISED)
    normal.follow(np.full(3, 1.0), 1.0, THRESHOLD, RAISED)
    normal.follow(np.full(3, 9.0), 9.0, THRESHOLD, CALM)
    assert not normal.shift.any()


def test_a_deviation_counts_for_no_more_than_its_reach_and_slow_tags_follow_faster() -> None:
    normal = baseline()
    normal.follow(np.array([3.9, -3.9, 1.0]), 3.9, THRESHOLD, CALM)
    np.testing.assert_allclose(normal.shift, [0.03, -0.03, 0.05])


def test_just_after_an_alarm_the_centre_comes_after_the_machine_quickly() -> None:
    normal = baseline()
    normal.follow(np.array([6.0, 0.0, 0.0]), 6.0, THRESHOLD, AlarmState(settling=3, peak=20.0))
    np.testing.assert_allclose(normal.shift, [0.6, 0.0, 0.0])


def test_a_machine_that_comes_back_a_little_changed_does_not_alarm_for_ever(tmp_path: Path) -> None:
    rows = noise(900)
    rows[100:300, 0] += 40.0
    rows[300:, 0] += 5.0  # above the threshold, had it been a fault by itself
    scores = run(model(tmp_path).start(), rows)
    assert all(each.anomaly for each in scores[105:300])
    assert not any(each.anomaly for each in scores[330:])


def test_missing_inputs_are_not_followed() -> None:
    normal = baseline()
    normal.follow(np.array([np.nan, 1.0, 0.0]), 1.0, THRESHOLD, CALM)
    np.testing.assert_allclose(normal.shift, [0.0, 0.01, 0.0])


def test_the_spread_grows_with_what_calm_rows_show_and_not_beyond_its_bound() -> None:
    rule = BaselineRule(follow_rows=1e9, spread_rows=50, spread_most=1.5)
    normal = baseline(rule)
    for _ in range(1000):
        normal.follow(np.array([1.3 / normal.widening[0], 5.0, 0.2]), 2.0, THRESHOLD, CALM)
    np.testing.assert_allclose(normal.widening, [1.3, 1.5, 1.0], rtol=1e-3)
    np.testing.assert_allclose(normal.placed(np.array([2.6, 3.0, 1.0])), [2.0, 2.0, 1.0], rtol=1e-3)


def test_a_fault_does_not_widen_the_spread() -> None:
    normal = baseline(BaselineRule(follow_rows=100, spread_rows=50))
    for _ in range(500):
        normal.follow(np.full(3, 9.0), 9.0, THRESHOLD, RAISED)
    np.testing.assert_array_equal(normal.widening, np.ones(3))


def test_a_drift_beyond_the_notice_is_told_with_its_tag_and_amount() -> None:
    normal = baseline()
    for _ in range(700):
        normal.follow(np.array([-1.0, 0.0, 0.1]), 1.0, THRESHOLD, CALM)
    (notice,) = normal.notices()
    assert (notice.kind, notice.tag) == ("drift", "flow")
    assert notice.amount == pytest.approx(-7.0)
    np.testing.assert_allclose(normal.drift(), [-7.0, 0.0, 3.5])


def test_a_new_asset_of_a_class_learns_its_own_centre_before_it_is_judged(tmp_path: Path) -> None:
    rule = BaselineRule(follow_rows=100, own_rows=50)
    running = model(tmp_path, rule).start()
    rows = noise(300) + np.array([12.0, -5.0, 0.0])
    scores = run(running, rows)
    assert all(each.warming and np.isnan(each.score) for each in scores[:50])
    assert not any(each.anomaly for each in scores)
    np.testing.assert_allclose(managed(running).shift, [12.0, -5.0, 0.0], atol=0.6)
    assert managed(running).notices() == ()


def test_a_restart_goes_on_with_the_rows_of_an_own_centre_that_is_not_known_yet() -> None:
    rule, rows = BaselineRule(follow_rows=100, own_rows=50), noise(60) + np.array([12.0, -5.0, 0.0])
    whole, first, second = (baseline(rule) for _ in range(3))
    for row in rows[:50]:
        whole.learn(row)
    for row in rows[:30]:
        first.learn(row)
    second.restore(json.loads(json.dumps(first.saved())))
    assert second.learning and second.learnt_rows == (30, 50)
    for row in rows[30:50]:
        second.learn(row)
    assert not second.learning and second.recalibrations == 1
    np.testing.assert_allclose(second.shift, whole.shift, rtol=1e-6)
    assert second.saved()["own"] == [] and second.saved()["own_seen"] == 0


def test_of_a_long_learning_only_so_many_rows_are_kept() -> None:
    long = baseline(BaselineRule(follow_rows=100, own_rows=5000))
    for row in noise(5000) + np.array([3.0, 0.0, 0.0]):
        assert len(long.saved()["own"]) <= 1000 if long.learnt_rows[0] % 1000 == 0 else True
        long.learn(row)
    assert not long.learning
    np.testing.assert_allclose(long.shift, [3.0, 0.0, 0.0], atol=0.2)


def test_what_was_kept_before_rows_were_kept_is_restored_too() -> None:
    kept = baseline(BaselineRule(follow_rows=100, own_rows=50)).saved()
    del kept["own"], kept["own_seen"]
    fresh = baseline(BaselineRule(follow_rows=100, own_rows=50))
    fresh.restore(kept)
    assert fresh.learning and fresh.learnt_rows == (0, 50)


def test_it_counts_what_it_refused_to_learn_and_how_often_it_was_renewed() -> None:
    normal = baseline(BaselineRule(follow_rows=100))
    calm, raised = AlarmState(), AlarmState(raised=True)
    normal.follow(np.zeros(3), 1.0, 4.0, calm)
    normal.follow(np.zeros(3), 5.0, 4.0, calm)
    normal.follow(np.zeros(3), 1.0, 4.0, raised)
    normal.accept()
    assert (normal.refused_rows, normal.recalibrations) == (2, 1)


def test_an_asset_far_from_its_class_is_told_and_not_taken_as_it_is() -> None:
    normal = baseline(BaselineRule(follow_rows=100, own_rows=3, own_reach=20.0))
    for _ in range(3):
        assert normal.learning
        normal.learn(np.array([50.0, 1.0, 0.0]))
    assert not normal.learning
    np.testing.assert_allclose(normal.shift, [20.0, 1.0, 0.0])
    assert normal.notices() == (Notice("not of its class", "flow", 50.0),)


def test_while_the_asset_is_off_nothing_is_scored_learnt_or_alarmed(tmp_path: Path) -> None:
    running = model(tmp_path).start()
    rows = noise(200)
    rows[:, 1] += 0.5
    run(running, rows)
    shift = managed(running).shift.copy()
    assert any(each.anomaly for each in run(running, rows[:50] + 20.0))
    running.suspend()
    off = run(running, np.zeros((500, 3)) - 30.0)
    assert all(each.warming and np.isnan(each.score) and not each.anomaly for each in off)
    running.resume()
    after = run(running, rows)
    np.testing.assert_allclose(managed(running).shift, shift, atol=0.3)
    assert [each.warming for each in after[:3]] == [True, True, False]
    assert not any(each.anomaly for each in after)


def test_an_operating_point_is_normal_once_a_person_says_so_and_both_are_known_then(tmp_path: Path) -> None:
    running = model(tmp_path).start()
    run(running, noise(100))
    other = noise(100, seed=2) + np.array([0.0, 15.0, -9.0])
    assert run(running, other)[-1].anomaly
    running.accept()
    assert not any(each.anomaly for each in run(running, other))
    back = run(running, noise(100, seed=3))
    assert any(each.anomaly for each in back[:10])
    assert not any(each.anomaly for each in back[20:])  # recognised, with nobody's help
    again = run(running, other)
    assert not any(each.anomaly for each in again[20:])
    assert run(running, other + 6.0)[-1].anomaly  # neither of the two


def test_a_model_without_a_baseline_cannot_accept_a_level(tmp_path: Path) -> None:
    detector = Level(Smoothing(np.zeros(3), np.ones(3), 0.5, 50.0))
    running = load(tmp_path, detector, manifest_of(3)).start()
    with pytest.raises(ModelError, match="has no managed baseline"):
        running.accept()


def test_what_was_learnt_outlives_a_restart() -> None:
    normal = baseline(BaselineRule(follow_rows=100, spread_rows=10))
    for _ in range(50):
        normal.follow(np.array([2.0, 1.0, 0.0]), 2.0, THRESHOLD, CALM)
    normal.step(ALARM, CALM, 10.0, THRESHOLD, np.array([0.0, 10.0, 0.0]))
    normal.accept()
    assert normal.shift[1] > 9.0
    again = baseline(BaselineRule(follow_rows=100, spread_rows=10))
    again.restore(json.loads(json.dumps(normal.saved())))
    assert again.saved() == normal.saved()
    np.testing.assert_array_equal(again.placed(np.ones(3)), normal.placed(np.ones(3)))
    smaller = Baseline(BaselineRule(follow_rows=100), NAMES[:2], np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match="3 inputs does not fit a model of 2"):
        smaller.restore(normal.saved())


def test_the_file_says_its_baseline_and_its_rule(tmp_path: Path) -> None:
    said = manifests.read(_file(tmp_path))
    assert said.baseline == RULE
    assert said.alarm == ALARM


def _file(folder: Path) -> Path:
    model(folder)
    return folder / "made_up.onnx"


def test_a_slow_tag_that_the_model_does_not_have_is_refused() -> None:
    rule = BaselineRule(follow_rows=100, slow=("oil",), slow_follow_rows=10)
    with pytest.raises(ValueError, match="oil"):
        baseline(rule)
    metadata = manifest_of(3, baseline=rule).to_metadata(b"graph")
    with pytest.raises(ModelError, match="a slow input that it does not have"):
        manifests.Manifest.from_metadata(metadata, b"graph", "m.onnx")


@pytest.mark.parametrize(
    "wrong",
    [
        {"follow_rows": 0.5},
        {"follow_rows": 10, "slow": ("flow",)},
        {"follow_rows": 10, "settle_follow_rows": 0.1},
        {"follow_rows": 10, "spread_most": 0.9},
        {"follow_rows": 10, "own_rows": -1},
        {"follow_rows": 10, "reach": 0.0},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        BaselineRule(**wrong)  # type: ignore[arg-type]
