"""An asset that does not always run: its scorer waits, says why, and begins anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.running import RunWatch
from agent.score import Scorers
from agent.spec import AssetSpec, LineSpec, RunningSpec
from agent.standing import accept, check_acceptable, learnt, restore
from models.baseline import BaselineRule
from tests.agent.points import device, point
from tests.agent.test_scorer import LINES as PLANT
from tests.agent.test_scorer import A, B, block, numbers, pump, said
from tests.models.small import MANIFEST, write
from wire.block import Block, Quality, Reason
from wire.errors import ModelError
from wire.tag import Datatype, TagTable

SPEED = TagTable([point("speed", device="drive").tag])
MODE = TagTable([point("mode", device="drive", datatype=Datatype.STRING).tag])
DRIVE = LineSpec("z", "modbus-tcp", devices=(device(point("speed", device="drive"), id="drive"),))
LINES = [*PLANT, DRIVE]
RUNS = RunningSpec("drive", "speed", above=50.0)
MANAGED = replace(MANIFEST, baseline=BaselineRule(follow_rows=10.0, own_rows=3))


def judge(folder: Path, runs: RunningSpec | None = RUNS, managed: bool = False) -> Scorers:
    return Scorers([_asset(folder, runs, managed)], LINES)


def _asset(folder: Path, runs: RunningSpec | None, managed: bool = False) -> AssetSpec:
    return pump(write(folder / "m.onnx", MANAGED if managed else MANIFEST), running=runs)


def fed(scorers: Scorers, speeds: Sequence[float], from_s: int, a: float = 1.0) -> list[Block]:
    """A row a second, each with the speed before it."""
    told = []
    for i, speed in enumerate(speeds):
        for table, late_ms, value in ((SPEED, 0, speed), (A, 10, a), (B, 20, 0.0)):
            told += scorers.score(block(table, 1000 * (from_s + i) + late_ms, value))
    return told


def outcomes(blocks: Sequence[Block]) -> list[object]:
    return [said(each)["score"] for each in numbers(blocks)]


def test_while_the_asset_stands_still_nothing_is_judged_and_the_warm_up_begins_anew(tmp_path: Path) -> None:
    scorers = judge(tmp_path)
    assert outcomes(fed(scorers, [90.0] * 4, 0)) == [Reason.WARMING_UP] * 2 + [1.0] * 2
    stopped = fed(scorers, [10.0] * 3, 4, a=99.0)
    assert outcomes(stopped) == [Reason.NOT_RUNNING] * 4, "at once, and with each row"
    assert {said(each)["anomaly"] for each in numbers(stopped)} == {Reason.NOT_RUNNING}
    stamps = [each.ts_ms for each in numbers(stopped)]
    assert stamps == sorted(set(stamps)) and stamps[0] == 4000
    assert scorers.status()["pump"]["suspended"] == {"why": "not running", "since_ms": 4000}
    assert outcomes(fed(scorers, [90.0] * 4, 7)) == [Reason.WARMING_UP] * 2 + [1.0] * 2
    assert "suspended" not in scorers.status()["pump"]


def test_an_alarm_and_its_words_end_when_the_asset_stops(tmp_path: Path) -> None:
    scorers = judge(tmp_path)
    (*_, words) = fed(scorers, [90.0] * 3, 0, a=9.0)
    assert "a is too high" in said(words)["explanation"]
    (score, gone) = scorers.score(block(SPEED, 3000, 0.0))
    assert said(score)["anomaly"] is Reason.NOT_RUNNING
    assert said(gone) == {"explanation": "", "explanation_zh": ""}


def test_before_its_tag_has_said_anything_the_asset_is_not_judged(tmp_path: Path) -> None:
    scorers = judge(tmp_path)
    assert outcomes(scorers.score(block(A, 0, 1.0))) == [Reason.INPUT_BAD]
    assert scorers.status()["pump"]["running"]["state"] == "unknown"
    assert scorers.status()["pump"]["suspended"]["why"] == "unknown"


def test_a_bad_tag_keeps_what_it_said_last_and_that_is_told(tmp_path: Path) -> None:
    scorers = judge(tmp_path)
    fed(scorers, [90.0] * 3, 0)
    (found,) = numbers(fed(scorers, [np.nan], 3))
    by_name = {s.name: (s.quality, s.reason, s.value) for s in found.samples()}
    assert by_name["score"] == (Quality.UNCERTAIN, Reason.INPUT_BAD, 1.0)
    assert by_name["share/a"][0] == Quality.UNCERTAIN
    assert scorers.status()["pump"]["running"] == {"state": "runs", "tag": "drive/speed", "bad": True, "since_ms": 0}
    fed(scorers, [0.0], 4)
    assert outcomes(fed(scorers, [np.nan] * 2, 5)) == [Reason.NOT_RUNNING] * 2
    (*_, last) = numbers(fed(scorers, [90.0] * 3, 7))
    assert {s.quality for s in last.samples()} == {Quality.GOOD}


def test_after_a_standstill_it_may_settle_before_it_is_judged(tmp_path: Path) -> None:
    scorers = judge(tmp_path, replace(RUNS, settle_s=2.0))
    fed(scorers, [0.0], 0)
    assert outcomes(fed(scorers, [90.0] * 6, 1)) == [Reason.WARMING_UP] * 4 + [1.0] * 2
    scorers = judge(tmp_path, replace(RUNS, settle_s=2.0))
    fed(scorers, [90.0], 0)
    assert scorers.status()["pump"]["suspended"]["why"] == "settling"


def test_a_short_stop_between_two_rows_is_one_too(tmp_path: Path) -> None:
    scorers = judge(tmp_path)
    fed(scorers, [90.0] * 4, 0)
    scorers.score(block(SPEED, 3500, 0.0))
    assert outcomes(fed(scorers, [90.0], 4)) == [Reason.WARMING_UP]


def test_a_state_or_a_true_says_it_too_and_an_old_value_is_no_news() -> None:
    watch = RunWatch(RunningSpec("drive", "mode", states=("run", "idle")))
    for i, (text, runs) in enumerate([("run", True), ("stop", False), ("idle", True)]):
        one = np.zeros(1, np.uint8)
        watch.take(Block(i, MODE, np.array([np.nan]), one + Quality.GOOD, one, {0: text}))
        assert watch.running is runs and watch.since_ms == (0 if i == 0 else i)
    plain = RunWatch(RunningSpec("drive", "speed"))
    plain.take(block(SPEED, 10, 1.0))
    plain.take(block(SPEED, 9, 0.0))
    assert plain.running is True


def test_a_new_configuration_goes_on_with_what_is_known(tmp_path: Path) -> None:
    scorers = judge(tmp_path)
    fed(scorers, [90.0] * 3 + [0.0], 0)
    scorers.adopt(scorers.renewed([_asset(tmp_path, replace(RUNS, above=40.0))], LINES))
    assert outcomes(scorers.score(block(A, 4000, 1.0)) + scorers.score(block(B, 4010, 1.0))) == [Reason.NOT_RUNNING]
    scorers.adopt(scorers.renewed([_asset(tmp_path, None)], LINES))
    assert outcomes(fed(scorers, [0.0] * 3, 5)) == [Reason.WARMING_UP] * 2 + [1.0]


def test_nothing_is_learnt_while_it_stands_still_and_what_was_learnt_stays(tmp_path: Path) -> None:
    scorers = judge(tmp_path, managed=True)
    fed(scorers, [90.0], 0)
    assert scorers.status()["pump"]["baseline"]["state"] == "learning"
    assert scorers.status()["pump"]["baseline"]["learnt_rows"] == 1
    fed(scorers, [0.0] * 5, 1, a=4.0)
    assert scorers.status()["pump"]["baseline"]["learnt_rows"] == 1
    assert scorers.status()["pump"]["baseline"]["state"] == "suspended"
    fed(scorers, [90.0] * 5, 6)
    assert scorers.status()["pump"]["baseline"]["state"] == "follows"
    (scorer,) = scorers.all()
    before = learnt(scorer)
    fed(scorers, [0.0] * 5, 11, a=4.0)
    assert learnt(scorer) == before


def test_a_level_is_accepted_only_where_there_is_one(tmp_path: Path) -> None:
    (plain,) = judge(tmp_path, None).all()
    with pytest.raises(ModelError, match="has no managed baseline"):
        check_acceptable(plain)
    scorers = judge(tmp_path, managed=True)
    (scorer,) = scorers.all()
    fed(scorers, [90.0] * 2, 0)
    with pytest.raises(ModelError, match=r"still learns its own normal \(2 of 3 rows\)"):
        accept(scorer)
    fed(scorers, [0.0], 2)
    with pytest.raises(ModelError, match=r"not running.*accept its level when it runs"):
        accept(scorer)
    fed(scorers, [90.0] * 4, 3)
    fed(scorers, [90.0] * 3, 7, a=9.0)
    status = scorers.status()["pump"]
    assert status["baseline"]["state"] == "frozen" and status["alarm"] == {"since_ms": 7020, "for_s": 2.0}
    accept(scorer)
    assert outcomes(fed(scorers, [90.0] * 3, 10, a=9.0))[-1] == pytest.approx(0.0, abs=0.5)
    assert "alarm" not in scorers.status()["pump"]


def test_what_was_learnt_fits_only_the_same_model_of_the_same_tags(tmp_path: Path) -> None:
    scorers = judge(tmp_path, managed=True)
    fed(scorers, [90.0] * 6, 0)
    (scorer,) = scorers.all()
    kept = learnt(scorer)
    assert kept is not None
    (fresh,) = judge(tmp_path, managed=True).all()
    assert restore(fresh, kept) and learnt(fresh) == kept
    assert not restore(fresh, kept | {"model": "another"})
    assert not restore(fresh, kept | {"inputs": [["two", "b"], ["one", "a"]]})
    for wrong in ({}, kept | {"baseline": {}}, kept | {"baseline": {**kept["baseline"], "points": [[1.0]]}}):
        with pytest.raises(ValueError, match=r"damaged|does not fit"):
            restore(fresh, wrong)
    (plain,) = judge(tmp_path, None).all()
    assert learnt(plain) is None
