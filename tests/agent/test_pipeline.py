"""The whole edge flow over real lines: polls, faults, loss and return, stamps, back-off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.driver import Clock, Memory
from agent.frame_spec import FrameSpec
from agent.line import delay_s
from agent.pipeline import Taken, read_cycles, run_line
from agent.score import Scorers
from agent.spec import Illegal, LineSpec
from agent.status import LineStatus
from tests.agent.points import device, point
from tests.agent.slaves import RtuSlave, TcpSlave, register
from tests.agent.test_framed_serial import Port
from wire.block import Quality, Reason, Sample
from wire.errors import ConfigError


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Notes:
    """A sink that writes down what it is told, in order."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.order: list[tuple[str, Any]] = []
        self._news = asyncio.Event()

    async def append(self, taken: Taken) -> None:
        self.taken.append(taken)
        self.order += [(b.device, {s.reason for s in b.samples()}) for b in taken.blocks]
        self._news.set()

    async def device_state(self, device: str, alive: bool) -> None:
        self.order.append((device, alive))
        self._news.set()

    def samples(self, device: str) -> list[Sample]:
        return [s for t in self.taken for b in t.blocks if b.device == device for s in b.samples()]

    def reasons(self, device: str) -> list[Reason]:
        return [s.reason for s in self.samples(device)]

    async def until(self, true: Callable[[], Any], within_s: float = 30.0) -> None:
        async with asyncio.timeout(within_s):
            while not true():
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def running(
    line: LineSpec,
    clock: Clock = now_ms,
    high_water: dict[tuple[str, str], int] | None = None,
    memory: Memory | None = None,
) -> AsyncIterator[tuple[Notes, LineStatus]]:  # fmt: skip
    notes, status = Notes(), LineStatus()
    task = asyncio.create_task(run_line(line, notes, clock, high_water or {}, Scorers([], []), status, memory))
    try:
        yield notes, status
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert status.state == "closed"


def tcp_line(slave: TcpSlave, *devices: Any, **rest: Any) -> LineSpec:
    return LineSpec("plc", "modbus-tcp", slave.host, slave.port, devices=devices, **{"timeout_s": 0.05} | rest)


PUMP = device(
    point("a", "holding", 0), point("b", "holding", 1, scale=0.1), point("far", "input", 500), period_s=0.02
)  # fmt: skip


async def test_values_arrive_scaled_with_rising_stamps_and_are_counted() -> None:
    async with TcpSlave() as slave, running(tcp_line(slave, PUMP)) as (notes, status):
        await notes.until(lambda: len(notes.taken) >= 5)
    first = {s.name: s.value for b in notes.taken[0].blocks for s in b.samples()}
    assert first == {"a": 10000, "b": pytest.approx(1000.7), "far": register("input", 500)}
    for name in ("a", "b", "far"):
        stamps = [s.ts_ms for s in notes.samples("dev") if s.name == name]
        assert stamps == sorted(set(stamps))
    for taken in notes.taken:
        assert taken.line == "plc" and taken.suppressed == {}
        assert taken.polled_ms == max(b.ts_ms for b in taken.blocks)
    assert status.unit("dev").answers == status.answers >= 5
    assert status.unit("dev").state == "answering" and status.timeouts == 0


async def test_stamps_rise_above_the_high_water_even_when_the_clock_stands_or_steps_back() -> None:
    ticks = iter([1000, 1001, 500, 400, 300] + [200] * 1000)
    high_water = {("dev", "a"): 5000, ("dev", "far"): 100}
    async with TcpSlave() as slave, running(tcp_line(slave, PUMP), lambda: next(ticks), high_water) as (notes, _):
        await notes.until(lambda: len(notes.taken) >= 3)
    assert [s.ts_ms for s in notes.samples("dev") if s.name == "a"][:3] == [5001, 5002, 5003]
    far = [s.ts_ms for s in notes.samples("dev") if s.name == "far"]
    assert far == sorted(set(far)) and far[0] > 100


async def test_what_the_deadband_holds_back_is_counted_and_the_poll_is_told_all_the_same() -> None:
    quiet = device(point("a", "holding", 0, deadband=1.0), point("b", "holding", 1, deadband=1.0), period_s=0.02)
    async with TcpSlave() as slave, running(tcp_line(slave, quiet)) as (notes, _):
        await notes.until(lambda: len(notes.taken) >= 4)
    assert [len(t.blocks) for t in notes.taken[:4]] == [1, 0, 0, 0]
    assert [dict(t.suppressed) for t in notes.taken[:4]] == [{}, {"dev": 2}, {"dev": 2}, {"dev": 2}]
    polled = [t.polled_ms for t in notes.taken]
    assert polled == sorted(set(polled))


async def test_a_silent_unit_dies_once_and_its_neighbour_keeps_its_period() -> None:
    alive = [True]
    units = (
        device(point("x", device="good"), id="good", unit_id=1, period_s=0.1),
        device(point("x", device="sick"), point("y", "input", device="sick"), id="sick", unit_id=2, period_s=0.1),
    )
    async with RtuSlave(lambda u: 0.0 if u == 1 or alive[0] else None, units=frozenset({1, 2})) as slave:
        line = LineSpec(
            "bus", "modbus-rtu", port=slave.port, baud=115200, timeout_s=0.06, quiet_s=0.002,
            silent_polls=2, probe_s=0.2, devices=units,
        )  # fmt: skip
        async with running(line) as (notes, status):
            await notes.until(lambda: len(notes.samples("sick")) >= 4)
            alive[0] = False
            await notes.until(lambda: ("sick", False) in notes.order)
            dead_from, polls_then = len(notes.order), status.unit("good").polls
            assert status.unit("sick").state == "dead"
            await notes.until(lambda: status.unit("good").polls >= polls_then + 10)
            assert "sick" not in [d for d, _ in notes.order[dead_from:]], "nothing more is told of a dead unit"
            alive[0] = True
            await notes.until(lambda: ("sick", True) in notes.order)
            back_at = notes.order.index(("sick", True))
            await notes.until(lambda: ("sick", {Reason.NONE}) in notes.order[back_at:])
    of_sick = [what for d, what in notes.order if d == "sick"]
    lost_at = of_sick.index(False)
    assert of_sick[lost_at - 2 : lost_at] == [{Reason.DEVICE_DEAD}] * 2, "one last word per tag, then the death"
    assert {Reason.TIMEOUT} in of_sick[:lost_at]
    assert of_sick[lost_at + 1] is True
    good_ms = [s.ts_ms for s in notes.samples("good")]
    assert max(b - a for a, b in pairwise(good_ms)) < 300
    assert {s.quality for s in notes.samples("good")} == {Quality.GOOD}


async def test_a_request_that_is_never_answered_does_not_take_its_device_along() -> None:
    """Some devices say nothing where others refuse; here of every input register, while holding registers answer."""
    mute = [True]
    unit = device(point("first", "coil", 0, "bool"), point("a", "input", 3), point("z", "holding", 7), period_s=0.03)
    async with RtuSlave(twist=lambda frame: b"" if mute[0] and frame[1] in (1, 4) else frame) as slave:
        line = LineSpec(
            "bus", "modbus-rtu", port=slave.port, baud=115200, timeout_s=0.3, quiet_s=0.002,
            silent_polls=3, probe_s=600, devices=(unit,),
        )  # fmt: skip
        async with running(line) as (notes, status):
            await notes.until(lambda: status.unit("dev").polls >= 30)
            assert (status.unit("dev").state, ("dev", False) in notes.order) == ("answering", False)
            # Each of the two is asked three times while the device is there, and then only after probe_s; the first
            # poll began with one of them.
            assert status.timeouts <= 7
    of = {name: [s.reason for s in notes.samples("dev") if s.name == name] for name in ("first", "a", "z")}
    assert set(of["first"]) == set(of["a"]) == {Reason.TIMEOUT}
    assert set(of["z"][1:]) == {Reason.NONE}


async def test_a_request_that_is_answered_again_is_read_as_before() -> None:
    mute = [True]
    unit = device(point("a", "input", 3), point("z", "holding", 7), period_s=0.03)
    async with RtuSlave(twist=lambda frame: b"" if mute[0] and frame[1] == 4 else frame) as slave:
        line = LineSpec(
            "bus", "modbus-rtu", port=slave.port, baud=115200, timeout_s=0.05, quiet_s=0.002,
            silent_polls=2, probe_s=0.1, devices=(unit,),
        )  # fmt: skip
        async with running(line) as (notes, status):
            await notes.until(lambda: status.timeouts >= 4)
            mute[0] = False
            of_a = lambda: [s.reason for s in notes.samples("dev") if s.name == "a"]  # noqa: E731
            await notes.until(lambda: of_a()[-2:] == [Reason.NONE] * 2)


async def test_a_refused_span_leaves_the_others_good() -> None:
    async with RtuSlave(illegal=lambda table, address, count: table == "input") as slave:
        line = LineSpec("bus", "modbus-rtu", port=slave.port, baud=115200, timeout_s=0.2, devices=(PUMP,))
        async with running(line) as (notes, status):
            await notes.until(lambda: len(notes.taken) >= 4)
    found = {(s.name, s.quality, s.reason) for s in notes.samples("dev")}
    assert found == {
        ("a", Quality.GOOD, Reason.NONE),
        ("b", Quality.GOOD, Reason.NONE),
        ("far", Quality.BAD, Reason.REFUSED),
    }
    assert status.refused >= 4 and status.unit("dev").state == "answering"


async def test_a_line_that_cannot_be_opened_is_told_tried_again_and_comes_back() -> None:
    async with TcpSlave() as slave:
        spare = slave.port
    line = LineSpec("plc", "modbus-tcp", "127.0.0.1", spare, silent_polls=1, devices=(PUMP,))
    async with running(line) as (notes, status):
        await notes.until(lambda: ("dev", False) in notes.order)
        assert status.state == "backing-off" and "cannot be reached" in status.last_error
        later = TcpSlave()
        later.port = spare
        async with later:
            await notes.until(lambda: ("dev", {Reason.NONE}) in notes.order, 60)
    assert notes.order[:2] == [("dev", {Reason.DEVICE_DEAD})] * 2
    assert notes.order[notes.order.index(("dev", {Reason.NONE})) - 1] == ("dev", True)
    assert status.reconnects >= 1


async def test_a_connection_that_breaks_during_a_request_is_told_and_opened_again() -> None:
    asked = 0

    async def breaks_once(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        if asked == 4:
            writer.close()
        else:
            writer.write(TcpSlave.frame(request))

    async with TcpSlave(breaks_once) as slave, running(tcp_line(slave, PUMP)) as (notes, status):
        await notes.until(lambda: Reason.LINE_DOWN in notes.reasons("dev"))
        seen = len(notes.taken)
        await notes.until(lambda: any(b.quality.all() for t in notes.taken[seen:] for b in t.blocks))
        assert slave.connections == 2 and status.reconnects == 1
        assert ("dev", False) not in notes.order


async def test_an_idle_connection_that_the_device_closes_costs_no_sample() -> None:
    slow = device(point("a"), period_s=0.1)
    async with TcpSlave() as slave:
        async with running(tcp_line(slave, slow, timeout_s=0.5)) as (notes, status):
            await notes.until(lambda: len(notes.taken) >= 2)
            slave.drop()
            await notes.until(lambda: len(notes.taken) >= 4)
            assert slave.connections == 2 and status.reconnects == 1
            assert set(notes.reasons("dev")) == {Reason.NONE}
        async with running(tcp_line(slave, slow, timeout_s=0.5)) as (notes, _):
            await notes.until(lambda: len(notes.taken) >= 2)
            slave.shut()
            await notes.until(lambda: Reason.LINE_DOWN in notes.reasons("dev"))


async def test_a_poll_that_is_overtaken_is_skipped_and_counted() -> None:
    async def slow(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.08)
        writer.write(TcpSlave.frame(request))

    spec = device(point("a"), period_s=0.02)
    async with TcpSlave(slow) as slave, running(tcp_line(slave, spec, timeout_s=1.0)) as (notes, status):
        await notes.until(lambda: len(notes.taken) >= 4)
    assert status.overruns >= 6


ROAD = device(
    point("occ", None, raw="float32", field="occ", device="road"),
    id="road",
    period_s=0.1,
    frame=FrameSpec(r"OCC=(?P<occ>\S+)$"),
)


def road_line(port: Port, **rest: Any) -> LineSpec:
    return LineSpec("road-serial", "serial-text", port=port.path, timeout_s=0.05, devices=(ROAD,), **rest)


async def test_a_streaming_device_talks_is_garbled_falls_silent_dies_and_returns() -> None:
    port = Port()
    async with running(road_line(port, silent_polls=2)) as (notes, status):
        await notes.until(lambda: notes.taken)  # the port is open, nothing came yet
        assert notes.reasons("road") == [Reason.TIMEOUT]
        port.say(b"rest\r\nOCC=1.5\r\nOCC=x\r\n")
        await notes.until(lambda: len(notes.samples("road")) >= 3)
        assert [s.value for s in notes.samples("road")[1:3]] == [1.5, None]
        port.say(b"#!\r\n#!\r\n#!\r\n")
        await notes.until(lambda: notes.reasons("road").count(Reason.UNPARSED) >= 2)
        await notes.until(lambda: ("road", False) in notes.order)
        assert notes.reasons("road")[-1] is Reason.DEVICE_DEAD
        assert notes.reasons("road").count(Reason.UNPARSED) == 2, "garbage is told once a period"
        assert status.unit("road").unparsed == 3
        port.say(b"#!\r\nOCC=2.5\r\n")
        await notes.until(lambda: notes.samples("road")[-1].value == 2.5)
        assert ("road", True) in notes.order
        port.unplug()
        await notes.until(lambda: Reason.LINE_DOWN in notes.reasons("road"))


async def test_two_devices_share_a_text_line_by_their_patterns() -> None:
    port = Port()
    both = tuple(
        device(point("v", None, field="v", device=d), id=d, period_s=5.0, frame=FrameSpec(rf"{d}=(?P<v>\d+)"))
        for d in ("left", "right")
    )
    line = LineSpec("text", "serial-text", port=port.path, devices=both)
    async with running(line) as (notes, status):
        await asyncio.sleep(0.05)
        port.say(b"\r\nright=2\r\nnobody=3\r\nleft=1\r\n")
        await notes.until(lambda: len(notes.taken) >= 2)
        assert [(d, notes.samples(d)[0].value) for d in ("left", "right")] == [("left", 1), ("right", 2)]
        assert status.unit("left").unparsed == 1
    port.unplug()


async def test_a_line_that_cannot_be_planned_says_everything_and_does_not_start() -> None:
    bad = device(point("a", None), id="dev")
    with pytest.raises(ConfigError, match="needs a table"):
        await run_line(
            LineSpec("plc", "modbus-tcp", devices=(bad,)), Notes(), now_ms, {}, Scorers([], []), LineStatus()
        )


async def test_reading_once_gives_so_many_blocks_of_every_device_and_ends(tmp_path: Path) -> None:
    async with TcpSlave() as slave:
        gone = LineSpec("bus", "modbus-rtu", port=str(tmp_path / "none"), devices=(PUMP,))
        found = [
            (line.name, block.tags.names, {s.reason for s in block.samples()})
            async for line, block in read_cycles([tcp_line(slave, PUMP), gone], 2, now_ms)
        ]
    good, bad = {Reason.NONE}, {Reason.LINE_DOWN}
    assert found == [
        *[("plc", ("a", "b"), good), ("plc", ("far",), good)] * 2,
        *[("bus", ("a", "b"), bad), ("bus", ("far",), bad)] * 2,
    ]


def test_back_off_grows_to_its_cap_and_is_spread_by_the_dice() -> None:
    assert [delay_s(n, 1.0) for n in (0, 1, 2, 50)] == [1.0, 2.0, 4.0, 30.0]
    assert delay_s(5, 0.0) == 0.0


class Notebook:
    """A memory that can be looked at."""

    def __init__(self, known: tuple[Illegal, ...] = ()) -> None:
        self.known: dict[str, Any] = {"dev": known}
        self.places: set[str] = set()

    def illegal(self, device: str, place: str) -> Any:
        self.places.add(place)
        return self.known.get(device, ())

    def learned(self, device: str, place: str, illegal: Any) -> None:
        self.known[device] = tuple(illegal)


HOLES = device(*(point(f"t{a}", "holding", a) for a in (0, 1, 5, 6)), point("gone", "holding", 8), period_s=0.02)


async def test_holes_of_a_device_are_found_in_the_first_poll_and_never_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Address 3 and 8 are refused; no tag but the one at 8 is ever BAD, and stamps go on rising."""
    monkeypatch.setattr("agent.learn.CONFIRM_S", 1.0)
    monkeypatch.setattr("agent.learn.PAUSE_S", 0.0)
    notebook = Notebook()
    async with RtuSlave(illegal=lambda table, a, n: a <= 3 < a + n or a <= 8 < a + n) as slave:
        line = LineSpec("bus", "modbus-rtu", port=slave.port, baud=115200, timeout_s=0.5, devices=(HOLES,))
        async with running(line, memory=notebook) as (notes, status):
            await notes.until(lambda: status.unit("dev").suspected == ["holding 2-4", "holding 8"])
            assert notebook.known["dev"] == ()
            await notes.until(lambda: len(status.unit("dev").illegal) == 2)
        requests = len(slave.requests)
        assert notebook.known["dev"] == (Illegal("holding", 2, 5), Illegal("holding", 8, 9))
        assert status.unit("dev").illegal == ["holding 2-4", "holding 8"] and status.unit("dev").suspected == []
        assert notebook.places == {f"{slave.port}/1"}
        for name in ("t0", "t1", "t5", "t6"):
            samples = [s for s in notes.samples("dev") if s.name == name]
            assert {(s.quality, s.value) for s in samples} == {(Quality.GOOD, register("holding", int(name[1:])))}
            assert [s.ts_ms for s in samples] == sorted({s.ts_ms for s in samples})
        assert set(notes.reasons("dev")) == {Reason.NONE, Reason.REFUSED}
        async with running(line, memory=notebook) as (notes, status):
            await notes.until(lambda: len(notes.taken) >= 3)
    asked = {(int.from_bytes(r[2:4], "big"), int.from_bytes(r[4:6], "big")) for r in slave.requests[requests:]}
    assert asked == {(0, 2), (5, 2), (8, 1)}, "the next start knows"
    assert status.unit("dev").illegal == ["holding 2-4", "holding 8"]


async def test_a_stray_refusal_costs_one_request_more_and_is_gone_a_minute_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agent.learn.CONFIRM_S", 0.15)
    notebook, strays = Notebook(), [True]
    spec = device(*(point(f"t{a}", "holding", a) for a in range(4)), period_s=0.02)
    async with RtuSlave(illegal=lambda *_: bool(strays and strays.pop())) as slave:
        line = LineSpec("bus", "modbus-rtu", port=slave.port, baud=115200, timeout_s=0.5, devices=(spec,))
        async with running(line, memory=notebook) as (notes, status):
            await notes.until(lambda: len(notes.taken) >= 1)
            assert status.unit("dev").suspected == ["holding not across 2"]
            await notes.until(lambda: status.unit("dev").suspected == [])
            await notes.until(lambda: slave.requests[-1][4:6] == b"\0\x04")
    assert set(notes.reasons("dev")) == {Reason.NONE} and notebook.known["dev"] == () and status.refused == 1
    assert "illegal addresses" not in caplog.text


async def test_a_new_firmware_is_found_without_deleting_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.learn.START_S", 0.1)
    notebook = Notebook((Illegal("holding", 2, 2),))
    spec = device(*(point(f"t{a}", "holding", a) for a in range(4)), period_s=0.02)
    async with TcpSlave() as slave, running(tcp_line(slave, spec), memory=notebook) as (notes, status):
        await notes.until(lambda: len(notes.taken) >= 1)
        assert status.unit("dev").illegal == ["holding not across 2"]
        await notes.until(lambda: notebook.known["dev"] == ())
        assert status.unit("dev").illegal == [] and status.unit("dev").healed == 1


async def test_tags_of_several_periods_are_asked_at_their_own() -> None:
    tags = point("fast", address=0), point("slow", address=1, period_s=0.2), point("table", "input", 0)
    async with TcpSlave() as slave, running(tcp_line(slave, device(*tags, period_s=0.02))) as (notes, status):
        await notes.until(lambda: len([s for s in notes.samples("dev") if s.name == "slow"]) >= 3)
    count = {name: len([s for s in notes.samples("dev") if s.name == name]) for name in ("fast", "slow", "table")}
    assert count["slow"] == 3 and 15 <= count["fast"] <= 30 and abs(count["fast"] - count["table"]) <= 1
    async with TcpSlave() as slave:
        blocks = [b async for _, b in read_cycles([tcp_line(slave, device(*tags, period_s=0.02))], 2, now_ms)]
    assert sorted(n for b in blocks for n in b.tags.names) == ["fast", "fast", "slow", "table", "table"]
    assert status.unit("dev").state == "answering"


async def test_a_device_that_refuses_everything_for_a_while_costs_one_request_a_poll_and_comes_back_whole() -> None:
    refusing = [True]
    spec = device(*(point(f"t{a}", "holding", a) for a in range(8)), period_s=0.02)
    async with RtuSlave(illegal=lambda *_: refusing[0]) as slave:
        line = LineSpec("bus", "modbus-rtu", port=slave.port, baud=115200, timeout_s=0.3, devices=(spec,))
        async with running(line, memory=Notebook()) as (notes, status):
            await notes.until(lambda: len(notes.taken) >= 3)
            polls, requests = len(notes.taken), len(slave.requests)
            await notes.until(lambda: len(notes.taken) >= polls + 5)
            assert 4 <= len(slave.requests) - requests <= 7
            assert set(notes.reasons("dev")) == {Reason.REFUSED}
            asked = {r[2:4] for r in slave.requests[requests:]}
            assert len(asked) >= 4, "each in its turn"
            refusing[0] = False
            await notes.until(lambda: status.unit("dev").suspected == [])
            polls = len(notes.taken)
            await notes.until(lambda: len(notes.taken) >= polls + 3)
    last = notes.taken[-1].blocks
    assert [s.value for b in last for s in b.samples()] == [register("holding", a) for a in range(8)]
    assert slave.requests[-1][4:6] == b"\0\x08", "and is asked for everything at once again"
