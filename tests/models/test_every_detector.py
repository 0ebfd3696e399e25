"""One contract for every detector of the registry: trained, written, loaded and run as a gateway will."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest

from models import alarm_logic, detectors, history, runtime, threshold, train
from models.alarm_logic import AlarmRule
from models.baseline import BaselineRule
from models.detectors.detector import Scored
from models.history import History
from models.settings import Settings, read_settings
from models.train import Trained
from tests.models.conftest import CONFIG, normal_rows
from tests.models.single_series import rhythm
from wire.block import FloatArray
from wire.errors import ConfigError, ModelError

ONE = CONFIG.replace("  - {name: pressure, unit: bar}\n  - {name: current, unit: A}\n", "")
ROWS, FRESH = 1500, 400
SEASON_PERIOD_S = 900
MONDAY_S = 345600


class Case(NamedTuple):
    """A model in its file. fresh, clocks: normal rows that come after those of the history."""

    trained: Trained
    model: runtime.Model
    fresh: FloatArray
    clocks: FloatArray


def history_of(rows: FloatArray, period_s: int, folder: Path) -> tuple[History, Path]:
    names = ["flow", "pressure", "current"][: rows.shape[1]]
    lines = [f"{MONDAY_S + i * period_s},{','.join(f'{x:.6g}' for x in row)}" for i, row in enumerate(rows)]
    (folder / "rows.csv").write_text("\n".join([f"t_s,{','.join(names)}", *lines]) + "\n")
    return history.read_csv(folder / "rows.csv", "t_s", names), folder / "rows.csv"


def settings_of(text: str, folder: Path) -> Settings:
    (folder / "m.yaml").write_text(text)
    return read_settings(folder / "m.yaml")


@pytest.fixture(scope="module", params=list(detectors.DETECTORS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Multivariate ones from a pump, single series from one tag of it, those with a profile from a daily rhythm."""
    name = str(request.param)
    folder = tmp_path_factory.mktemp(name)
    seasonal = name.startswith("seasonal")
    period_s = SEASON_PERIOD_S if seasonal else 1
    text = (ONE if name in detectors.SINGLE_SERIES else CONFIG).replace("period_s: 1", f"period_s: {period_s}")
    settings = settings_of(f"{text}detector: {name}\n", folder)
    rows = rhythm(ROWS + FRESH, seed=1)[:, None] if seasonal else normal_rows(ROWS + FRESH, seed=1)
    rows = rows[:, : len(settings.inputs)]
    known, data = history_of(rows[:ROWS], period_s, folder)
    trained = train.train(settings, known, data)
    train.write(trained, folder / "m.onnx", known.rows[:100], known.clocks("")[:100])
    later, _ = history_of(rows, period_s, folder)
    return Case(trained, runtime.load(folder / "m.onnx"), rows[ROWS:], later.clocks("")[ROWS:])


def told(running: runtime.Running, rows: FloatArray, clocks: FloatArray) -> list[runtime.Score]:
    return [running.score(row, (clock[0], clock[1])) for row, clock in zip(rows, clocks, strict=True)]


def test_its_file_is_a_small_checked_onnx_model(case: Case) -> None:
    content = case.trained.content
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert len(content) <= 1_000_000
    said = case.model.manifest
    assert said.detector in detectors.DETECTORS
    assert said.threshold == case.trained.manifest.threshold > 0


def test_it_scores_row_by_row_as_its_reference_and_the_same_after_a_reset(case: Case) -> None:
    running = case.model.start()
    first = told(running, case.fresh, case.clocks)
    running.reset()
    again = told(running, case.fresh, case.clocks)
    assert [each.score for each in first] == [each.score for each in again]
    wanted: Scored = (
        case.trained.detector.score(case.fresh, case.clocks)  # type: ignore[call-arg]
        if case.model.wants_clock
        else case.trained.detector.score(case.fresh)
    )
    np.testing.assert_allclose([each.score for each in first], wanted.scores, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose([each.deviations for each in first], wanted.deviations, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose([each.shares for each in first], wanted.shares, atol=1e-2)
    np.testing.assert_allclose([each.shares.sum() for each in first], 1.0, atol=1e-5)


def test_normal_rows_are_calm_and_ten_spreads_are_an_alarm_of_that_tag(case: Case) -> None:
    spread = case.model.manifest.inputs[0].spread
    fresh = told(case.model.start(), case.fresh, case.clocks)
    assert sum(each.anomaly for each in fresh) <= 0.1 * FRESH
    for direction in (10.0, -10.0):
        broken = case.fresh.copy()
        broken[FRESH // 2 :, 0] += direction * spread
        scores = told(case.model.start(), broken, case.clocks)[FRESH // 2 :]
        raised = next(i for i, each in enumerate(scores) if each.anomaly)
        assert raised < 50
        assert scores[raised].shares.argmax() == 0
        assert scores[raised].deviations[0] * direction > 0


def test_a_row_with_a_missing_value_is_scored_on_the_rest_or_not_remembered(case: Case) -> None:
    running, untouched = case.model.start(), case.model.start()
    told(running, case.fresh[:50], case.clocks[:50])
    told(untouched, case.fresh[:50], case.clocks[:50])
    gone = case.fresh[50].copy()
    gone[0] = np.nan
    (score,) = told(running, gone[None], case.clocks[50:51])
    assert np.isnan(score.shares[0]) and np.isnan(score.deviations[0]) and not score.anomaly
    if case.model.manifest.missing is not None:
        assert score.score > 0 and score.threshold > 0
        assert np.nansum(score.shares) == pytest.approx(1.0, abs=1e-5)
        return
    assert np.isnan(score.score) and case.model.manifest.detector in detectors.SINGLE_SERIES
    after = [told(each, case.fresh[51:60], case.clocks[51:60]) for each in (running, untouched)]
    assert [each.score for each in after[0]] == [each.score for each in after[1]]


def test_its_held_out_rows_were_judged(case: Case) -> None:
    rate = case.trained.manifest.false_alarms
    assert 0.9 * ROWS <= rate.held_out_rows <= ROWS
    assert rate.held_out_alarms <= 3


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (CONFIG + "detector: novelty\n", "m.yaml:4: inputs: novelty judges one series: give one input"),
        (ONE + "detector: pca\n", "m.yaml:4: inputs: pca judges how tags go together: give two"),
        (ONE + "detector: forecast\nalarm: {hold_rows: 5, raise_rows: 3}\n", "m.yaml:9: alarm.raise_rows: must be 1"),
        (ONE + "detector: forecast\nbaseline: {follow_rows: 9}\n", "m.yaml:9: baseline: forecast follows its series"),
    ],
)
def test_what_a_detector_cannot_do_is_told_with_its_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_of(text, tmp_path)
    assert refused.value.problems[0].replace(f"{tmp_path}/", "").startswith(fault)


def test_a_single_series_raises_its_alarm_by_one_row_but_for_that_as_the_others(tmp_path: Path) -> None:
    rule = settings_of(ONE + "detector: novelty\nalarm: {hold_rows: 7}\n", tmp_path).rule
    assert (rule.raise_rows, rule.hold_rows, rule.release_rows) == (1, 7, 10)


def train_on(rows: FloatArray, text: str, folder: Path) -> Trained:
    known, data = history_of(rows, 1, folder)
    return train.train(settings_of(text, folder), known, data)


def test_the_level_has_a_floor_by_unit_or_by_setting(tmp_path: Path) -> None:
    rows = normal_rows(800, seed=1)
    text = CONFIG.replace("unit: m3/h", "unit: Cel").replace("unit: bar", "unit: mm/s") + "detector: level\n"
    rows[:, 0] = 20 + 0.01 * rows[:, 0]
    spread = [each.spread for each in train_on(rows, text, tmp_path).manifest.inputs]
    assert spread[0] == 2.0
    said = text + "detector_settings: {least_spreads: {flow: 0.5, current: 100.0}, centre_rows: 200}\n"
    spread = [each.spread for each in train_on(rows, said, tmp_path).manifest.inputs]
    assert (spread[0], spread[2]) == (0.5, 100.0)
    with pytest.raises(ModelError, match="least_spreads names no input: speed"):
        train_on(rows, text + "detector_settings: {least_spreads: {speed: 1.0}}\n", tmp_path)


def test_the_level_learns_from_several_stretches_and_says_how_long_they_must_be(tmp_path: Path) -> None:
    rows = normal_rows(1200, seed=1)
    rows[300], rows[700:710] = np.nan, np.nan
    known = train_on(rows, CONFIG + "detector: level\n", tmp_path)
    whole = train_on(normal_rows(1200, seed=1), CONFIG + "detector: level\n", tmp_path)
    for mine, theirs in zip(known.manifest.inputs, whole.manifest.inputs, strict=True):
        assert mine.spread == pytest.approx(theirs.spread, rel=0.3)
    with pytest.raises(ModelError, match=r"the detector level needs 1020 rows .* lag_rows"):
        train_on(normal_rows(1200, seed=1), CONFIG + "detector: level\ndetector_settings: {lag_rows: 250}\n", tmp_path)


def test_members_can_be_chosen_and_speak_in_the_spreads_of_the_first(tmp_path: Path) -> None:
    text = CONFIG + "detector: combined\ndetector_settings: {members: [level, pca]}\n"
    made = train_on(normal_rows(1200, seed=1), text, tmp_path)
    rows = np.tile([each.centre for each in made.manifest.inputs], (300, 1))
    rows[:, 1] += 4 * made.manifest.inputs[1].spread
    np.testing.assert_allclose(made.detector.score(rows).deviations[-1], [0, 4, 0], atol=0.2)
    with pytest.raises(ModelError, match=r"detector_settings\.members: pca judges how tags go together"):
        train_on(normal_rows(1200, seed=1)[:, :1], text.replace(CONFIG, ONE), tmp_path)
    with pytest.raises(ConfigError, match=r"m\.yaml:11: detector_settings\.members"):
        settings_of(text.replace("[level, pca]", "[level]"), tmp_path)


def test_where_no_row_was_surprising_the_least_threshold_is_taken_and_said_so() -> None:
    tail = threshold.tail([np.zeros(1000)], AlarmRule(1, 10, 10), least=0.023)
    assert tail.rates(5000) == [5000.0]
    fit = threshold.told(tail, 5000)
    assert (fit.threshold, fit.peaks) == (0.023, 0)
    assert fit.method.startswith("none of 1000 normal rows surprised it")


def test_a_rate_that_the_least_threshold_undercuts_is_said_to_be_lower(tmp_path: Path) -> None:
    text = ONE.replace("5000", "100") + "detector: novelty\n"
    made = train_on(normal_rows(1500, seed=1)[:, :1], text, tmp_path)
    assert made.manifest.threshold == 0.023
    assert "the least one, so that fewer false alarms are due" in made.manifest.false_alarms.method
    train.write(made, tmp_path / "m.onnx", normal_rows(50, seed=1)[:, :1])
    assert runtime.load(tmp_path / "m.onnx").manifest == made.manifest


def drifting(n: int, seed: int) -> FloatArray:
    """Normal rows of a machine whose flow wanders by four of its spreads."""
    rows = normal_rows(n, seed)
    rows[:, 0] += 12 * np.sin(np.arange(n) * 2 * np.pi / 1000)
    return rows


def test_thresholds_are_those_of_a_baseline_that_follows(tmp_path: Path) -> None:
    follows = CONFIG + "baseline: {follow_rows: 30, spread_rows: 1000, own_rows: 50}\n"
    still, moving = (train_on(drifting(2000, 1), text, tmp_path) for text in (CONFIG, follows))
    assert moving.manifest.baseline == BaselineRule(30, spread_rows=1000, own_rows=50)
    assert moving.manifest.threshold < 0.9 * still.manifest.threshold
    train.write(moving, tmp_path / "m.onnx", drifting(200, 1))
    model = runtime.load(tmp_path / "m.onnx")
    assert model.manifest == moving.manifest
    scores = [model.start().score(row) for row in drifting(60, 2)[:1]]
    assert np.isnan(scores[0].score), "it first learns its own centre"
    running = model.start()
    alarms = [running.score(row).anomaly for row in drifting(2000, seed=2)]
    assert np.count_nonzero(np.diff(np.array(alarms, int)) > 0) <= 3


def test_slow_tags_are_those_that_are_named_or_have_a_unit_of_temperature(tmp_path: Path) -> None:
    thermal = CONFIG.replace("unit: bar", "unit: Cel")
    by_unit = settings_of(thermal + "baseline: {follow_rows: 100, slow_follow_rows: 50}\n", tmp_path).baseline_rule
    named = settings_of(
        thermal + "baseline: {follow_rows: 100, slow_follow_rows: 50, slow: [current]}\n", tmp_path
    ).baseline_rule
    none = settings_of(thermal + "baseline: {follow_rows: 100}\n", tmp_path).baseline_rule
    assert by_unit and named and none
    assert (by_unit.slow, named.slow, none.slow) == (("pressure",), ("current",), ())


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ("baseline: {follow_rows: 0}", "m.yaml:10: baseline.follow_rows: Input should be greater"),
        ("baseline: {slow: [flow]}", "m.yaml:10: baseline.follow_rows: is missing"),
        ("baseline: {follow_rows: 9, slow: [speed], slow_follow_rows: 5}", "m.yaml:10: baseline.slow: names no input"),
        ("baseline: {follow_rows: 9, slow: [flow]}", "m.yaml:10: baseline: follow_rows, slow_follow_rows and"),
        ("baseline: {follow_rows: 9, spread_rows: 0.5}", "m.yaml:10: baseline: spread_rows must be 0"),
        ("alarm: {peak_ratio: 1.0}", "m.yaml:10: alarm.peak_ratio: Input should be less than 1"),
    ],
)
def test_a_wrong_section_is_told_with_its_line(tmp_path: Path, section: str, fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_of(f"{CONFIG}{section}\n", tmp_path)
    assert refused.value.problems[0].replace(f"{tmp_path}/", "").startswith(fault)


def test_the_usual_values_of_a_baseline_are_those_of_its_rule(tmp_path: Path) -> None:
    assert settings_of(CONFIG + "baseline: {follow_rows: 9}\n", tmp_path).baseline_rule == BaselineRule(9)


def test_counting_alarms_leaps_and_settles_as_the_alarm_logic_does() -> None:
    scores = normal_rows(5000, seed=4)[:, 2] - 9.0
    for rule in (AlarmRule(2, 5, 3, 0.8), AlarmRule(2, 5, 3, 0.8, 0.3, 40, 0.9), AlarmRule(1, 0, 1, 1.0, 0.0, 9, 1.0)):
        state, came = alarm_logic.CALM, 0
        for score in scores:
            before, state = state, alarm_logic.step(rule, state, float(score), 3.0)
            came += state.raised and not before.raised
        assert came > 5
        assert threshold.count_alarms(scores, rule, 3.0) == came
