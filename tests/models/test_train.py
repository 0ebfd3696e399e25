"""From history to a file: the same bytes each time, and a clear word where the history will not do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from models import card, history, threshold, train
from models.detectors.robust_distance import RobustDistance
from models.settings import Settings
from models.train import Trained
from tests.models.conftest import normal_rows, write_csv
from wire.block import FloatArray
from wire.errors import ModelError

COLUMNS = ["flow", "pressure", "current"]


def trained_from(rows: FloatArray, settings: Settings, folder: Path) -> Trained:
    data = write_csv(folder / "rows.csv", rows)
    return train.train(settings, history.read_csv(data, "t_s", COLUMNS), data)


def test_the_same_history_gives_the_same_bytes(trained: Trained, settings: Settings, tmp_path: Path) -> None:
    assert trained_from(normal_rows(4000, seed=1), settings, tmp_path).content == trained.content


def test_the_file_is_small_float32_onnx_of_a_pinned_opset(trained: Trained) -> None:
    model = onnx.load_from_string(trained.content)
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert (model.ir_version, model.producer_name, model.producer_version) == (8, "gaugeline", "")
    assert {each.data_type for each in model.graph.initializer} == {onnx.TensorProto.FLOAT}
    assert len(trained.content) < 10_000


def test_its_description_says_where_it_is_from(trained: Trained) -> None:
    said = trained.manifest.training
    assert (said.source, said.window, said.rows) == ("a seeded pump", "t_s 0 to 3999", 4000)
    assert len(said.sha256) == 64


def test_fresh_normal_rows_alarm_about_as_often_as_stated(settings: Settings, tmp_path: Path) -> None:
    made = trained_from(normal_rows(20_000, seed=5), settings, tmp_path)
    rows = normal_rows(100_000, seed=77)
    scores = made.detector.score(rows).scores[made.manifest.warm_up_rows :]
    alarms = threshold.count_alarms(scores, made.manifest.alarm, made.manifest.threshold)
    due = len(rows) / made.manifest.false_alarms.rows
    assert 0.4 * due <= alarms <= 2 * due


def test_the_held_out_figure_stands_in_description_and_card(trained: Trained) -> None:
    rate = trained.manifest.false_alarms
    assert 3_900 < rate.held_out_rows <= 4_000
    assert rate.held_out_alarms <= 5
    text = card.card(trained.manifest, "pump.onnx")
    assert f"{rate.held_out_alarms} false alarms in\n  {rate.held_out_rows} rows, where 0.8 were due" in text
    assert "one false alarm per 5000 rows (83.3 minutes)" in text
    assert trained.manifest.training.sha256 in text
    assert "| `flow` | `m3/h` |" in text


def test_gaps_split_the_history_and_are_not_smoothed_over(settings: Settings, tmp_path: Path) -> None:
    rows = normal_rows(2000, seed=1)
    rows[500:510, 1] = np.nan
    assert trained_from(rows, settings, tmp_path).manifest.training.rows == 1990


def test_too_little_history_is_told_with_how_much_is_needed(settings: Settings, tmp_path: Path) -> None:
    needed = train.rows_needed(settings)
    trained_from(normal_rows(needed, seed=1), settings, tmp_path)
    with pytest.raises(
        ModelError, match=rf"too little history: {needed - 1} usable rows .* needed are {needed} in one"
    ):
        trained_from(normal_rows(needed - 1, seed=1), settings, tmp_path)


def test_every_column_that_cannot_be_learnt_is_named_at_once(settings: Settings, tmp_path: Path) -> None:
    rows = normal_rows(1000, seed=1)
    rows[:, 0] = 40.0
    rows[:, 2] = np.nan
    with pytest.raises(ModelError, match=r"flow is always 40; current has no value at all: leave it out"):
        trained_from(rows, settings, tmp_path)


def test_a_column_that_varies_in_one_stretch_only_is_refused(settings: Settings, tmp_path: Path) -> None:
    rows = normal_rows(1000, seed=1)
    rows[100:, 1] = 6.0
    with pytest.raises(ModelError, match="pressure: constant over most of the history"):
        trained_from(rows, settings, tmp_path)


def test_a_threshold_that_no_tag_can_reach_is_refused(settings: Settings, tmp_path: Path) -> None:
    rows = normal_rows(4000, seed=1)
    for burst in range(100, 4000, 400):
        rows[burst : burst + 20, 0] += 60  # faults among the rows that are said to be normal
    rare = settings.model_copy(update={"false_alarm_every_rows": 10_000_000})
    with pytest.raises(ModelError, match=r"pressure, current alone could never raise an alarm.* Look for faults"):
        trained_from(rows, rare, tmp_path)


def test_rows_of_another_period_are_refused(settings: Settings, tmp_path: Path) -> None:
    slower = settings.model_copy(update={"period_s": 5.0})
    with pytest.raises(ModelError, match="1 s apart, the model is for rows every 5 s"):
        trained_from(normal_rows(1000, seed=1), slower, tmp_path)


def test_a_file_that_scores_otherwise_than_its_reference_is_not_accepted(trained: Trained, tmp_path: Path) -> None:
    lying = Trained(trained.manifest, RobustDistance.fit([normal_rows(1000, seed=9) * 2], 3), trained.content)
    with pytest.raises(ModelError, match="do not use this file"):
        train.write(lying, tmp_path / "m.onnx", normal_rows(10, seed=1))


def test_a_place_that_cannot_be_written_is_told(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be written"):
        train.write(trained, tmp_path, normal_rows(10, seed=1))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(201.6, "3.36 minutes"), (90, "90 seconds"), (604800, "7 days"), (7200, "2 hours"), (2e6, "3.31 weeks")],
)
def test_durations_read_as_a_person_would_say_them(seconds: float, words: str) -> None:
    assert card.duration(seconds) == words


def test_a_wild_value_in_the_history_is_told_with_its_column(tmp_path: Path, settings: Settings) -> None:
    rows = normal_rows(1000, seed=1)
    rows[77, 2] = 1e300
    data = write_csv(tmp_path / "wild.csv", rows)
    known = history.read_csv(data, "t_s", ["flow", "pressure", "current"])
    with pytest.raises(ModelError, match=r"current has values such as 1e\+300, which no sensor gives"):
        train.train(settings, known, data)


def test_too_little_history_for_want_of_values_names_the_tags(tmp_path: Path, settings: Settings) -> None:
    rows = normal_rows(1000, seed=1)
    rows[::3, 2] = np.nan
    data = write_csv(tmp_path / "holes.csv", rows)
    known = history.read_csv(data, "t_s", ["flow", "pressure", "current"])
    with pytest.raises(ModelError, match=r"Values are missing: current in 334 rows; leave such a tag out"):
        train.train(settings, known, data)
