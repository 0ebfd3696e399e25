"""Rows and scores: brought together at the model's pace, never a score of 0 for want of data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.score import Scorers
from agent.spec import AssetSpec, DeviceSpec, LineSpec
from agent.window import Window
from models.runtime import load, packaged
from tests.agent.points import device, point
from wire.block import Block, Quality, Reason
from wire.tag import TagTable

MODEL = packaged()["demo_machine"]
USUAL = load(MODEL).manifest.inputs
UNITS = {"temperature": "[degF]", "motor_current": "A", "vibration_rms": "mm/s", "speed_rpm": "1/min"}


def plc(**rest: Any) -> DeviceSpec:
    """The demo machine's inputs, and a tag that the model does not want."""
    points = [
        point("temperature", address=0, raw="float32", unit="[degF]", device="plc"),
        point("motor_current", address=2, scale=0.01, unit="A", device="plc"),
        point("vibration_rms", address=3, scale=0.001, unit="mm/s", device="plc"),
        point("speed_rpm", address=4, unit="1/min", device="plc"),
        point("run_hours", address=5, raw="uint32", scale=0.1, unit="h", device="plc"),
    ]
    return device(*points, **{"id": "plc", "period_s": 0.1} | rest)


def machine(**rest: Any) -> AssetSpec:
    names = tuple(("plc", p.tag.name) for p in plc().points)
    return AssetSpec("machine-1", "Machine 1", "machine", **{"tags": names, "model": MODEL} | rest)


def scorers(asset: AssetSpec | None = None, plant: DeviceSpec | None = None) -> Scorers:
    return Scorers([asset or machine()], [LineSpec("l", "modbus-tcp", devices=(plant or plc(),))])


TAGS = TagTable([p.tag for p in plc().points])


def answer(ts_ms: int, off: float = 0.0, bad: Sequence[int] | None = None) -> Block:
    """One poll of the machine: each input so many spreads from its usual value."""
    by_name = {u.name: u.centre + off * u.spread for u in USUAL}
    values = np.array([by_name.get(name, 1.0) for name in TAGS.names])
    quality, reason = np.full(5, 192, np.uint8), np.zeros(5, np.uint8)
    if bad is not None:
        values[list(bad)], quality[list(bad)], reason[list(bad)] = np.nan, 0, Reason.TIMEOUT
    return Block(ts_ms, TAGS, values, quality, reason)


def by_name(block: Block) -> dict[str, Any]:
    return {s.name: s.reason if s.value is None else s.value for s in block.samples()}


WARM = load(MODEL).manifest.warm_up_rows


def test_a_machine_warms_up_then_is_scored_and_a_strange_state_raises_the_anomaly() -> None:
    judge = scorers()
    assert judge.problems() == []
    found = [block for i in range(WARM + 30) for block in judge.score(answer(1000 + 100 * i))]
    assert [b.ts_ms for b in found] == [1000 + 100 * i for i in range(WARM + 30)]
    cold, warm = by_name(found[WARM - 1]), by_name(found[WARM])
    assert cold["score"] is cold["anomaly"] is cold["share/temperature"] is Reason.WARMING_UP
    assert cold["threshold"] == warm["threshold"] == pytest.approx(load(MODEL).manifest.threshold, rel=1e-6)
    assert 0 <= warm["score"] < warm["threshold"] and warm["anomaly"] is False
    late = 1000 + 100 * (WARM + 30)
    strange = [block for i in range(100) for block in judge.score(answer(late + 100 * i, off=40.0))]
    last = by_name(strange[-1])
    assert last["score"] > last["threshold"] and last["anomaly"] is True
    shares = [v for name, v in last.items() if name.startswith("share/")]
    assert len(shares) == 4 and sum(shares) == pytest.approx(1.0, abs=1e-5)
    assert last["score"] == float(np.float32(last["score"]))


def test_the_score_devices_tags() -> None:
    tags = scorers().tags()
    assert [(t.name, t.datatype.name, t.measures) for t in tags][:4] == [
        ("score", "FLOAT", "score"),
        ("threshold", "FLOAT", "threshold"),
        ("anomaly", "BOOLEAN", "anomaly"),
        ("share/temperature", "FLOAT", "share"),
    ]
    assert {(t.device, t.asset) for t in tags} == {("machine-1", "machine-1")}


def test_a_bad_input_makes_the_score_bad_and_a_bad_other_tag_does_not() -> None:
    judge = scorers()
    for i in range(WARM + 1):
        judge.score(answer(100 * i))
    (rest,) = judge.score(answer(100 * (WARM + 1), bad=[0]))
    told = {s.name: (s.quality, s.reason) for s in rest.samples()}
    assert told["score"] == told["anomaly"] == (Quality.UNCERTAIN, Reason.INPUT_BAD)
    assert told["share/temperature"] == (Quality.BAD, Reason.INPUT_BAD)
    assert by_name(rest)["threshold"] < by_name(judge.score(answer(100 * (WARM + 2)))[0])["threshold"]
    (bad,) = judge.score(answer(100 * (WARM + 3), bad=[0, 1, 2]))
    assert by_name(bad)["score"] is by_name(bad)["anomaly"] is Reason.INPUT_BAD
    (good,) = judge.score(answer(100 * (WARM + 4), bad=[4]))
    assert isinstance(by_name(good)["score"], float), "one bad row does not cost the warm-up"
    assert {s.quality for s in good.samples()} == {Quality.GOOD}


def test_a_tag_that_is_gone_is_named_in_the_status_and_in_the_words_of_an_alarm() -> None:
    judge = scorers()
    for i in range(WARM + 1):
        judge.score(answer(100 * i))
    assert "missing" not in judge.status()["machine-1"]
    told = [b for i in range(60) for b in judge.score(answer(100 * (WARM + 1 + i), off=40.0, bad=[2]))]
    assert judge.status()["machine-1"]["missing"] == ["vibration_rms"]
    words = [by_name(b)["explanation"] for b in told if "explanation" in b.tags.names]
    assert words and words[-1].endswith("; judged without vibration_rms.")
    (whole,) = (b for b in judge.score(answer(100 * (WARM + 61), off=40.0)) if "explanation" in b.tags.names)
    assert "judged without" not in by_name(whole)["explanation"]
    assert "missing" not in judge.status()["machine-1"]


def test_after_a_long_pause_the_model_warms_up_again() -> None:
    judge = scorers()
    for i in range(WARM + 5):
        judge.score(answer(100 * i))
    (block,) = judge.score(answer(10_000_000))
    assert by_name(block)["score"] is Reason.WARMING_UP


def test_a_long_row_of_bad_inputs_is_a_pause_too() -> None:
    judge = scorers()
    for i in range(WARM + 5):
        judge.score(answer(100 * i))
    for i in range(WARM + 5, 3 * WARM):
        judge.score(answer(100 * i, bad=[0, 1, 2, 3]))
    (block,) = judge.score(answer(100 * 3 * WARM))
    assert by_name(block)["score"] is Reason.WARMING_UP


def test_blocks_of_other_devices_cost_nothing() -> None:
    other = TagTable([point("temperature", device="elsewhere").tag])
    assert scorers().score(Block.bad(0, other, Reason.TIMEOUT)) == []


@pytest.mark.parametrize(
    ("asset", "plant", "words"),
    [
        (machine(tags=()), plc(), "no tag of the asset is called 'temperature'"),
        (machine(inputs={"temperature": ("plc", "heat")}), plc(), "no tag 'heat' of device 'plc'"),
        (machine(inputs={"colour": ("plc", "temperature")}), plc(), "no input called colour"),
        (machine(tags=(*machine().tags, ("b", "temperature"))), plc(), "more than one tag"),
        (machine(), plc(period_s=1.0), "is read every 1 s, the model needs a row every 0.1 s"),
        (machine(model=Path("/nowhere.onnx")), plc(), "nowhere.onnx"),
    ],
)
def test_a_model_that_does_not_fit_is_a_problem_and_not_the_end(
    asset: AssetSpec, plant: DeviceSpec, words: str
) -> None:  # fmt: skip
    judge = scorers(asset, plant)
    (problem,) = judge.problems()
    assert problem.startswith("asset machine-1: ") and words in problem
    assert judge.tags() == [] and judge.score(answer(0)) == []


def test_units_and_text_are_checked() -> None:
    celsius = tuple(
        replace(p, tag=replace(p.tag, unit="Cel")) if p.tag.name == "temperature" else p for p in plc().points
    )
    text = point("speed_rpm", raw="string", length=4, address=4, unit="1/min", device="plc")
    (problem,) = scorers(plant=replace(plc(), points=(*celsius[:3], text))).problems()
    assert "tag temperature is in 'Cel', the model was trained in '[degF]'" in problem
    assert "tag speed_rpm is text" in problem


A, B = TagTable([point("x", device="a").tag]), TagTable([point("y", "coil", 0, "bool", device="b").tag])


def a(ts_ms: int, value: float = 1.0) -> Block:
    return Block(ts_ms, A, np.array([value]), np.full(1, 192, np.uint8), np.zeros(1, np.uint8))


def b(ts_ms: int, value: bool = True) -> Block:
    return Block(ts_ms, B, np.array([np.nan]), np.full(1, 192, np.uint8), np.zeros(1, np.uint8), {0: value})


def test_a_row_waits_for_every_input_then_for_the_period() -> None:
    window = Window([("a", "x"), ("b", "y")], 100.0)
    assert window.row(a(0)) is None and window.row(a(500)) is None
    first = window.row(b(510))
    assert first is not None and first.values.tolist() == [1.0, 1.0]
    assert (first.ts_ms, first.bad) == (510, False)
    assert window.row(a(590)) is None
    second = window.row(b(595, False))
    assert second is not None and second.values.tolist() == [1.0, 0.0]
    # b is slower than the model: its last value serves.
    third = window.row(a(700, 7.0))
    assert third is not None and third.values.tolist() == [7.0, 0.0]


def test_a_device_that_is_polled_faster_than_the_model_is_thinned() -> None:
    window = Window([("a", "x")], 100.0)
    assert [t for t in range(0, 1000, 20) if window.row(a(t))] == [0, *range(60, 1000, 100)]


def test_jitter_and_a_slightly_wrong_pace_cost_no_rows() -> None:
    window = Window([("a", "x")], 100.0)
    times = [100 * i + (-1) ** i * 20 for i in range(1, 50)]
    assert [t for t in times if window.row(a(t))] == times
    slow = Window([("a", "x")], 100.0)
    assert all(slow.row(a(t)) for t in range(0, 10_000, 103))


def test_an_input_that_turns_bad_makes_a_bad_row_at_once_and_only_once_before_its_time() -> None:
    window = Window([("a", "x"), ("b", "y")], 100.0)
    first = window.row(Block.bad(0, A, Reason.TIMEOUT))
    assert first is not None and first.bad
    assert window.row(Block.bad(10, A, Reason.DEVICE_DEAD)) is None
    assert window.row(a(30)) is None
    good = window.row(b(31))
    assert good is not None and not good.bad
    last = window.row(Block.bad(40, B, Reason.DEVICE_DEAD))
    assert last is not None and last.bad and last.ts_ms == 40
