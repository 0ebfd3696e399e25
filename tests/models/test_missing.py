"""A tag that is missing while a machine runs: the rest is judged, at the stated rate, and it is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import explain, history, inspection, runtime, threshold, train
from models.alarm_logic import AlarmRule
from models.baseline import BaselineRule
from models.detectors.robust_distance import RobustDistance
from models.manifest import Manifest
from models.missing import Filler, MissingRule
from models.settings import read_settings
from models.train import Trained
from tests.models import exported
from tests.models.conftest import CONFIG, normal_rows, write_csv
from wire.block import FloatArray
from wire.errors import ModelError

RATE, KNOWN, FRESH = 250, 3000, 8000
DETECTORS = ("robust_distance", "level", "pca", "neighbours", "combined")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """A pump judged by the detector of that name."""
    folder = tmp_path_factory.mktemp("missing")
    data = write_csv(folder / "normal.csv", normal_rows(KNOWN, seed=3))
    found: dict[str, Trained] = {}

    def one(detector: str) -> Trained:
        if detector not in found:
            (folder / "m.yaml").write_text(CONFIG.replace("5000", str(RATE)) + f"detector: {detector}\n")
            known = history.read_csv(data, "t_s", ["flow", "pressure", "current"])
            found[detector] = train.train(read_settings(folder / "m.yaml"), known, data)
        return found[detector]

    return one


@pytest.fixture(scope="module")
def model_of(made: Callable[[str], Trained]) -> Callable[[str], runtime.Model]:
    return lambda detector: runtime.of_content(made(detector).content, Path(detector))


def without(rows: FloatArray, *columns: int) -> FloatArray:
    holed = rows.copy()
    holed[:, list(columns)] = np.nan
    return holed


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_rate_of_false_alarms_stays_when_a_tag_is_missing(made: Callable[[str], Trained], detector: str) -> None:
    """32 are due in 8,000 rows that took no part. The detector's own numpy scores them, which is the file's twin."""
    trained, fresh = made(detector), normal_rows(KNOWN + FRESH, seed=3)[KNOWN:]
    said = trained.manifest
    assert said.missing is not None
    filler = Filler.of(said.missing, said.inputs)

    def alarms(rows: FloatArray, factor: float = 1.0) -> int:
        return threshold.count_alarms(trained.detector.score(rows).scores, said.alarm, factor * said.threshold)

    whole = alarms(fresh)
    for i in range(3):
        missing = np.arange(3) == i
        gap = filler.made(missing)
        count = alarms(filler.filled(without(fresh, i), missing, gap), gap.factor)
        assert min(whole, FRESH / RATE) / 2 <= count <= max(whole, FRESH / RATE) * 1.5, (whole, count)


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_runtime_scores_the_rest_as_the_detector_itself_does(made: Callable[[str], Trained], detector: str) -> None:
    trained, rows = made(detector), without(normal_rows(100, seed=6), 1)
    said = trained.manifest
    assert said.missing is not None
    filler = Filler.of(said.missing, said.inputs)
    missing = np.array([False, True, False])
    wanted = trained.detector.score(filler.filled(rows, missing, filler.made(missing))).scores
    running = runtime.of_content(trained.content, Path(detector)).start()
    np.testing.assert_allclose([running.score(row).score for row in rows], wanted, rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_fault_in_the_remaining_tags_is_found_and_what_is_missing_is_said(
    model_of: Callable[[str], runtime.Model], detector: str, gone: int
) -> None:
    model = model_of(detector)
    names = model.manifest.input_names
    for tag in {0, 1, 2} - {gone}:
        rows = without(normal_rows(200, seed=4), gone)
        rows[100:, tag] += 6 * model.manifest.inputs[tag].spread
        running = model.start()
        scores = [running.score(row) for row in rows]
        first = next(i for i, score in enumerate(scores) if i >= 100 and score.anomaly)
        assert first < 150
        words = explain.sentence(model.manifest, scores[first])
        assert words.endswith(f"; judged without {names[gone]}.")
        assert names[gone] not in [part.name for part in explain.blamed(model.manifest, scores[first])]


def test_a_whole_row_scores_the_same_as_without_the_rule(model_of: Callable[[str], runtime.Model]) -> None:
    model, rows = model_of("robust_distance"), normal_rows(100, seed=5)
    strict = runtime.Model(replace(model.manifest, missing=None), model.session, model.states, expects=model.expects)
    mine, theirs = model.start(), strict.start()
    for row in rows:
        ours, other = mine.score(row), theirs.score(row)
        assert (ours.score, ours.threshold, ours.anomaly) == (other.score, other.threshold, other.anomaly)
        assert (ours.shares == other.shares).all()


def test_the_filled_row_has_the_distance_of_the_rest_alone() -> None:
    """Of four tags two are missing: a Mahalanobis distance of the two others, with their own correlation."""
    dice = np.random.default_rng(1)
    rows = dice.normal(size=(2000, 4)) @ dice.normal(size=(4, 4))
    fitted = RobustDistance.fit([rows], 1)
    precision = fitted.whitening @ fitted.whitening
    exact = tuple(tuple(float(x) for x in row) for row in (precision + precision.T) / 2)
    filler = Filler(MissingRule(2, (1.0,) * 4, exact, fitted.ceiling), fitted.centre, fitted.scale)
    missing = np.array([False, True, False, True])
    filled = filler.filled(rows[:50], missing, filler.made(missing))
    assert (filled[:, ~missing] == rows[:50, ~missing]).all()
    z = ((rows[:50] - fitted.centre) / fitted.scale)[:, ~missing]
    apart = np.linalg.inv(np.linalg.inv(precision)[np.ix_(~missing, ~missing)])
    alone = np.sqrt(np.einsum("ni,ij,nj->n", z, apart, z))
    one_by_one = np.array([fitted.score(row[None]).scores[0] for row in filled])
    np.testing.assert_allclose(one_by_one, alone, rtol=1e-3)


def small(most: int = 1, factors: tuple[float, ...] = (0.9, 0.8, 0.0)) -> Manifest:
    rule = MissingRule(most, factors, tuple(tuple(row) for row in np.eye(3).tolist()), 10.0)
    return replace(exported.manifest_of(3, threshold=4.0, alarm=AlarmRule(2, 0, 2, 1.0)), missing=rule)


def pump(tmp_path: Path, manifest: Manifest) -> runtime.Running:
    detector = RobustDistance(np.zeros(3), np.ones(3), np.eye(3), 1.0, 100.0)
    return exported.load(tmp_path, detector, manifest).start()


def test_the_threshold_of_the_row_is_the_lower_one_and_a_tag_that_is_needed_gives_no_score(tmp_path: Path) -> None:
    running = pump(tmp_path, small())
    assert running.score(np.array([1.0, 1.0, 1.0])).threshold == 4.0
    assert running.score(np.array([np.nan, 1.0, 1.0])).threshold == pytest.approx(3.6)
    assert running.score(np.array([1.0, np.nan, 1.0])).threshold == pytest.approx(3.2)
    assert np.isnan(running.score(np.array([1.0, 1.0, np.nan])).score)
    assert np.isnan(running.score(np.array([np.nan, np.nan, 1.0])).score)
    both = pump(tmp_path, small(most=2, factors=(0.9, 0.8, 0.7)))
    assert both.score(np.array([np.nan, np.nan, 1.0])).threshold == pytest.approx(3.2)
    turned = exported.load(tmp_path, RobustDistance(np.zeros(3), np.ones(3), np.eye(3), 1.0, 100.0), small()).start(8.0)
    assert turned.score(np.array([np.nan, 1.0, 1.0])).threshold == pytest.approx(7.2)


@pytest.mark.parametrize("baseline", [None, BaselineRule(1000.0)])
def test_an_alarm_does_not_end_because_the_tag_that_it_blames_went_missing(
    tmp_path: Path, baseline: BaselineRule | None
) -> None:
    running = pump(tmp_path, replace(small(), baseline=baseline))
    calm, high, blind = np.zeros(3), np.array([9.0, 0.0, 0.0]), np.array([np.nan, 0.0, 0.0])
    assert [running.score(row).anomaly for row in (calm, calm, high, high)] == [False, False, False, True]
    assert all(running.score(blind).anomaly for _ in range(20))
    assert [running.score(calm).anomaly for _ in range(3)][-1] is False
    # Another missing tag is no reason to hold it.
    assert [running.score(row).anomaly for row in (high, high)] == [False, True]
    assert [running.score(np.array([0.0, np.nan, 0.0])).anomaly for _ in range(3)][-1] is False


def test_an_own_centre_is_learnt_from_whole_rows_only_and_a_missing_tag_keeps_its_centre(tmp_path: Path) -> None:
    running = pump(tmp_path, replace(small(), baseline=BaselineRule(10.0, own_rows=3, spread_rows=10.0)))
    assert running.baseline is not None
    for row in ([5.0, 5.0, 5.0], [np.nan, 1.0, 1.0], [5.0, 5.0, 5.0], [5.0, 5.0, 5.0]):
        running.score(np.array(row))
    assert not running.baseline.learning and running.baseline.shift.tolist() == [5.0, 5.0, 5.0]
    for _ in range(20):
        running.score(np.array([np.nan, 6.0, 5.0]))
    assert running.baseline.shift[0] == 5.0 and running.baseline.shift[1] > 5.1


def test_inspect_says_what_may_be_missing_and_against_which_threshold(model_of: Callable[[str], runtime.Model]) -> None:
    lines = list(inspection.missing(small()))
    assert lines == [
        "left out, and said: up to 1 of flow, pressure",
        "threshold then 3.6 without flow, 3.2 without pressure",
        "no score without current",
    ]
    (first, *_) = inspection.missing(model_of("level").manifest)
    assert first == "left out, and said: up to 1 of flow, pressure, current"


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"most": 3}, "1 to 2"),
        ({"most": 0}, "1 to 2"),
        ({"factors": (1.0, -1.0, 1.0)}, "0 or more"),
        ({"factors": (1.0, 1.0)}, "does not fit"),
        ({"bound": 0.0}, "cannot be used"),
        ({"precision": ((0.0, 0.0, 0.0),) * 3}, "cannot be used"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_and_so_is_a_file_with_it(said: dict[str, object], what: str) -> None:
    whole: dict[str, object] = {
        "most": 1, "factors": (0.9, 0.8, 0.0), "precision": np.eye(3).tolist(), "bound": 10.0
    }  # fmt: skip
    with pytest.raises(ValueError, match=what):
        MissingRule.of(whole | said)
    rule = MissingRule.of(whole)
    four = replace(exported.manifest_of(4), missing=rule)
    with pytest.raises(ModelError, match="description is damaged: what it says of missing inputs"):
        Manifest.from_metadata(four.to_metadata(b"g"), b"g", "m.onnx")
    assert Manifest.from_metadata(replace(small(), missing=rule).to_metadata(b"g"), b"g", "m.onnx").missing == rule


def test_what_was_remembered_of_many_gaps_is_forgotten_and_made_again() -> None:
    rule = MissingRule(4, (0.9,) * 9, tuple(tuple(row) for row in np.eye(9).tolist()), 10.0)
    filler = Filler(rule, np.zeros(9), np.ones(9))
    sets = [np.array([(number >> bit) & 1 for bit in range(9)], np.bool_) for number in range(1, 300)]
    scored = [filler.gap(missing) is not None for missing in sets]
    assert scored == [int(missing.sum()) <= 4 for missing in sets]
    assert filler.gap(sets[0]) is not None
