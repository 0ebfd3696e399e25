"""Which time it is: trust, NTP, the host's word, steps of the wall clock; and stamps that rise through all of it."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from gateway.clock import MachineClocks, now_ms
from gateway.host_time import HostTime
from gateway.outbox.boots import Extent, places
from gateway.stamping import Stamper
from gateway.time_news import Known, Step
from gateway.timekeeper import EARLIEST_MS, SLACK_MS, Timekeeper, Trust
from tests.gateway.clocks import NOON_MS, World
from tests.gateway.field import FAN, block
from wire.block import Block, Quality, Reason

HOUR_MS = 3_600_000


def keeper(world: World, trust: Trust = "auto", newest_ms: int = 0, anchor: Known | None = None) -> Timekeeper:
    made = Timekeeper(world, trust)
    made.begin(newest_ms, anchor)
    return made


def test_this_machine_has_clocks_that_the_gateway_trusts_at_once() -> None:
    clocks = MachineClocks()
    assert len(clocks.boot_id()) == 36
    assert clocks.synchronised() in (True, False)
    before = clocks.boot_ms()
    assert before > 0
    assert clocks.boot_ms() >= before
    assert abs(clocks.wall_ms() - now_ms()) < 1000
    made = keeper(World(true_ms=now_ms()))
    assert made.known
    assert abs(made.agent_ms() - now_ms()) < 1000


@pytest.mark.parametrize(
    ("files", "keeps"),
    [((), True), (("proc/device-tree/model",), False), (("proc/device-tree/model", "sys/class/rtc/rtc0"), True)],
)
def test_a_board_without_a_clock_chip_keeps_no_time(tmp_path: Path, files: tuple[str, ...], keeps: bool) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert MachineClocks(tmp_path).keeps_time() is keeps


@pytest.mark.parametrize(
    ("trust", "chip", "ntp", "wall_ms", "newest_ms", "how"),
    [
        ("auto", True, False, NOON_MS, 0, "plausible"),
        ("auto", True, True, NOON_MS, 0, "ntp"),
        ("auto", True, False, NOON_MS, NOON_MS + SLACK_MS, "plausible"),
        ("auto", True, False, NOON_MS, NOON_MS + SLACK_MS + 1, None),
        ("auto", True, True, NOON_MS, NOON_MS + HOUR_MS, "ntp"),
        ("auto", True, False, EARLIEST_MS - 1, 0, None),
        ("auto", True, True, 0, 0, None),
        ("auto", False, False, NOON_MS, 0, None),
        ("auto", False, True, NOON_MS, 0, "ntp"),
        ("plausible", False, False, NOON_MS, 0, "plausible"),
        ("host", True, False, NOON_MS, 0, None),
        ("ntp", True, False, NOON_MS, 0, None),
        ("ntp", True, True, NOON_MS, 0, "ntp"),
    ],
)
def test_the_time_is_known_when_what_is_trusted_knows_it(
    trust: Trust, chip: bool, ntp: bool, wall_ms: int, newest_ms: int, how: str | None
) -> None:
    world = World(ntp=ntp, chip=chip)
    world.set_wall(wall_ms)
    made = keeper(world, trust, newest_ms)
    assert (made.how, made.known, made.status()["state"]) == (how, how is not None, "known" if how else "unknown")
    assert (made.status()["problem"] == "") is (how is not None)
    assert made.known or made.now_ms() > newest_ms  # a provisional time is above all that was
    assert made.wants_host is (how is None)


def test_ntp_that_comes_later_gives_right_stamps_to_what_was_taken_before() -> None:
    world = World(chip=False, error_ms=-400 * 24 * HOUR_MS)
    made = keeper(world, newest_ms=NOON_MS - HOUR_MS)
    taken = [(made.agent_ms(), world.true_ms)]
    world.true_ms += 30_000
    taken.append((made.agent_ms(), world.true_ms))
    made.look()
    assert not made.known
    world.error_ms, world.ntp = 0, True
    made.look()
    assert [made.stamp(agent_ms) for agent_ms, _ in taken] == [(true_ms, True) for _, true_ms in taken]
    assert made.news() == [Known("boot-1", world.booted_ms, "ntp", True)]
    assert made.news() == []


@pytest.mark.parametrize("by_ms", [-HOUR_MS, HOUR_MS, -100, 100])
def test_a_step_of_the_wall_clock_is_followed_and_told_and_the_agent_does_not_feel_it(by_ms: int) -> None:
    world = World()
    made = keeper(world)
    before = made.agent_ms()
    world.error_ms += by_ms
    world.true_ms += 50
    assert made.agent_ms() == before + 50
    assert made.stamp(before) == (NOON_MS, True)  # taken before the step: by the clock of then
    assert made.stamp(before + 50) == (NOON_MS + 50 + by_ms, True)
    step = made.news()[-1]
    assert isinstance(step, Step)
    assert step.record() == {
        "kind": "clock_step", "boot": "boot-1", "from_ms": NOON_MS + 50, "to_ms": NOON_MS + 50 + by_ms, "by_ms": by_ms,
        "how": "plausible",
    }  # fmt: skip
    assert made.status()["steps"] == 1


def test_a_small_correction_is_followed_without_a_word() -> None:
    world = World()
    made = keeper(world)
    made.news()
    world.error_ms += 40
    made.look()
    assert made.now_ms() == NOON_MS + 40
    assert [type(word) for word in made.news()] == [Known]
    assert made.steps == 0


def test_a_wall_clock_that_is_lost_is_not_followed_until_it_is_sane_again() -> None:
    world = World()
    made = keeper(world)
    world.set_wall(1000)
    world.true_ms += 7
    assert (made.agent_ms(), made.how) == (NOON_MS + 7, "boot")
    made.look()
    assert made.now_ms() == NOON_MS + 7
    assert "not believed" in made.status()["problem"]
    world.set_wall(NOON_MS + HOUR_MS)
    made.look()
    assert made.how == "boot"
    made.look()
    assert (made.now_ms(), made.how, made.steps, made.status()["problem"]) == (NOON_MS + HOUR_MS, "plausible", 1, "")


def test_a_restart_in_the_same_boot_knows_what_was_known() -> None:
    anchor = Known("boot-1", World().booted_ms, "ntp", True)
    lost = keeper(World(error_ms=-NOON_MS), newest_ms=NOON_MS - 5, anchor=anchor)
    assert (lost.how, lost.now_ms()) == ("boot", NOON_MS)
    set_back = keeper(World(error_ms=-HOUR_MS), newest_ms=NOON_MS - 5, anchor=anchor)
    assert (set_back.how, set_back.now_ms(), set_back.steps) == ("plausible", NOON_MS - HOUR_MS, 1)
    held = keeper(World(error_ms=-HOUR_MS), "ntp", NOON_MS - 5, anchor)
    assert (held.how, held.now_ms()) == ("boot", NOON_MS)


def test_a_wall_clock_that_is_set_later_is_believed_when_it_stays_so() -> None:
    world = World(error_ms=-NOON_MS)
    made = keeper(world)
    for wall_ms, known in ((NOON_MS, False), (0, False), (NOON_MS + HOUR_MS, False), (NOON_MS, False), (NOON_MS, True)):
        world.set_wall(wall_ms)
        made.look()
        assert made.known is known
    assert made.news() == [Known("boot-1", world.booted_ms, "plausible", True)]


@given(
    drift_ppm=st.integers(-100, 100),
    answers=st.lists(st.tuples(st.integers(0, 600_000), st.integers(0, 5_000), st.floats(0, 1)), min_size=1),
)
def test_the_hosts_time_lies_in_the_interval_that_its_answers_leave(
    drift_ppm: int, answers: list[tuple[int, int, float]]
) -> None:
    host, boot_ms = HostTime(), 1000.0

    def true(at_ms: float) -> float:
        return NOON_MS + at_ms * (1 + drift_ppm / 1e6)

    for pause, trip, where in answers:
        boot_ms += pause
        host.heard(int(true(boot_ms + trip * where)), int(boot_ms), int(boot_ms + trip) + 1)
        boot_ms += trip + 1
        found = host.offset(int(boot_ms))
        assert found is not None
        assert abs(true(boot_ms) - boot_ms - found[0]) <= found[1] + 3
        assert abs(host.nearest(found[0] + 10**9, int(boot_ms)) - found[0]) <= found[1] + 1


def test_a_host_that_contradicts_itself_is_believed_anew() -> None:
    host = HostTime()
    assert host.offset(5) is None
    host.heard(NOON_MS, 0, 100)
    host.heard(NOON_MS + HOUR_MS, 1000, 1100)
    found = host.offset(1100)
    assert found is not None
    assert abs(found[0] - (NOON_MS + HOUR_MS - 1050)) <= 1


def test_the_host_gives_the_time_where_nothing_else_does() -> None:
    world = World(chip=False, error_ms=-HOUR_MS)
    made = keeper(world, newest_ms=NOON_MS - 10 * HOUR_MS)
    world.true_ms += 400
    made.host_said(world.true_ms - 200, 0.4)
    assert (made.how, made.wants_host) == ("host", False)
    assert abs(made.now_ms() - world.true_ms) <= 200
    assert made.status()["host_differs_ms"] == 0
    world.true_ms += 60_000
    world.error_ms, world.ntp = 30_000, True  # NTP says otherwise: that is a step
    made.look()
    assert (made.how, made.now_ms(), made.steps) == ("ntp", world.true_ms + 30_000, 1)


def test_a_slow_answer_of_the_host_is_used_after_a_while_and_makes_samples_uncertain() -> None:
    world = World(chip=False, error_ms=-HOUR_MS)
    made = keeper(world)
    made.host_said(world.true_ms - 5_000, 10.0)
    assert not made.known
    world.true_ms += 31_000
    made.look()
    assert (made.how, made.wants_host) == ("host", True)
    assert made.stamp(made.agent_ms())[1] is False
    made.host_said(world.true_ms - 10, 0.02)
    assert (made.wants_host, made.stamp(made.agent_ms())[1]) == (False, True)
    made.look()
    assert abs(made.now_ms() - world.true_ms) <= 10


@pytest.mark.parametrize("host_ms", [1000, NOON_MS - HOUR_MS, 4_200_000_000_000])
def test_an_impossible_word_of_the_host_is_not_believed(host_ms: int) -> None:
    made = keeper(World(chip=False), newest_ms=NOON_MS - 60_000)
    made.host_said(host_ms, 0.01)
    assert not made.known


def test_the_hosts_word_is_not_taken_where_only_ntp_is_trusted_nor_when_it_is_too_vague() -> None:
    world = World()
    only_ntp = keeper(world, "ntp")
    only_ntp.host_said(NOON_MS, 0.01)
    vague = keeper(world, "host")
    vague.host_said(NOON_MS, 100.0)
    world.true_ms += 40_000
    vague.look()
    assert (only_ntp.known, vague.known) == (False, False)


@given(
    extents=st.lists(st.integers(0, 10**7), min_size=1, max_size=5),
    newest_ms=st.none() | st.integers(NOON_MS - 10**8, NOON_MS + 10**6),
)
def test_boots_without_a_time_lie_in_order_between_the_known_times(extents: list[int], newest_ms: int | None) -> None:
    found = places([Extent(i, last_ms) for i, last_ms in enumerate(extents)], newest_ms, NOON_MS)
    how = {place.how for place in found}
    assert how <= {"between", "before", "squeezed"}
    if how == {"squeezed"}:
        assert newest_ms is not None
        assert newest_ms + sum(extents) + len(extents) >= NOON_MS
        return
    end = newest_ms if newest_ms is not None else 0
    for place, last_ms in zip(found, extents, strict=True):
        assert place.offset_ms > end
        end = place.offset_ms + last_ms
        assert place.off_by_ms is None or place.off_by_ms >= place.offset_ms - end
    assert end < NOON_MS


def test_after_a_step_back_stamps_rise_by_a_millisecond_and_are_uncertain_until_the_clock_has_caught_up() -> None:
    world = World()
    made = keeper(world)
    stamper = Stamper(made)
    stamper.begin({"pump": NOON_MS - 1000})

    def take(after_ms: int, table: Block | None = None) -> Block:
        world.true_ms += after_ms
        return stamper.stamped(block(made.agent_ms()) if table is None else table)

    first = take(0)
    assert (first.ts_ms, first.quality[0]) == (NOON_MS, Quality.GOOD)
    world.error_ms -= 10_000
    doubtful = [take(1000) for _ in range(9)]
    assert [b.ts_ms - NOON_MS for b in doubtful] == list(range(1, 10))
    assert {(int(b.quality[0]), int(b.reason[0])) for b in doubtful} == {(Quality.UNCERTAIN, Reason.CLOCK_UNKNOWN)}
    assert stamper.ahead_ms() == 1009
    fan = stamper.stamped(block(made.agent_ms(), FAN))
    assert (fan.ts_ms, fan.quality[0]) == (NOON_MS - 1000, Quality.GOOD)  # a device that has nothing there
    late = take(1100)
    assert (late.ts_ms, late.quality[0]) == (NOON_MS + 100, Quality.GOOD)


def test_stamps_begin_above_the_high_water_and_a_bad_value_stays_bad() -> None:
    made = keeper(World())
    stamper = Stamper(made)
    stamper.begin({"pump": NOON_MS + 5000})
    found = stamper.stamped(Block.bad(made.agent_ms(), FAN, Reason.TIMEOUT))
    assert (found.ts_ms, found.reason[0]) == (NOON_MS, Reason.TIMEOUT)
    pump = block(made.agent_ms())
    assert [stamper.stamped(pump).ts_ms - NOON_MS for _ in range(2)] == [5001, 5002]
