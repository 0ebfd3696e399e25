"""Remaining life in the gateway: rows of means, cycles, estimates with interval and words, kept over a restart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.score import Scorers
from agent.scorer import Surroundings
from agent.spec import AssetSpec, LifeSpec, LineSpec, RunningSpec
from models import life
from models.remaining import ByModel, ByTrend
from tests.agent.points import device, point
from tests.models.lives import engines
from tests.models.test_life import trained_on
from wire.block import Block, Reason
from wire.tag import TagTable

HOUR_MS = 3_600_000
TAGS = ("vibration", "cycles", "speed")
POINTS = [point(name, address=i, device="plc") for i, name in enumerate(TAGS)]
LINES = [LineSpec("l", "modbus-tcp", devices=(device(*POINTS, id="plc", period_s=60.0),))]
TABLE = TagTable([each.tag for each in POINTS])
KEYS = tuple(("plc", name) for name in TAGS)
TREND = LifeSpec(tag=("plc", "vibration"), limit=10.0)
PUMP = AssetSpec("pump", tags=KEYS, life=TREND)


def block(ts_ms: int, vibration: float = 1.0, cycles: float = 0.0, speed: float = 90.0) -> Block:
    values = np.array([vibration, cycles, speed])
    good = np.isfinite(values)
    return Block(ts_ms, TABLE, values, np.where(good, 192, 0).astype(np.uint8), np.where(good, 0, 1).astype(np.uint8))


def said(blocks: list[Block]) -> dict[str, object]:
    return {s.name: s.reason if s.value is None else s.value for each in blocks for s in each.samples()}


def hours(scorers: Scorers, count: int, first: int = 0, slope: float = 0.1) -> list[dict[str, object]]:
    """What is told in so many hours of a vibration that rises by slope an hour, read twice an hour."""
    told = []
    for half in range(2 * first, 2 * (first + count)):
        noise = 0.02 * np.sin(7.0 * half)
        found = scorers.score(block(half * HOUR_MS // 2, 1.0 + slope * half / 2 + noise))
        told += [said(found)] if found else []
    return told


def test_a_trend_tells_hours_to_the_limit_with_interval_and_words() -> None:
    scorers = Scorers([PUMP], LINES)
    assert [tag.name for tag in scorers.tags()] == [
        "life/remaining", "life/lower", "life/upper", "life/explanation", "life/explanation_zh",
    ]  # fmt: skip
    assert {tag.unit for tag in scorers.tags()} == {"h", ""} and {tag.device for tag in scorers.tags()} == {"pump"}
    told = hours(scorers, 42)
    assert told[0]["life/remaining"] is Reason.WARMING_UP
    assert told[0]["life/explanation"] == "Remaining life: too few values (1/12)."
    last = told[-1]
    assert len(told) == 41
    assert last["life/remaining"] == pytest.approx((10.0 - 1.0 - 4.1) / 0.1, rel=0.05)
    lower, upper = last["life/lower"], last["life/upper"]
    assert isinstance(lower, float) and isinstance(upper, float) and lower < 49.0 < upper + 1.0
    assert str(last["life/explanation"]).startswith("Remaining life: about 4")
    assert str(last["life/explanation_zh"]).startswith("剩余寿命：约 4")
    status = scorers.status()["pump"]
    assert status["state"] == "" and status["life"]["state"] == "estimated" and status["life"]["unit"] == "h"
    assert status["life"]["remaining"] == pytest.approx(last["life/remaining"])


def test_without_a_trend_there_is_no_figure_and_the_words_say_why() -> None:
    flat = hours(Scorers([PUMP], LINES), 30, slope=0.0)[-1]
    assert flat["life/remaining"] is Reason.NOT_A_NUMBER
    assert flat["life/explanation"] == "No trend towards the limit stands out of the noise."
    falling = hours(Scorers([replace(PUMP, life=replace(TREND, limit=0.0, falling=True))], LINES), 30)[-1]
    assert falling["life/explanation"] == "The trend leads away from the limit."
    beyond = hours(Scorers([replace(PUMP, life=replace(TREND, limit=2.0))], LINES), 30)[-1]
    assert beyond["life/remaining"] == 0.0 and beyond["life/explanation"] == "Beyond the limit already."


def test_only_running_hours_make_rows_and_bad_values_are_left_out() -> None:
    running = RunningSpec("plc", "speed", above=50.0)
    scorers = Scorers([replace(PUMP, running=running)], LINES)
    told = []
    for half in range(20):
        told += scorers.score(block(half * HOUR_MS // 2, 1.0, speed=0.0 if half < 10 else 90.0))
    assert [each.ts_ms for each in told[::2]] == [half * HOUR_MS // 2 for half in (12, 14, 16, 18)]
    assert len(scorers.score(block(10 * HOUR_MS, np.nan))) == 2
    for half in (21, 22, 23, 24):
        assert scorers.score(block(half * HOUR_MS // 2, np.nan)) == [], "no good value, no row"


def test_a_restart_goes_on_where_it_stood_and_another_limit_begins_anew() -> None:
    first, plain = Scorers([PUMP], LINES), Scorers([PUMP], LINES)
    hours(first, 30)
    whole = hours(plain, 42)[-1]
    second = Scorers([PUMP], LINES)
    kept = json.loads(json.dumps(first.lives()[0].saved()))
    assert second.lives()[0].restore(kept) and second.lives()[0].rows == 29
    again = hours(second, 12, first=30)[-1]
    assert again["life/remaining"] == pytest.approx(whole["life/remaining"], rel=0.03)
    other = Scorers([replace(PUMP, life=replace(TREND, limit=12.0))], LINES).lives()[0]
    assert not other.restore(kept) and other.rows == 0
    with pytest.raises(ValueError, match="life of asset pump is damaged"):
        second.lives()[0].restore(kept | {"estimator": {"points": [[2.0, 1.0], [1.0, 1.0]]}})
    second.lives()[0].reset()
    assert second.status()["pump"]["life"]["state"] == "no row yet"
    assert hours(second, 3, first=60)[0]["life/remaining"] is Reason.WARMING_UP


def test_while_the_time_is_unknown_no_row_is_made() -> None:
    scorers = Scorers([PUMP], LINES, Surroundings(utc_ms=lambda ts_ms: None))
    assert hours(scorers, 20) == []


def test_a_new_configuration_keeps_a_life_that_stays_and_takes_up_a_new_one() -> None:
    scorers = Scorers([PUMP], LINES)
    hours(scorers, 20)
    same = scorers.renewed([PUMP], LINES)
    assert same.lives() == scorers.lives()
    moved = scorers.renewed([replace(PUMP, name="Pump 1")], LINES)
    assert moved.lives() != scorers.lives() and moved.lives()[0].rows == 19
    gone = scorers.renewed([replace(PUMP, life=None)], LINES)
    assert scorers.shared(gone).lives() == () and scorers.shared(moved).lives() == scorers.lives()
    scorers.adopt(gone)
    assert scorers.lives() == () and scorers.tags() == [] and hours(scorers, 5) == []


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("life") / "engine.onnx"
    path.write_bytes(trained_on(engines(24, seed=1)).content)
    return path


def plant(engine: Path, counter: bool = True) -> tuple[AssetSpec, list[LineSpec], TagTable]:
    inputs = life.read(engine).inputs
    points = [point(each.name, address=i, unit=each.unit, device="plc") for i, each in enumerate(inputs)]
    points.append(point("cycles", address=99, device="plc"))
    keys = tuple(("plc", each.tag.name) for each in points)
    spec = LifeSpec(model=engine, counter=("plc", "cycles") if counter else None, every_s=60.0)
    lines = [LineSpec("l", "modbus-tcp", devices=(device(*points, id="plc", period_s=1.0),))]
    return AssetSpec("engine", tags=keys, life=spec), lines, TagTable([each.tag for each in points])


def test_a_model_tells_cycles_when_the_counter_rises_as_the_file_itself_would(engine: Path) -> None:
    asset, lines, table = plant(engine)
    scorers, rows = Scorers([asset], lines), engines(1, seed=5)[1][:-40]
    assert scorers.problems() == []
    told = []
    good, none = np.full(len(table), 192, np.uint8), np.zeros(len(table), np.uint8)
    for cycle, row in enumerate([*rows, rows[-1]]):
        for second in range(2):
            values = np.append(row, float(cycle))
            told += scorers.score(Block(1000 * (2 * cycle + second), table, values, good, none))
    wanted = life.load(engine).after(rows)
    last = said(told[-2:])
    assert len(told) == 2 * len(rows)
    assert last["life/remaining"] == pytest.approx(wanted.rul, rel=1e-4)
    assert said(told[:2])["life/remaining"] is Reason.WARMING_UP
    assert "cycles (90 % interval" in str(last["life/explanation"])
    assert {tag.unit for tag in scorers.tags()} == {"{cycles}", ""}
    # What was kept goes on as if nothing had been.
    watch, again = scorers.lives()[0], Scorers([asset], lines).lives()[0]
    assert again.restore(json.loads(json.dumps(watch.saved())))
    assert isinstance(again.estimator, ByModel) and isinstance(watch.estimator, ByModel)
    assert again.estimator.row(rows[-1], 0.0) == watch.estimator.row(rows[-1], 0.0)
    with pytest.raises(ValueError, match="is damaged"):
        again.restore(watch.saved() | {"estimator": {"rows": 1, "states": {}}})

    # Five cycles that nobody saw make it older by five; a counter that was set anew makes no row.
    def at(cycle: float) -> list[Block]:
        return scorers.score(Block(10**7 + int(cycle), table, np.append(rows[-1], cycle), good, none))

    before = watch.rows
    assert len(at(len(rows) + 6.0)) == 2 and watch.rows >= before + 5
    assert at(0.0) == []


def test_a_model_that_does_not_fit_or_is_not_signed_is_told_and_the_rest_runs(engine: Path, tmp_path: Path) -> None:
    asset, lines, _table = plant(engine)
    short = Scorers([replace(asset, tags=asset.tags[1:])], lines)
    (problem,) = short.problems()
    assert "asset engine: life: " in problem and "no tag of the asset is called" in problem
    assert short.status()["engine"]["life"]["problem"] and short.lives() == ()
    strict = Scorers([asset], lines, Surroundings(verify=lambda signed, signature: False))
    assert "not signed" in strict.problems()[0]
    (tmp_path / "m.onnx").write_bytes(engine.read_bytes()[:-7])
    assert asset.life is not None
    cut = Scorers([replace(asset, life=replace(asset.life, model=tmp_path / "m.onnx"))], lines)
    assert "truncated" in cut.problems()[0]


def test_a_file_that_turns_bad_leaves_the_old_estimate_at_work(engine: Path, tmp_path: Path) -> None:
    asset, lines, _table = plant(engine)
    mine = tmp_path / "engine.onnx"
    mine.write_bytes(engine.read_bytes())
    assert asset.life is not None
    asset = replace(asset, life=replace(asset.life, model=mine))
    scorers = Scorers([asset], lines)
    mine.write_bytes(b"nothing")
    later = scorers.renewed([asset], lines)
    assert later.lives() == scorers.lives()
    assert "the model that ran before goes on" in later.problems()[0]


def test_a_trend_takes_no_value_twice() -> None:
    trend = ByTrend(10.0)
    for hour in (1.0, 1.0, 0.5):
        assert trend.row(np.array([3.0]), hour).state == "too few"
    assert trend.saved() == {"points": [[1.0, 3.0]]}
    with pytest.raises(ValueError, match="is no number"):
        trend.restore({"points": [[1.0, float("nan")]]})
