"""One row in, one score out, as a gateway does it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import runtime
from models.runtime import Running, Score
from models.train import Trained
from tests.models.conftest import normal_rows
from wire.block import FloatArray
from wire.errors import ModelError


def run(running: Running, rows: FloatArray) -> list[Score]:
    return [running.score(row) for row in rows]


def odd_rows(n: int) -> FloatArray:
    """Flow 15 below what the current suggests, which itself is common."""
    rows = normal_rows(n, seed=3)
    rows[:, 0] -= 15
    return rows


def test_the_file_gives_what_the_numpy_reference_gives(model_file: Path, trained: Trained) -> None:
    rows = np.concatenate([normal_rows(500, seed=4), odd_rows(100), 1e6 * normal_rows(10, seed=5)])
    scores = run(runtime.load(model_file).start(), rows)
    wanted = trained.detector.score(rows)
    np.testing.assert_allclose([each.score for each in scores], wanted.scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose([each.shares for each in scores], wanted.shares, atol=1e-5)
    np.testing.assert_allclose([each.deviations for each in scores], wanted.deviations, rtol=1e-5, atol=1e-5)


def test_shares_are_parts_of_one_whole(model_file: Path) -> None:
    for each in run(runtime.load(model_file).start(), np.concatenate([normal_rows(200, seed=6), odd_rows(20)])):
        assert each.shares.shape == (3,)
        assert (each.shares >= 0).all()
        assert each.shares.sum() == pytest.approx(1, abs=1e-5)


def test_the_first_rows_are_warming_and_raise_nothing(model_file: Path) -> None:
    model = runtime.load(model_file)
    scores = run(model.start(), odd_rows(20))
    assert [each.warming for each in scores] == [True] * 10 + [False] * 10
    assert scores[0].score > model.manifest.threshold
    # Ten rows of warm-up, then the rule's five rows.
    assert [each.anomaly for each in scores] == [False] * 14 + [True] * 6


def test_a_lasting_fault_latches_and_ends(model_file: Path) -> None:
    scores = run(
        runtime.load(model_file).start(),
        np.concatenate([normal_rows(50, seed=7), odd_rows(30), normal_rows(60, seed=8)]),
    )
    raised = [i for i, each in enumerate(scores) if each.anomaly]
    assert 50 < raised[0] <= 60
    assert 80 < raised[-1] < 110
    assert raised == list(range(raised[0], raised[-1] + 1))
    assert scores[70].shares.argmax() == 0
    assert scores[70].deviations[0] < 0


def test_one_wild_row_raises_no_alarm(model_file: Path) -> None:
    rows = normal_rows(200, seed=9)
    rows[100] = 1e9
    assert not any(each.anomaly for each in run(runtime.load(model_file).start(), rows))


@pytest.mark.parametrize("hole", [[40.0, np.inf, 11.0], [np.nan, -np.inf, 11.0], [np.nan, np.nan, 11.0], [np.nan] * 3])
def test_a_row_with_more_holes_than_allowed_is_not_judged_and_not_remembered(
    model_file: Path, hole: list[float]
) -> None:
    model, rows = runtime.load(model_file), normal_rows(40, seed=10)
    plain, holed = model.start(), model.start()
    for row in rows:
        score = holed.score(np.array(hole))
        assert np.isnan(score.score)
        assert np.isnan(score.shares).all()
        assert holed.score(row).score == plain.score(row).score


def test_runs_of_one_model_do_not_share_memory_and_reset_forgets(model_file: Path) -> None:
    model, rows = runtime.load(model_file), normal_rows(30, seed=11)
    first = model.start()
    fresh = [each.score for each in run(first, rows)]
    assert [each.score for each in run(model.start(), rows)] == fresh
    assert [each.score for each in run(first, rows)] != fresh
    first.reset()
    assert first.score(rows[0]).warming
    first.reset()
    assert [each.score for each in run(first, rows)] == fresh


def test_a_path_beside_the_configuration_wins_over_a_packaged_name(model_file: Path, tmp_path: Path) -> None:
    assert runtime.resolve("pump.onnx", model_file.parent) == model_file
    assert runtime.resolve(str(model_file), tmp_path) == model_file
    packaged = runtime.packaged()["demo_machine"]
    assert runtime.resolve("demo_machine", tmp_path) == packaged
    assert runtime.resolve("demo_machine.onnx", tmp_path) == packaged
    own = tmp_path / "demo_machine.onnx"
    own.write_bytes(b"")
    assert runtime.resolve("demo_machine.onnx", tmp_path) == own


def test_a_model_that_is_nowhere_is_told_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'pump_9': no such file .*there are: demo_machine"):
        runtime.resolve("pump_9", tmp_path)


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_without_onnxruntime_scoring_is_off_and_the_file_can_still_be_read(model_file: Path) -> None:
    said = python(
        f"""
import sys
sys.modules["onnxruntime"] = None  # what Python keeps for a module that cannot be imported
from pathlib import Path
from models import manifest, runtime
from wire.errors import ModelError
print(manifest.read(Path({str(model_file)!r})).name)
try:
    runtime.load(Path({str(model_file)!r}))
except ModelError as fault:
    print(fault)
"""
    )
    assert said.startswith("pump_1\n")
    assert "scoring is off on this machine: onnxruntime is not installed" in said


def test_the_light_half_brings_nothing_heavy() -> None:
    said = python(
        """
import sys
from models import alarm_logic, explain, manifest, runtime
heavy = {"onnx", "onnxruntime", "sklearn", "scipy", "pydantic", "ruamel"}
print(sorted(heavy & set(sys.modules)), [name for name in sys.modules if name in ("agent", "gateway", "cloud")])
"""
    )
    assert said == "[] []"
