"""Samples without a time: durable, in order, stamped as soon as that can be done; boots, kills and steps at random."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from agent.pipeline import Taken
from gateway.births import Latest
from gateway.clock_text import clock_lines
from gateway.commands import Commands
from gateway.config.convert import OutboxSettings
from gateway.lanes import Lanes
from gateway.outbox.file import OutboxFile
from gateway.outbox.pending import Pending
from gateway.outbox.store import Outbox
from gateway.resend import ResendWindow
from gateway.sink import OutboxSink
from gateway.stamping import StampingSink
from gateway.time_news import Known
from gateway.time_watch import TimeWatch
from gateway.timekeeper import Timekeeper, Trust
from tests.gateway.clocks import NOON_MS, Found, World, committed
from tests.gateway.field import LINES
from wire.block import Block, Quality, Reason
from wire.delivery import CONFIRMED, RECORD, Confirmation, confirmation_json, confirmed_ranges
from wire.ids import NodeId
from wire.payload import Metric, Payload, decode, encode
from wire.tag import Datatype, Tag, TagTable

HOUR_MS = 3_600_000
NODE = NodeId("plant", "gw")
TABLES = (
    TagTable([Tag("count", "pump", Datatype.INT32), Tag("flow", "pump", Datatype.FLOAT)]),
    TagTable([Tag("count", "pump", Datatype.INT32)]),
    TagTable([Tag("count", "fan", Datatype.INT32)]),
)
TAGS: Mapping[str, list[Tag]] = {"pump": list(TABLES[0]), "fan": list(TABLES[2])}


class Box:
    """A gateway without lines and uplink, on a machine of the test's; it may be killed, and the machine booted."""

    def __init__(self, path: Path, world: World, trust: Trust = "auto", max_bytes: int = 50_000_000) -> None:
        self.world, self._path, self._trust, self._max_bytes = world, path, trust, max_bytes
        self.counts: dict[str, int] = {"pump": 0, "fan": 0}
        self.true_ms: dict[tuple[str, int], int] = {}  # (device, count) -> when it was taken

    async def start(self) -> None:
        self.keeper = Timekeeper(self.world, self._trust)
        settings_ = OutboxSettings(self._path, 50, self._max_bytes)
        self.outbox = Outbox(settings_, NODE, ("gaugeline",), self.keeper.now_ms)
        await self.outbox.open(TAGS, LINES)
        self.latest = Latest()
        self.keeper.begin(*await self.outbox.anchor(self.keeper.boot_id))
        self.sink = StampingSink(OutboxSink(self.outbox, self.latest), self.outbox, self.latest, self.keeper)
        await self.sink.begin()

    async def take(self, tables: int = 0, after_ms: int = 100) -> None:
        self.world.true_ms += after_ms
        tags = TABLES[tables]
        self.counts[tags.device] += 1
        count = self.counts[tags.device]
        self.true_ms[tags.device, count] = self.world.true_ms
        values = np.array([float(count)] * len(tags))
        good = np.full(len(tags), Quality.GOOD, np.uint8)
        made = Block(self.keeper.agent_ms(), tags, values, good, np.zeros(len(tags), np.uint8))
        await self.sink.append(Taken("plc", made.ts_ms, (made,), {"fan": 1}))

    async def look(self) -> None:
        """What the clock's task does every second."""
        self.keeper.look()
        self.sink.tell()

    async def flush(self) -> None:
        await self.look()
        await self.outbox.flush()

    async def stop(self, clean: bool = True) -> None:
        """Not clean: as kill -9 would, what is not committed is lost."""
        if not clean:
            self.outbox._pending.take()
        await self.outbox.close(clean)

    async def restart(self, clean: bool = True) -> None:
        await self.stop(clean)
        await self.start()

    async def found(self) -> list[Found]:
        return await self.outbox._run(lambda: committed(self.outbox._file))

    async def records(self) -> list[dict[str, object]]:
        def read(file: OutboxFile) -> list[dict[str, object]]:
            alias = file.aliases[""][RECORD]
            bodies = [b.body for b in file.unconfirmed(0, 2**62, 10**6, 10**12) if not b.device]
            metrics = [m for body in bodies for m in decode(body, {alias: Datatype.STRING}).metrics if m.alias == alias]
            return [json.loads(str(m.value)) for m in metrics]

        return await self.outbox._run(lambda: read(self.outbox._file))


def stamps(found: list[Found], device: str = "pump", name: str = "count") -> list[int]:
    return [f.ts_ms for f in found if (f.device, f.name) == (device, name)]


async def test_what_was_taken_before_the_time_was_known_is_stamped_right_and_only_then_produced(tmp_path: Path) -> None:
    world = World(chip=False, error_ms=-NOON_MS)
    box = Box(tmp_path / "o.db", world)
    await box.start()
    for _ in range(5):
        await box.take()
        await box.outbox.flush()
    status = await box.outbox.status()
    assert (status["clock"]["waiting_samples"], status["devices"]["fan"]["suppressed"]) == (10, 5)
    assert "pump" not in status["devices"]
    assert await box.found() == []
    shown = box.latest.samples()[0][1]
    assert (shown.value, shown.quality, shown.reason) == (5, Quality.UNCERTAIN, Reason.CLOCK_UNKNOWN)
    await box.take()  # in the window in which the time comes
    world.error_ms, world.ntp = 0, True
    await box.look()
    await box.take()
    await box.outbox.flush()
    await box.take()
    await box.outbox.flush()
    found = await box.found()
    assert stamps(found) == [box.true_ms["pump", i] for i in range(1, 9)]
    assert [f.value for f in found if f.name == "count"] == list(range(1, 9))
    assert {f.quality for f in found} == {Quality.GOOD}
    status = await box.outbox.status()
    assert status["devices"]["pump"]["produced"] == status["devices"]["pump"]["in_flight"] == 16
    assert (status["clock"]["waiting_samples"], status["devices"]["fan"]["suppressed"]) == (0, 8)
    (record,) = [r for r in await box.records() if r["kind"] == "clock"]
    assert record == {
        "kind": "clock", "boot": "boot-1", "from_ms": box.true_ms["pump", 1], "to_ms": box.true_ms["pump", 5],
        "samples": 10, "placed": "ntp", "off_by_ms": None,
    }  # fmt: skip
    assert list(clock_lines(status["clock"])) == []
    await box.stop()


@pytest.mark.parametrize("clean", [True, False])
async def test_a_kill_and_a_restart_in_the_same_boot_keep_what_waits(tmp_path: Path, clean: bool) -> None:
    world = World(chip=False)
    box = Box(tmp_path / "o.db", world)
    await box.start()
    await box.take()
    await box.outbox.flush()
    await box.restart(clean)
    await box.take()
    await box.outbox.flush()
    await box.restart(clean)
    box.keeper.host_said(world.true_ms, 0.0)
    await box.flush()
    found = await box.found()
    assert [f.value for f in found if f.name == "count"] == [1, 2]
    assert all(abs(t - box.true_ms["pump", i]) <= 1 for i, t in enumerate(stamps(found), 1))
    assert {f.quality for f in found} == {Quality.GOOD}
    await box.stop()


async def test_two_boots_that_never_knew_the_time_are_placed_uncertain_between_the_known_times(tmp_path: Path) -> None:
    world = World(chip=False, ntp=True)
    box = Box(tmp_path / "o.db", world)
    await box.start()
    await box.take()
    await box.flush()
    last_known = world.true_ms
    for _ in range(2):
        await box.stop(clean=False)
        world.reboot(HOUR_MS, wall_ms=0)
        await box.start()
        for _ in range(3):
            await box.take(after_ms=2000)
            await box.flush()
    await box.stop(clean=False)
    world.reboot(HOUR_MS)
    world.ntp = True
    await box.start()
    await box.take()
    await box.flush()
    await box.take()
    await box.flush()
    found = [f for f in await box.found() if f.name == "count"]
    assert [f.value for f in found] == list(range(1, 10))
    stamped = [f.ts_ms for f in found]
    assert all(a < b for a, b in pairwise(stamped))
    assert stamped[0] == last_known
    assert stamped[-2:] == [box.true_ms["pump", 8], box.true_ms["pump", 9]]
    assert stamped[6] < world.booted_ms
    assert [f.quality for f in found] == [Quality.GOOD] + [Quality.UNCERTAIN] * 6 + [Quality.GOOD] * 2
    assert {f.reason for f in found[1:7]} == {Reason.CLOCK_UNKNOWN}
    assert [b - a for a, b in pairwise(stamped[1:4])] == [2000, 2000]  # their own spacing
    records = [r for r in await box.records() if r["kind"] == "clock"]
    assert [(r["boot"], r["samples"], r["placed"]) for r in records] == [
        ("boot-2", 6, "between"),
        ("boot-3", 6, "between"),
    ]
    for record, first, last in zip(records, (1, 4), (3, 6), strict=True):
        assert (record["from_ms"], record["to_ms"]) == (stamped[first], stamped[last])
        error = abs(box.true_ms["pump", first + 1] - stamped[first])
        assert isinstance(record["off_by_ms"], int)
        assert error <= record["off_by_ms"]
    status = await box.outbox.status()
    told = list(clock_lines({**box.keeper.status(), **status["clock"]}))
    assert [line[:12] for line in told] == ["boot boot-2 ", "boot boot-3 "]
    assert "6 samples placed from" in told[0]
    assert status["devices"]["pump"]["produced"] == 18
    gap = [r for r in await box.records() if r["kind"] == "gap"][-1]
    between = [{key: r[key] for key in ("boot", "from_ms", "to_ms", "samples")} for r in records]
    assert gap["boots"] == between, "the gap of the last start was none while these boots sampled"
    await box.stop()


async def test_a_step_is_delivered_as_a_record_and_samples_never_trade_places(tmp_path: Path) -> None:
    world = World()
    box = Box(tmp_path / "o.db", world)
    await box.start()
    for by_ms in (0, -HOUR_MS, 2 * HOUR_MS):
        world.error_ms += by_ms
        for _ in range(3):
            await box.take()
            await box.flush()
    found = [f for f in await box.found() if f.name == "count"]
    assert [f.value for f in found] == list(range(1, 10))
    assert all(a.ts_ms < b.ts_ms for a, b in pairwise(found))
    doubtful = [f.quality is Quality.UNCERTAIN for f in found]
    assert doubtful == [False] * 3 + [True] * 3 + [False] * 3
    steps = [r for r in await box.records() if r["kind"] == "clock_step"]
    assert [r["by_ms"] for r in steps] == [-HOUR_MS, 2 * HOUR_MS]
    status = await box.outbox.status()
    assert status["clock"]["steps_on_record"] == steps
    assert "2 steps on record, the last by +7200.0 s" in next(iter(clock_lines(status["clock"])))
    await box.stop()


YEAR_MS = 365 * 24 * HOUR_MS


async def taken_in_the_far_future(box: Box) -> None:
    """The clock was a year ahead for three samples, and was set right again."""
    await box.take()
    await box.flush()
    box.world.error_ms = YEAR_MS
    for _ in range(3):
        await box.take()
        await box.flush()
    box.world.error_ms = 0
    await box.take()
    await box.flush()


def doubts(found: list[Found]) -> list[bool]:
    return [f.quality is Quality.UNCERTAIN for f in found if (f.device, f.name) == ("pump", "count")]


@pytest.mark.parametrize("by", ["ntp", "host"])
async def test_a_newest_stamp_that_was_never_right_is_left_behind_once_two_agree_on_the_time(
    tmp_path: Path, by: str
) -> None:
    world = World(ntp=by == "ntp")
    box = Box(tmp_path / "o.db", world)
    await box.start()
    await taken_in_the_far_future(box)
    if by == "host":
        box.sink.look_ahead()
        assert box.sink.ahead_ms() > YEAR_MS // 2, "this machine's clock alone is not believed so much"
        box.keeper.host_said(world.true_ms, 0.01)
    await box.take()  # not committed yet when stamps begin anew
    box.sink.look_ahead()
    assert box.sink.ahead_ms() == 0
    for _ in range(3):
        await box.take()
        await box.flush()
        box.sink.look_ahead()
    found = sorted(await box.found(), key=lambda f: float(str(f.value)))  # a batch is in the order of its stamps
    assert doubts(found) == [False] * 4 + [True] * 2 + [False] * 3
    assert [ms - box.true_ms["pump", i + 7] for i, ms in enumerate(stamps(found)[-3:])] == [0, 0, 0]
    anew = [r for r in await box.records() if "stamps" in r]
    assert [(r["kind"], r["stamps"], r["how"] == "ntp") for r in anew] == [("clock_step", "begin anew", by == "ntp")]
    assert int(str(anew[0]["by_ms"])) < -YEAR_MS + HOUR_MS
    await box.restart(clean=False)
    assert box.keeper.known
    await box.take()
    await box.flush()
    assert doubts(await box.found())[-1] is False, "the restart knows nothing of the far future"
    assert (await box.outbox.anchor("boot-1"))[0] < world.true_ms + HOUR_MS
    await box.stop()


async def test_after_a_boot_the_host_and_the_wall_clock_together_are_believed_against_a_stamp_of_the_far_future(
    tmp_path: Path,
) -> None:
    world = World()
    box = Box(tmp_path / "o.db", world)
    await box.start()
    await taken_in_the_far_future(box)
    await box.stop()
    world.reboot(60_000)
    await box.start()
    for _ in range(3):
        await box.take()
        await box.flush()
    assert not box.keeper.known, "behind the newest stamp"
    world.error_ms = -HOUR_MS
    box.keeper.host_said(world.true_ms, 0.01)
    assert not box.keeper.known, "the host alone"
    world.error_ms = 0
    box.keeper.host_said(world.true_ms, 0.01)
    assert box.keeper.known
    for _ in range(3):
        await box.take()
        await box.flush()
        box.sink.look_ahead()
    found = await box.found()
    assert doubts(found)[-6:] == [False] * 6, "those that waited are stamped right, too"
    assert all(abs(ms - box.true_ms["pump", i + 6]) < 10_000 for i, ms in enumerate(stamps(found)[-6:]))
    assert len([r for r in await box.records() if "stamps" in r]) == 1
    await box.stop()


async def test_the_gap_record_bears_the_time_of_the_first_poll_although_it_was_known_later(tmp_path: Path) -> None:
    world = World(chip=False, ntp=True)
    box = Box(tmp_path / "o.db", world)
    await box.start()
    await box.take()
    await box.flush()
    last_ms = world.true_ms
    await box.stop(clean=False)
    world.reboot(HOUR_MS, wall_ms=last_ms)
    await box.start()
    await box.take()
    first_ms = world.true_ms
    await box.take(after_ms=60_000)
    await box.flush()
    assert [r for r in await box.records() if r["kind"] == "gap"] == []
    world.ntp, world.error_ms = True, 0
    await box.look()
    await box.take()
    await box.flush()
    (gap,) = [r for r in await box.records() if r["kind"] == "gap"]
    assert gap["lines"] == [{"line": "plc", "last_poll_ms": last_ms, "first_new_ms": first_ms}]
    await box.stop()


async def test_what_finds_no_room_without_a_time_is_refused_counted_and_told_with_its_time(tmp_path: Path) -> None:
    world = World(chip=False)
    box = Box(tmp_path / "o.db", world, max_bytes=300_000)
    await box.start()
    for _ in range(900):
        await box.take()
        await box.outbox.flush()
    waiting = (await box.outbox.status())["clock"]["waiting_samples"]
    assert 0 < waiting * 105 <= 150_000, "half of the space: some 105 bytes a sample, bodies and rows"
    box.keeper.host_said(world.true_ms, 0.0)
    await box.flush()
    found = [f for f in await box.found() if f.name == "count"]
    status = await box.outbox.status()
    refused = status["devices"]["pump"]["refused"]
    assert refused > 0
    assert status["devices"]["pump"]["produced"] + refused == 1800
    assert [f.value for f in found][-1] == 900
    (record,) = [r for r in await box.records() if r["kind"] == "refused"]
    assert (record["device"], record["samples"]) == ("pump", refused)
    assert isinstance(record["from_ms"], int)
    assert isinstance(record["to_ms"], int)
    assert abs(record["from_ms"] - box.true_ms["pump", 1]) <= 1
    assert abs(record["to_ms"] - box.true_ms["pump", refused // 2]) <= 1
    await box.stop()


async def test_samples_of_a_tag_that_was_retyped_meanwhile_keep_their_type(tmp_path: Path) -> None:
    world = World(chip=False)
    box = Box(tmp_path / "o.db", world)
    await box.start()
    await box.take(2)
    await box.outbox.flush()
    await box.outbox.register({"pump": list(TABLES[0]), "fan": [Tag("count", "fan", Datatype.DOUBLE)]})
    box.keeper.host_said(world.true_ms, 0.0)
    await box.flush()
    (fan,) = await box.found()
    assert (fan.device, fan.value) == ("fan", 1)
    assert [row.datatype for row in await box.outbox.retired() if row.tag == "count"] == [Datatype.INT32]
    await box.stop()


async def test_while_the_time_is_unknown_the_host_is_asked_and_its_confirmation_tells_it(tmp_path: Path) -> None:
    world = World(chip=False, error_ms=-HOUR_MS)
    box = Box(tmp_path / "o.db", world)
    await box.start()
    await box.take()
    online = False
    watch = asyncio.create_task(TimeWatch(box.keeper, box.sink, box.outbox, lambda: online).run())
    await asyncio.sleep(0.05)
    assert await box.records() == []
    online = True
    async with asyncio.timeout(60):
        while not (said := await box.outbox.unconfirmed(0, 2**62, 10, 10**6)):
            await asyncio.sleep(0.05)
    watch.cancel()
    assert await box.records() == [{"kind": "clock_unknown", "boot": "boot-1"}]
    lanes = Lanes(ResendWindow())
    lanes.backlog_sent(said[0], time.monotonic())
    counters: Counter[str] = Counter()
    commands = Commands(box.outbox, lanes, ("gaugeline",), counters, lambda: None, box.keeper.host_said)

    async def confirm(host: str, ts_ms: int) -> None:
        ranges = confirmed_ranges({said[0].number: said[0].digest})
        text = confirmation_json(Confirmation(host, said[0].epoch, ranges))
        metric = Metric(name=CONFIRMED, datatype=Datatype.STRING, value=text)
        await commands.handle(encode(Payload(ts_ms=ts_ms, metrics=(metric,))))

    await confirm("stranger", world.true_ms + HOUR_MS)
    assert not box.keeper.known
    await confirm("gaugeline", world.true_ms)
    assert box.keeper.how == "host"
    await confirm("gaugeline", world.true_ms + HOUR_MS)  # confirmed before: it answers nothing of ours
    await box.flush()
    (found,) = [f for f in await box.found() if f.name == "count"]
    assert abs(found.ts_ms - box.true_ms["pump", 1]) < 1000
    await box.stop()


async def test_a_window_without_a_time_that_the_disk_refuses_is_kept_in_memory_and_bounded(tmp_path: Path) -> None:
    pending = Pending(max_samples=4)
    blocks = [Block.bad(i, TABLES[0], Reason.TIMEOUT) for i in range(4)]
    pending.add_unstamped(Taken("plc", 0, tuple(blocks[:3]), {"pump": 2}), "boot-1")
    pending.clock([Known("boot-1", NOON_MS, "ntp", True)])
    assert pending.unstamped
    window = pending.take()
    assert window.timeless
    pending.add_unstamped(Taken("plc", 0, (blocks[3], *blocks), {}), "boot-1")
    pending.restore(window)
    again = pending.take()
    assert [b.ts_ms for b in again.unstamped] == [0, 1, 3, 0]
    assert again.unstamped_refused == {"pump": (8, 2, 3)}
    assert (again.suppressed, len(again.clock), again.samples) == ({"pump": 2}, 1, 8)
    path = tmp_path / "o.db"
    file = OutboxFile(path, NODE, 50_000_000, frozenset({"gaugeline"}), lambda: NOON_MS)
    file.open(TAGS, LINES)
    file.commit(again)
    assert (file.totals()["pump"]["refused"], file.totals()["pump"]["produced"]) == (8, 8)
    assert sorted(set(stamps(committed(file)))) == [NOON_MS, NOON_MS + 1, NOON_MS + 3]
    file.close(clean=True)


def test_a_person_is_told_how_a_newest_stamp_of_the_far_future_is_left_behind() -> None:
    (told,) = clock_lines({"ahead_ms": 400 * 24 * HOUR_MS})
    assert told.endswith("s ahead of the clock, which makes others UNCERTAIN; start NTP, or connect to a host that"
                         " agrees with this clock")  # fmt: skip


def test_what_a_person_reads_of_the_clock() -> None:
    known = {"problem": "", "waiting_samples": 0, "ahead_ms": 0, "boots": [], "steps_on_record": []}
    assert list(clock_lines(known)) == []
    boot = {"boot": "0123456789", "from_ms": 0, "to_ms": 1000, "samples": 3, "placed": "squeezed", "off_by_ms": None}
    told = list(clock_lines({"problem": "no time", "waiting_samples": 7, "ahead_ms": 5000, "boots": [boot]}))
    assert told == [
        "clock: no time",
        "clock: 7 samples wait for their time; nothing is lost",
        "clock: the newest sample is 5 s ahead of the clock, which makes others UNCERTAIN",
        "boot 01234567 never knew the time: 3 samples placed from 1970-01-01 00:00:00 UTC to 1970-01-01 00:00:01 UTC "
        "(squeezed)",
    ]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, 2), st.sampled_from([0, 1, 100, 5000])),
        st.tuples(st.just("flush"), st.just(0), st.just(0)),
        st.tuples(st.just("step"), st.sampled_from([-HOUR_MS, -500, -3, 3, 500, HOUR_MS]), st.just(0)),
        st.tuples(st.just("ntp"), st.just(0), st.just(0)),
        st.tuples(st.just("host"), st.sampled_from([0, 50, 3000]), st.just(0)),
        st.tuples(st.just("restart"), st.booleans(), st.just(0)),
        st.tuples(st.just("boot"), st.booleans(), st.sampled_from([0, NOON_MS, None])),
    ),
    max_size=40,
)


async def played(
    folder: Path, trust: Trust, chip: bool, steps: bool, operations: list[tuple[str, int, int | None]]
) -> Box:
    """Runs the operations and makes the time known in the end; everything committed is judged as it comes."""
    world = World(chip=chip)
    box = Box(folder / "o.db", world, trust)
    await box.start()
    kept: dict[str, list[int]] = {"pump": [], "fan": []}
    window: dict[str, list[int]] = {"pump": [], "fan": []}

    async def flush() -> None:
        await box.flush()
        for device, counts in window.items():
            kept[device] += counts
            counts.clear()

    for name, a, b in operations:
        if name == "take":
            await box.take(a, b or 0)
            device = TABLES[a].device
            window[device].append(box.counts[device])
        elif name == "flush":
            await flush()
        elif name == "step" and steps:
            world.error_ms += a
        elif name == "ntp":
            world.error_ms, world.ntp = 0, True
        elif name == "host":
            world.true_ms += a
            box.keeper.host_said(world.true_ms - a // 3, a / 1000)
        elif name in ("restart", "boot"):
            if a:
                await flush()
            for counts in window.values():
                counts.clear()
            await box.stop(clean=bool(a))
            if name == "boot":
                world.reboot(60_000, b)
            await box.start()
    world.error_ms, world.ntp = 0, True
    await flush()
    while box.outbox.behind:
        await flush()
    await judge(box, kept)
    return box


async def judge(box: Box, kept: dict[str, list[int]]) -> None:
    found = await box.found()
    totals = (await box.outbox.status())["devices"]
    for device, counts in kept.items():
        of_device = [f for f in found if f.device == device]
        assert [f.value for f in of_device if f.name == "count"] == counts
        for name in {f.name for f in of_device}:
            rising = stamps(of_device, device, name)
            assert all(a < b for a, b in pairwise(rising))
        assert totals.get(device, {}).get("produced", 0) == len(of_device)
    waiting = (await box.outbox.status())["clock"]
    assert (waiting["waiting_rows"], waiting["waiting_samples"]) == (0, 0)


def in_a_folder(work: Callable[[Path], object]) -> None:
    memory = Path("/dev/shm")  # hundreds of synced commits, and no power is cut here
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        work(Path(folder))


@settings(max_examples=100)
@given(operations=OPERATIONS, trust=st.sampled_from(["auto", "plausible", "host", "ntp"]), chip=st.booleans())
def test_nothing_is_lost_and_no_two_samples_trade_places_whatever_clocks_boots_and_kills_do(
    operations: list[tuple[str, int, int | None]], trust: Trust, chip: bool
) -> None:
    async def play(folder: Path) -> None:
        box = await played(folder, trust, chip, True, operations)
        await box.stop()

    in_a_folder(lambda folder: asyncio.run(play(folder)))


@settings(max_examples=60)
@given(operations=OPERATIONS)
def test_what_is_good_is_stamped_when_it_was_taken_where_only_ntp_and_the_host_are_trusted(
    operations: list[tuple[str, int, int | None]],
) -> None:
    async def play(folder: Path) -> None:
        box = await played(folder, "host", False, False, operations)
        for f in await box.found():
            if f.quality is Quality.GOOD and f.name == "count":
                assert isinstance(f.value, int)
                assert abs(f.ts_ms - box.true_ms[f.device, f.value]) <= 1100
        await box.stop()

    in_a_folder(lambda folder: asyncio.run(play(folder)))
