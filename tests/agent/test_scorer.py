"""A scorer where something is missing, late, or exchanged while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from agent.score import Scorers
from agent.scorer import Surroundings
from agent.spec import AssetSpec, LineSpec
from agent.window import Window
from tests.agent.points import device, point
from tests.models.small import MANIFEST, write
from wire.block import Block, Quality, Reason
from wire.tag import TagTable

A = TagTable([point("a", unit="bar", device="one").tag])
B = TagTable([point("b", unit="Cel", device="two").tag])
LINES = [
    LineSpec("x", "modbus-tcp", devices=(device(point("a", unit="bar", device="one"), id="one"),)),
    LineSpec("y", "modbus-tcp", devices=(device(point("b", unit="Cel", device="two"), id="two"),)),
]
TAGS = (("one", "a"), ("two", "b"))


def block(table: TagTable, ts_ms: int, value: float) -> Block:
    bad = np.isnan(value)
    quality = np.full(1, Quality.BAD if bad else Quality.GOOD, np.uint8)
    return Block(ts_ms, table, np.array([value]), quality, np.full(1, Reason.TIMEOUT if bad else 0, np.uint8))


def pump(model: Path, **rest: Any) -> AssetSpec:
    return AssetSpec("pump", "Pump", "machine", TAGS, model, **rest)


def fed(scorers: Scorers, rows: Sequence[tuple[float, float]], from_s: int = 0) -> list[Block]:
    told: list[Block] = []
    for i, (a, b) in enumerate(rows):
        for table, late_ms, value in ((A, 0, a), (B, 10, b)):
            told += scorers.score(block(table, 1000 * (from_s + i) + late_ms, value))
    return told


def said(found: Block) -> dict[str, Any]:
    return {s.name: s.reason if s.value is None else s.value for s in found.samples()}


def numbers(blocks: Sequence[Block]) -> list[Block]:
    return [b for b in blocks if "score" in b.tags.names]


def test_a_missing_tag_is_left_out_and_said_where_the_model_takes_that(tmp_path: Path) -> None:
    judge = Scorers([pump(write(tmp_path / "m.onnx"))], LINES)
    (*_, last) = fed(judge, [(1.0, 2.0)] * 3 + [(np.nan, 3.0)])
    assert said(last)["score"] == 3.0 and said(last)["share/a"] is Reason.INPUT_BAD
    assert said(last)["share/b"] == pytest.approx(1.0, abs=1e-5)
    by_name = {s.name: (s.quality, s.reason) for s in last.samples()}
    assert by_name["score"] == by_name["anomaly"] == (Quality.UNCERTAIN, Reason.INPUT_BAD)
    assert by_name["threshold"] == (Quality.GOOD, Reason.NONE)
    (*_, whole) = fed(judge, [(1.0, 2.0)], from_s=4)
    assert {s.quality for s in whole.samples()} == {Quality.GOOD}


def test_a_device_that_is_gone_for_good_costs_no_row_of_the_others(tmp_path: Path) -> None:
    judge = Scorers([pump(write(tmp_path / "m.onnx"))], LINES)
    fed(judge, [(1.0, 2.0)] * 3)
    judge.score(block(A, 3000, np.nan))  # its last word
    found = [b for i in range(3, 9) for b in judge.score(block(B, 1000 * i + 10, 4.0))]
    assert [said(b)["score"] for b in found] == [4.0] * 6
    judge.score(block(B, 9000, np.nan))
    judge.score(block(A, 9010, np.nan))
    (nothing,) = judge.score(block(A, 10_010, np.nan))
    assert said(nothing)["score"] is Reason.INPUT_BAD


def test_a_model_that_needs_every_tag_says_that_one_is_bad(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx", replace(MANIFEST, takes_missing=False))
    judge = Scorers([pump(model)], LINES)
    (*_, last) = fed(judge, [(1.0, 2.0)] * 3 + [(np.nan, 3.0)])
    assert said(last)["score"] is said(last)["share/b"] is Reason.INPUT_BAD


def test_the_hour_of_the_site_reaches_the_model(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx", clock=True)
    noon_ms = int(datetime(2026, 1, 7, 12, 30, tzinfo=UTC).timestamp() * 1000)  # a Wednesday
    around = Surroundings(zone=ZoneInfo("Asia/Shanghai"), utc_ms=lambda ts_ms: noon_ms + ts_ms)
    (*_, last) = numbers(fed(Scorers([pump(model)], LINES, around), [(1.0, 0.0)] * 3))
    assert said(last)["score"] == pytest.approx(1 + 20.5 + 200, abs=0.01)


def test_a_model_of_the_hour_does_not_judge_while_the_time_is_unknown(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx", clock=True)
    judge = Scorers([pump(model)], LINES, Surroundings(utc_ms=lambda ts_ms: None))
    assert {said(b)["score"] for b in fed(judge, [(1.0, 0.0)] * 4)} == {Reason.CLOCK_UNKNOWN}


def test_what_is_to_blame_is_said_when_an_alarm_begins_changes_and_ends(tmp_path: Path) -> None:
    judge = Scorers([pump(write(tmp_path / "m.onnx"))], LINES)
    rows = [(1.0, 0.0)] * 3 + [(9.0, 0.0)] * 3 + [(0.0, -9.0)] * 2 + [(0.0, 0.0)] * 2
    told = [b for b in fed(judge, rows) if "explanation" in b.tags.names]
    assert [b.ts_ms for b in told] == [3010, 6010, 8010]
    first, second, last = (said(b) for b in told)
    assert first["explanation"] == (
        "Unusual (score 9, threshold 5): a is too high, usually 0 bar (100 % of the score)."
    )
    assert first["explanation_zh"].startswith("异常（得分 9，阈值 5）：a 过高")
    assert "b is too low" in second["explanation"]
    assert last == {"explanation": "", "explanation_zh": ""}
    assert {t.name for t in judge.tags()} >= {"explanation", "explanation_zh"}


def test_the_rate_that_the_operator_accepts_sets_the_threshold(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx")
    judge = Scorers([pump(model, false_alarm_s=10_000.0)], LINES)
    assert said(fed(judge, [(1.0, 0.0)])[0])["threshold"] == 6.0
    refused = Scorers([pump(model, false_alarm_s=1e9)], LINES)
    (problem,) = refused.problems()
    assert "is outside: choose a rate between" in problem
    assert refused.status()["pump"]["state"] == "off"


def test_values_that_come_late_are_not_news() -> None:
    window = Window(TAGS, 1000.0)
    assert window.row(block(A, 5000, 1.0)) is None
    assert window.row(block(A, 4000, 7.0)) is None
    found = window.row(block(B, 4990, 2.0))
    assert found is not None and found.values.tolist() == [1.0, 2.0]
    assert found.ts_ms == 5000, "the stamp is that of the newest input"
    assert window.row(block(B, 4980, 3.0)) is None


def test_another_model_takes_over_between_two_rows_and_says_that_it_warms_up(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx")
    judge = Scorers([pump(model)], LINES)
    before = fed(judge, [(1.0, 2.0)] * 5)
    assert judge.score(block(A, 5000, 1.0)) == [], "a row is half there"
    write(model, replace(MANIFEST, version="2"))
    new = judge.renewed([pump(model)], LINES)
    assert judge.shared(new).tags() == judge.tags()
    judge.adopt(new)
    after = judge.score(block(B, 5010, 2.0)) + fed(judge, [(1.0, 2.0)] * 4, from_s=6)
    assert [b.ts_ms for b in before + after] == [1000 * i + 10 for i in range(10)]
    assert [said(b)["score"] for b in after[:2]] == [Reason.WARMING_UP] * 2
    assert [said(b)["score"] for b in after[2:]] == [2.0] * 3
    assert judge.status()["pump"] == {"state": "on", "problem": "", "model": "small version 2, not signed"}


def test_a_model_of_other_tags_keeps_its_scores_until_they_can_be_told(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx")
    judge = Scorers([pump(model)], LINES)
    fed(judge, [(1.0, 2.0)] * 4)
    swapped = tuple(replace(each, name=name) for each, name in zip(MANIFEST.inputs, ("a", "level"), strict=True))
    write(model, replace(MANIFEST, inputs=swapped))
    asset = pump(model, inputs={"level": ("two", "b")})
    new = judge.renewed([asset], LINES)
    assert new.problems() == []
    judge.adopt(judge.shared(new))
    assert fed(judge, [(1.0, 2.0)] * 3, from_s=4) == []
    judge.adopt(new)
    told = fed(judge, [(1.0, 2.0)], from_s=7)
    assert [b.ts_ms for b in told] == [4010, 5010, 6010, 7010]
    assert "share/level" in told[0].tags.names
    assert [said(b)["score"] for b in told] == [Reason.WARMING_UP] * 2 + [2.0] * 2


def test_turning_the_rate_keeps_the_model_warm_and_the_alarm_up(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx")
    judge = Scorers([pump(model)], LINES)
    fed(judge, [(1.0, 2.0)] * 3 + [(7.0, 2.0)] * 2)
    turned = pump(model, false_alarm_s=100.0)
    new = judge.renewed([turned], LINES)
    assert judge.exchanged(new) == []
    judge.adopt(new)
    (*_, last) = numbers(fed(judge, [(4.5, 2.0)], from_s=5))
    assert (said(last)["score"], said(last)["threshold"], said(last)["anomaly"]) == (4.5, 4.0, True)


def test_the_same_file_anew_goes_on_warm_and_one_file_is_loaded_once(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx")
    judge = Scorers([pump(model)], LINES)
    fed(judge, [(1.0, 2.0)] * 3)
    write(model)
    twin = AssetSpec("twin", "", "machine", TAGS, model)
    new = judge.renewed([pump(model), twin], LINES)
    assert new._scorers[0] is judge._scorers[0]
    assert new._scorers[1].model is judge._scorers[0].model


def test_a_broken_new_file_leaves_the_old_model_at_work(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx")
    judge = Scorers([pump(model)], LINES)
    fed(judge, [(1.0, 2.0)] * 3)
    model.write_bytes(model.read_bytes()[:-100])
    judge.adopt(judge.renewed([pump(model)], LINES))
    (problem,) = judge.problems()
    assert "the model that ran before goes on (small version 1, not signed)" in problem
    assert judge.status()["pump"]["state"] == "on"
    (*_, last) = fed(judge, [(1.0, 3.0)], from_s=3)
    assert said(last)["score"] == 3.0
    write(model)
    judge.adopt(judge.renewed([pump(model)], LINES))
    assert judge.problems() == []


def test_a_window_with_another_pace_keeps_what_it_knows() -> None:
    old, new = Window(TAGS, 1000.0), Window((("two", "b"), ("three", "c")), 500.0)
    old.row(block(A, 0, 1.0))
    old.row(block(B, 10, 2.0))
    old.row(block(B, 400, 5.0))
    new.inherit(old)
    found = new.row(Block.bad(600, TagTable([point("c", device="three").tag]), Reason.TIMEOUT))
    assert found is not None and found.bad and found.values[0] == 5.0
