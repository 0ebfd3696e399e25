"""Remaining life from a file: as the reference says, honest about what it does not know, and hard to put off."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from models import life, life_graph, life_train
from models.evaluate.cmapss import INPUTS
from models.export import export
from models.life import LifeModel
from models.life_features import Fusion, find_regimes, varied
from models.life_graph import Margins
from models.life_train import Trained
from models.manifest import Training
from models.manifest import read as read_manifest
from models.session import open_session
from tests.models.lives import QUICK, cut, engines
from wire.block import FloatArray
from wire.errors import ModelError

TRAINING = Training("made-up engines", "40 units", 5000, "0" * 64)


def trained_on(lives: dict[int, FloatArray]) -> Trained:
    return life_train.train(lives, INPUTS, 3, "engine", TRAINING, QUICK)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return trained_on(engines(40, seed=1))


@pytest.fixture(scope="module")
def file(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("life") / "engine.onnx"
    life_train.write(trained, path, engines(1, seed=9)[1])
    return path


@pytest.fixture(scope="module")
def model(file: Path) -> LifeModel:
    return life.load(file)


def test_unseen_engines_are_told_well_and_the_interval_holds(model: LifeModel) -> None:
    lives, true = cut(engines(60, seed=2), seed=3)
    said = [model.after(rows) for rows in lives.values()]
    error = np.array([each.rul for each in said]) - true
    assert float(np.sqrt((error**2).mean())) < 8.0
    inside = [each.lower <= left <= each.upper for each, left in zip(said, true, strict=True)]
    assert 0.8 <= np.mean(inside) <= 1.0


def test_the_file_says_the_same_as_the_reference_row_by_row(trained: Trained, model: LifeModel) -> None:
    rows = engines(1, seed=12)[1]
    running = model.start()
    said = np.array([running.step(row)[:3] for row in rows])
    rul = trained.nets.predict(trained.fusion.describe(rows))
    lower, upper = trained.margins.interval(rul)
    after = model.manifest.warm_up_rows - 1
    assert np.abs(said[:, 0] - rul).max() < 0.05
    assert np.abs(said[after:, 1] - lower[after:]).max() < 0.05
    assert np.abs(said[after:, 2] - upper[after:]).max() < 0.05


def test_the_same_lives_give_the_same_bytes() -> None:
    assert trained_on(engines(12, seed=1)).content == trained_on(engines(12, seed=1)).content


def test_the_file_is_small_and_says_how_good_it_is(trained: Trained, file: Path) -> None:
    assert len(trained.content) < 100_000
    onnx.checker.check_model(onnx.load_from_string(trained.content), full_check=True)
    said = life.read(file)
    assert said == trained.manifest
    assert [each.name for each in said.inputs[:4]] == ["altitude", "mach", "tra", "T2"]
    assert said.cap in [each.cap for each in said.caps]
    assert said.held_out.units == 40
    assert 0.8 <= said.held_out.coverage <= 1.0
    assert list(said.ignored) == [name for name, _ in INPUTS[-4:]]
    assert all(why.startswith("always ") for why in said.ignored.values())


def test_the_margins_are_narrow_near_the_end(trained: Trained) -> None:
    lower, upper = trained.margins.interval(np.array([2.0, 60.0]))
    assert upper[0] - lower[0] < (upper[1] - lower[1]) / 2
    assert lower.min() >= 0


def test_two_kinds_of_wear_need_no_word_about_either() -> None:
    made = trained_on(engines(40, seed=4, kinds=2))
    assert made.fusion.directions >= 2
    assert made.manifest.held_out.rmse < 10.0


def test_operating_regimes_are_found_and_taken_out(tmp_path: Path) -> None:
    made = trained_on(engines(40, seed=5, regimes=6))
    assert made.manifest.regimes == 6
    assert made.manifest.held_out.rmse < 10.0
    unseen = engines(1, seed=6, regimes=6)[1]
    unseen[30, 0] = np.nan
    life_train.write(made, tmp_path / "six.onnx", unseen)


def test_settings_that_only_tremble_are_one_regime() -> None:
    dice = np.random.default_rng(1)
    trembling = dice.normal(0, 0.0003, (5000, 3)).round(4)
    assert len(find_regimes(trembling, dice.normal(0, 1, (5000, 4)))[0]) == 1
    assert len(find_regimes(np.zeros((0, 3)), np.zeros((0, 4)))[0]) == 1


def test_a_missing_value_keeps_its_last_one(trained: Trained, model: LifeModel) -> None:
    rows = engines(1, seed=7)[1]
    holed, held = rows.copy(), rows.copy()
    holed[50:60, 5] = np.nan
    holed[55, 6] = np.inf
    held[50:60, 5], held[55, 6] = rows[49, 5], rows[54, 6]
    assert model.after(holed) == pytest.approx(model.after(held), abs=0.01)
    assert np.isfinite(model.after(np.full_like(rows, np.nan)).rul)


def test_one_wild_value_does_not_end_a_life(model: LifeModel) -> None:
    rows = engines(1, seed=8)[1][:60]
    wild = rows.copy()
    wild[40, 4] = 1e9
    assert abs(model.after(wild).rul - model.after(rows).rul) < 40.0


def test_a_sensor_without_values_is_left_out_and_named() -> None:
    lives = engines(30, seed=3)
    for rows in lives.values():
        rows[:, 8] = np.nan
        rows[::3, 9] = np.nan
        rows[10:, 10] = np.nan
    made = trained_on(lives)
    assert made.manifest.ignored["P15"] == "no value at all"
    assert "missing in" in made.manifest.ignored["Nf"]
    assert "P30" not in made.manifest.ignored
    assert made.manifest.held_out.rmse < 15.0


def test_too_few_rows_give_the_widest_interval(model: LifeModel) -> None:
    rows = engines(1, seed=8)[1]
    early, later = model.after(rows[:3]), model.after(rows[:20])
    assert (early.warming, later.warming) == (True, False)
    assert early.lower == 0.0
    assert early.upper >= model.manifest.longest - 3
    running = model.start()
    running.step(rows[0])
    running.reset()
    assert running.step(rows[0]) == model.after(rows[:1])


def test_too_few_lives_are_refused_with_another_way() -> None:
    with pytest.raises(ModelError, match=r"5 units .* at least 6 are needed.*the trend towards it"):
        trained_on(engines(5, seed=1))


def test_lives_without_any_change_are_refused() -> None:
    still = {unit: np.ones_like(rows) for unit, rows in engines(10, seed=1).items()}
    with pytest.raises(ModelError, match="no sensor changes"):
        trained_on(still)


def test_a_damaged_or_foreign_file_is_refused(trained: Trained, file: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(trained.content.replace(b"made-up", b"real---"))
    with pytest.raises(ModelError, match="damaged"):
        life.read(damaged)
    with pytest.raises(ModelError, match="not one of ours"):
        read_manifest(file)
    with pytest.raises(ModelError, match="cannot be read"):
        life.load(tmp_path / "none.onnx")
    older = replace(trained.manifest, cap=-1.0)
    with pytest.raises(ModelError, match="cap and longest"):
        life.LifeManifest.from_metadata(older.to_metadata(b"graph"), b"graph", "file")
    with pytest.raises(ModelError, match="not a remaining-life model"):
        life.LifeManifest.from_metadata({}, b"graph", "file")


def test_a_file_of_another_version_is_told(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(life, "FORMAT", "gaugeline-life/2")
        newer = trained.manifest.to_metadata(b"graph")
    with pytest.raises(ModelError, match="another version"):
        life.LifeManifest.from_metadata(newer, b"graph", "file")


def test_a_graph_that_does_not_fit_its_description_is_refused(trained: Trained, tmp_path: Path) -> None:
    said = trained.manifest
    graph = life_graph.graph(len(INPUTS), trained.fusion, trained.nets, trained.margins)
    (tmp_path / "narrow.onnx").write_bytes(export(graph, replace(said, inputs=said.inputs[:5])))
    with pytest.raises(ModelError, match="does not take a row of the 5 inputs"):
        life.load(tmp_path / "narrow.onnx")
    del graph.output[0]
    (tmp_path / "dumb.onnx").write_bytes(export(graph, said))
    with pytest.raises(ModelError, match="does not give rul"):
        life.load(tmp_path / "dumb.onnx")


def test_without_onnxruntime_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="onnxruntime cannot load it"):
        open_session(b"nothing", "a.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match="onnxruntime is not installed"):
        open_session(b"nothing", "a.onnx")


def test_a_folder_that_is_not_there_is_told(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be written"):
        life_train.write(trained, tmp_path / "no" / "x.onnx", engines(1, seed=9)[1])


def test_the_penalty_is_nasas() -> None:
    late = life_train.penalty(np.array([-13.0, 0.0, 10.0]))
    assert late == pytest.approx([np.e - 1, 0.0, np.e - 1])


def test_margins_are_straight_between_knots_and_flat_beyond() -> None:
    margins = Margins(np.array([10.0, 20.0]), np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    lower, upper = margins.interval(np.array([0.0, 15.0, 50.0]))
    assert lower.tolist() == [0.0, 13.0, 47.0]
    assert upper.tolist() == [2.0, 17.0, 52.0]


def test_a_direction_has_noise_of_one_from_row_to_row() -> None:
    lives = list(engines(30, seed=1).values())
    fusion = Fusion.fit(lives, 3)
    fused = np.concatenate([np.diff(fusion.standardise(rows) @ fusion.weights, axis=0) for rows in lives])
    assert np.allclose(fused.std(axis=0) / np.sqrt(2), 1.0, atol=0.05)
    assert fusion.clear_directions == 1


def test_a_varied_life_takes_the_same_course_at_another_pace() -> None:
    course = np.column_stack([np.linspace(0, 30, 150), np.linspace(5, -20, 150) ** 2 / 10])
    dice = np.random.default_rng(2)
    copies = [varied(course, dice) for _ in range(40)]
    lengths = [len(copy) for copy in copies]
    assert 150 * 0.74 <= min(lengths) < 130 and 170 < max(lengths) <= 150 * 1.35 + 1
    for copy in copies:
        where = np.linspace(0, 149, len(copy))
        off = copy - np.column_stack([np.interp(where, np.arange(150), column) for column in course.T])
        assert off.std() == pytest.approx(1.0, abs=0.2)
        assert abs(off[-20:].mean()) < 1.0
    assert len(varied(course[:5], dice)) >= 3
