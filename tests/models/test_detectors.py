"""The registry of detectors: any of them can be trained, with settings of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from models import detectors, history, runtime, threshold, train
from models.settings import Settings, read_settings
from tests.models.conftest import CONFIG, normal_rows, write_csv
from tests.models.small import largest
from wire.block import FloatArray
from wire.errors import ConfigError, ModelError

TWO = CONFIG.replace("  - {name: current, unit: A}\n", "")


@dataclass
class Largest:
    """A detector without numpy: only its graph says what a score is. It takes missing values and needs the hour."""

    takes_missing = True

    @classmethod
    def fit(cls, pieces: list[FloatArray], clocks: Sequence[FloatArray], seed: int, limit: float = 3.0) -> Largest:
        assert [len(piece) for piece in pieces] == [len(clock) for clock in clocks]
        assert seed == 7 and limit == 2.5
        return cls()

    def graph(self) -> onnx.GraphProto:
        return largest(clock=True)

    def reach(self) -> FloatArray:
        return np.full(2, np.inf)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(detectors, "DETECTORS", {"largest": f"{__name__}:Largest"})
    monkeypatch.setattr("models.settings.DETECTORS", detectors.DETECTORS)
    (tmp_path / "m.yaml").write_text(TWO + "detector: largest\ndetector_settings: {limit: 2.5}\nseed: 7\n")
    return read_settings(tmp_path / "m.yaml")


def test_a_detector_is_trained_by_its_graph_where_it_has_no_numpy(settings: Settings, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "rows.csv", normal_rows(1000, seed=1)[:, :2], "flow,pressure")
    rows = history.read_csv(data, "t_s", ["flow", "pressure"])
    trained = train.train(settings, rows, data)
    assert trained.manifest.takes_missing and trained.manifest.detector == "largest"
    # No centre of its own: the median and the MAD of the rows.
    assert trained.manifest.inputs[0].centre == pytest.approx(np.median(rows.rows[:, 0]), rel=1e-5)
    train.write(trained, tmp_path / "m.onnx", rows.rows[:50], rows.clocks("")[:50])
    model = runtime.load(tmp_path / "m.onnx")
    assert model.wants_clock
    # Thursday 1970-01-01: 3 x 100, and the second of the day.
    assert trained.scored[0].scores[0] == pytest.approx(abs(rows.rows[0]).max() + 300, rel=1e-4)


def test_settings_that_a_detector_does_not_know_are_told_with_those_that_it_does(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    for text, word in (
        ("detector_settings: {speed: 3}", r"yaml:10: detector_settings\.speed: unknown key; .* knows smooth"),
        ("detector_settings: {smoothing_rows: 0}", r"yaml:10: detector_settings\.smoothing_rows: .*than or equal to 1"),
        ("detector_settings: {smoothing_rows: soon}", r"detector_settings\.smoothing_rows: .*valid integer"),
        ("time_zone: Mars", r"m\.yaml:10: time_zone: must be a time zone"),
    ):  # fmt: skip
        file.write_text(f"{CONFIG}{text}\n")
        with pytest.raises(ConfigError, match=word):
            read_settings(file)


def test_every_detector_of_the_registry_can_be_asked_for_its_settings() -> None:
    for name in detectors.DETECTORS:
        assert isinstance(detectors.parameters(name), dict)
        module = sys.modules[detectors.factory(name).__module__]
        assert module.__doc__


def test_the_curve_keeps_its_rates_on_rows_that_it_has_not_seen(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(CONFIG)
    data = write_csv(tmp_path / "rows.csv", normal_rows(12_000, seed=5))
    trained = train.train(
        read_settings(tmp_path / "m.yaml"), history.read_csv(data, "t_s", ["flow", "pressure", "current"]), data
    )
    curve = trained.manifest.false_alarms.curve
    assert [each.rows for each in curve] == sorted(each.rows for each in curve)
    assert 5_000 in [each.rows for each in curve]
    assert trained.manifest.threshold_for(5_000) == trained.manifest.threshold
    fresh = trained.detector.score(normal_rows(40_000, seed=78)).scores
    for each in curve:
        if each.rows <= 2_000:
            alarms = threshold.count_alarms(fresh, trained.manifest.alarm, each.threshold)
            assert 0.4 * len(fresh) / each.rows <= alarms <= 2 * len(fresh) / each.rows
    with pytest.raises(ModelError, match="is outside"):
        trained.manifest.threshold_for(30 * 12_000)
