"""The fault campaign's short form, and that its witness, ledger and meddler do what they say."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from benchmarks.campaign import __main__ as command
from benchmarks.campaign import table
from benchmarks.campaign.family import Family, fill, no_small_disks
from benchmarks.campaign.judge import Counted, Verdict, closing_problems, verdict_of
from benchmarks.campaign.ledger import Ledger, Round
from benchmarks.campaign.rough_link import Meddler
from benchmarks.campaign.runner import CLOSING, seed_of
from benchmarks.campaign.stamps import Boot, Wall, judged
from benchmarks.campaign.witness import Finding, Kill, Served, Stop, Truth, find, unrecorded
from firmware_sim.demo.host_api import Row
from tests.machine import no_machine

SEED = 3
SERVED: Served = {("d1", "a"): [(t, float(t)) for t in range(10_000, 20_000, 100)]}
NOTHING = dict.fromkeys(("lost", "dead_letters", "dropped", "in_flight", "collided"), 0)
SOUND = {**NOTHING, "ok": True, "produced": 9, "stored": 9}


def rows(but: range = range(0)) -> dict[tuple[str, str], list[Row]]:
    """Every answer stored 3 ms after it was served, but those served at these times."""
    return {key: [Row(t + 3, v, 192) for t, v in answers if t not in but] for key, answers in SERVED.items()}


def test_every_fault_of_the_short_form_loses_and_doubles_nothing(tmp_path: Path) -> None:
    found, rounds = command.campaign(command.FAMILIES, tmp_path, SEED, short=True)
    print(table.text(found))
    assert [(r.family, r.seed, r.verdict.problems) for r in rounds if not r.good] == []
    not_run = {name for name, row in found.items() if "not_run" in row}
    disks = {"outbox-disk-full", "store-disk-full"} if no_small_disks() else set()
    clocks = {"clock-steps"} if no_machine() else set()
    assert not_run == {"half-open-host"} | disks | clocks
    ran = [row for row in found.values() if "not_run" not in row]
    assert all(row["samples"] > 0 and row["rounds"] > 0 for row in ran), found
    assert found["outbox-full"]["drops_recorded"] > 10_000
    assert found["self-test"]["rounds"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["rounds.jsonl"], "only what failed is kept"


def test_answers_that_are_stored_once_are_sound() -> None:
    found = find(SERVED, rows(), 9_999, 30_000)
    assert found == Finding(samples=100)
    assert verdict_of(found, SOUND).problems == []


def test_one_missing_answer_is_lost_wherever_it_is() -> None:
    for t_ms in (10_000, 14_200, 19_900):
        found = find(SERVED, rows(range(t_ms, t_ms + 1)), 9_999, 30_000)
        assert found.missing == [("d1", "a", t_ms)]
        assert "1 samples are lost" in verdict_of(found, SOUND).problems[0]


def test_answers_outside_the_time_that_is_judged_are_left_to_other_rounds() -> None:
    found = find(SERVED, rows(range(10_000, 15_000)), 15_000, 30_000)
    assert (found.samples, found.lost) == (49, 0)


def test_a_row_that_is_there_twice_or_bears_a_stamp_twice_is_doubled() -> None:
    twice = rows()
    twice["d1", "a"].append(Row(12_203, 12_200.0, 192))
    assert find(SERVED, twice, 9_999, 30_000).doubled == 1
    elsewhere = rows()
    elsewhere["d1", "a"].append(Row(12_250, 12_200.0, 192))
    assert find(SERVED, elsewhere, 9_999, 30_000).doubled == 1
    assert verdict_of(find(SERVED, elsewhere, 9_999, 30_000), SOUND).problems == ["1 samples are stored twice"]


def test_a_value_that_was_never_served_near_its_stamp_is_wrong() -> None:
    lying = rows()
    lying["d1", "a"][50] = Row(15_003, 4711.0, 192)
    found = find(SERVED, lying, 9_999, 30_000)
    assert (found.wrong, found.lost) == (1, 1)
    late = rows()
    late["d1", "a"][20] = Row(18_003, 12_000.0, 192)
    assert find(SERVED, late, 9_999, 30_000).wrong == 1


def test_answers_right_before_a_kill_may_be_gone_but_no_earlier_ones() -> None:
    kill = Kill(15_050)
    found = find(SERVED, rows(range(14_700, 15_100)), 9_999, 30_000, [kill])
    assert (found.lost, found.gap_ms, len(found.gone)) == (0, 400, 4)
    earlier = find(SERVED, rows(range(14_400, 15_100)), 9_999, 30_000, [kill])
    assert [t for _, _, t in earlier.missing] == [14_400, 14_500]
    later = find(SERVED, rows(range(15_200, 15_201)), 9_999, 30_000, [kill])
    assert later.lost == 1
    slow = find(SERVED, rows(range(14_400, 15_100)), 9_999, 30_000, [Kill(15_050, late_ms=200)])
    assert slow.lost == 0


def test_answers_of_a_gateway_that_is_killed_while_it_starts_are_not_counted_from_the_kill_before() -> None:
    kills = [Kill(13_050), Kill(15_050)]
    served = {key: [a for a in answers if not 13_050 < a[0] < 14_900] for key, answers in SERVED.items()}
    stored = {key: [row for row in of if row.value not in range(12_900, 15_050)] for key, of in rows().items()}
    found = find(served, stored, 9_999, 30_000, kills)
    assert (found.lost, len(found.gone), found.gap_ms) == (0, 4, 200)


def test_a_stop_on_purpose_may_cost_the_one_answer_under_way() -> None:
    stop = Stop(15_050, 16_050)
    assert find(SERVED, rows(range(15_000, 15_001)), 9_999, 30_000, stops=[stop]).lost == 0
    assert find(SERVED, rows(range(15_000, 15_101)), 9_999, 30_000, stops=[stop]).lost == 1


def test_an_answer_after_the_time_out_is_a_bad_row_and_not_lost() -> None:
    late = rows(range(15_000, 15_001))
    late["d1", "a"].append(Row(15_900, None, 0))
    found = find(SERVED, late, 9_999, 30_000)
    assert (found.lost, found.bad) == (0, 1)


def test_what_is_gone_before_a_kill_must_stand_in_a_gap_record_of_its_line() -> None:
    gap = {"lines": [{"line": "l1", "last_poll_ms": 15_000, "first_new_ms": 17_000}]}
    other = {"lines": [{"line": "l2", "last_poll_ms": 15_000, "first_new_ms": None}]}
    gone = [("d1", 15_100), ("d1", 15_200)]
    assert unrecorded(gone, [gap, other], {"d1": "l1"}) == 0
    assert unrecorded(gone, [other], {"d1": "l1"}) == 2
    assert unrecorded([("d1", 17_500)], [gap], {"d1": "l1"}) == 1


def test_the_audit_must_agree_with_the_witness() -> None:
    sound = Finding(samples=9)
    assert "does not balance" in verdict_of(sound, {**SOUND, "ok": False}).problems[0]
    assert "does not balance" in verdict_of(sound, {**SOUND, "lost": -1}).problems[0]
    alike = Finding(samples=9, missing=[("d1", "a", 1)])
    assert verdict_of(alike, {**SOUND, "collided": 1}).lost == 1
    assert verdict_of(alike, {**SOUND, "collided": 1}, collisions_allowed=True).lost == 0


@pytest.mark.parametrize(
    ("counted", "kept", "waiting", "code", "balance", "told"),
    [
        (Counted(9, 8), 9, 0, 0, {}, "1 rows of the database are there twice"),
        (Counted(8, 8), 9, 0, 0, {}, "the outbox kept 9 samples, the database has 8"),
        (Counted(9, 9), 9, 0, 0, {"stored": 8}, "the audit says 9 produced and 8 stored"),
        (Counted(9, 9), 9, 2, 0, {}, "2 batches wait"),
        (Counted(9, 9), 9, 0, 1, {}, "`cloud audit` ended with 1"),
        (Counted(9, 9), 9, 0, 0, {"ok": False}, "ok"),
    ],
)
def test_at_a_plants_end_outbox_database_and_audit_must_agree(
    counted: Counted, kept: int, waiting: int, code: int, balance: dict[str, int], told: str
) -> None:
    assert closing_problems(Counted(9, 9), 9, 0, 0, SOUND) == []
    problems = closing_problems(counted, kept, waiting, code, {**SOUND, **balance})
    assert problems and (told == "ok" or told in " ".join(problems)), problems


def test_the_truth_is_read_on_from_where_the_last_look_ended(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    line = json.dumps({"kind": "served", "t_ms": 1, "device": "d1", "values": {"a": 5}})
    path.write_text(f"{line}\n{line[:20]}")
    truth = Truth(path)
    truth.read()
    assert truth.served == {("d1", "a"): [(1, 5.0)]}
    path.write_text(f"{line}\n{line.replace('1', '2', 1)}\n")
    truth.read()
    assert len(truth.served["d1", "a"]) == 2
    truth.forget(10)
    assert truth.served["d1", "a"] == []


def fails_at(index: int, done: list[int]) -> Family:
    """A family whose round number `index` fails."""

    def alone(folder: Path, dice: random.Random, short: bool) -> Verdict:
        folder.mkdir()
        done.append(len(done))
        return Verdict(samples=1, problems=["planted"] if len(done) - 1 == index else [])

    return Family("planted", 3, 3, "", alone=alone)


def test_a_campaign_goes_on_where_it_was_and_keeps_what_failed(tmp_path: Path) -> None:
    done: list[int] = []
    family = fails_at(1, done)
    command.campaign([family], tmp_path, SEED, True, most=2)
    with (tmp_path / "rounds.jsonl").open("a") as file:
        file.write('{"run": "cut sho')
    found, rounds = command.campaign([family], tmp_path, SEED, True)
    assert done == [0, 1, 2], "two rounds, then only the third"
    assert [r.good for r in rounds] == [True, False, True]
    assert [r.seed for r in rounds] == [seed_of(SEED, "planted", i) for i in range(3)]
    assert (found["planted"]["rounds"], found["planted"]["failed"]) == (3, 1)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["002-planted"]
    command.campaign([family], tmp_path, SEED + 1, True)
    assert len(done) == 6, "another seed is another campaign"


def test_the_command_ends_with_1_and_says_how_to_repeat_a_round_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "FAMILIES", (fails_at(0, []),))
    assert command.main(["--only", "planted", "--seed", "77", "--folder", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "make campaign ONLY=planted SEED=77" in said.err and "planted" in said.out
    monkeypatch.setattr(command, "FAMILIES", (fails_at(9, []),))
    assert command.main(["--only", "planted", "--fresh", "--folder", str(tmp_path)]) == 0


def test_a_campaign_that_is_stopped_ends_its_round_and_says_that_rounds_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[int] = []
    said: list[str] = []

    def alone(folder: Path, dice: random.Random, short: bool) -> Verdict:
        for wanted in [] if done else [command.STOPS, command.STILL]:  # an impatient person, in the first round
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            end = time.monotonic() + 60
            while wanted not in "".join(said) and time.monotonic() < end:
                time.sleep(0.05)
                said.append(capsys.readouterr().out)
        done.append(1)
        return Verdict(samples=1)

    monkeypatch.setattr(command, "FAMILIES", (Family("planted", 3, 3, "", alone=alone),))
    before = {number: signal.getsignal(number) for number in command.SIGNALS}
    assert command.main(["--only", "planted", "--folder", str(tmp_path)]) == command.STOPPED
    assert len(done) == 1, "the round that ran came to its end, and no other began"
    assert command.STOPS in "".join(said) and command.STILL in "".join(said)
    assert before == {number: signal.getsignal(number) for number in command.SIGNALS}
    assert command.main(["--only", "planted", "--folder", str(tmp_path)]) == 0
    assert len(done) == 3


def test_a_trouble_of_the_campaign_itself_is_a_failed_round(tmp_path: Path) -> None:
    def alone(folder: Path, dice: random.Random, short: bool) -> Verdict:
        raise RuntimeError("no such thing")

    _, [only] = command.campaign([Family("broken", 1, 1, "", alone=alone)], tmp_path, SEED, True)
    assert only.verdict.problems == ["RuntimeError: no such thing"]


def test_the_table_says_what_was_not_run_and_why(tmp_path: Path) -> None:
    unable = Family("impossible", 1, 1, "", unable=lambda: "no moon")
    ledger = Ledger(tmp_path / "rounds.jsonl", "x")
    ledger.add(Round("x", CLOSING, 0, 1, 2.5, Verdict(samples=4)))
    found = table.rows([unable], ledger.rounds)
    assert "impossible  not run: no moon" in table.text(found)
    assert found[CLOSING]["samples"] == 4


def packet(n: int, kind: int = 0x30) -> bytes:
    body = b"\x00\x16spBv1.0/g/DDATA/gw/d01" + bytes([n]) * 150
    return bytes([kind, len(body) & 0x7F | 0x80, len(body) >> 7]) + body


def test_the_meddler_doubles_swaps_and_replays_whole_messages_and_nothing_else() -> None:
    stream = [packet(n) for n in range(100)]
    birth = packet(200).replace(b"DDATA", b"DBIRT")
    meddler, out, done = Meddler(random.Random(1)), b"", 0
    data = b"".join(stream[:50]) + birth + b"".join(stream[50:])
    for at in range(0, len(data), 70):  # cut anywhere
        got, meddled = meddler.meddle(data[at : at + 70], 0.3)
        out, done = out + got, done + meddled
    out += meddler.whole(b"\xd0\x00")
    reader = Meddler(random.Random(1))
    passed = list(reader._packets(out))
    assert reader.rest == b"" and 15 < done < 45
    assert set(stream) <= set(passed) and passed.count(birth) == 1
    data_only = [p for p in passed if p in stream]
    assert len(data_only) > 20 and data_only != sorted(data_only), "some came again, some in another order"
    assert Meddler(random.Random(1)).whole(data) == data


def test_a_disk_is_filled_to_its_last_block(tmp_path: Path) -> None:
    import subprocess

    if why := no_small_disks():
        pytest.skip(why)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        filler = fill(tmp_path)
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "more").write_bytes(b"x")
        filler.unlink()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


NOON_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS


class Clocked:
    """Answers of one tag while the clock was an hour ahead for a while, then a year; the last boot but one had no time.

    One answer every 10 s, so that none is near a step.
    """

    def __init__(self) -> None:
        self.wall, self.t = Wall(), [NOON_MS + 10_000 * i for i in range(60)]
        for after, offset in ((10, HOUR_MS), (20, 0), (30, YEAR_MS), (40, 0)):
            self.wall.set(self.t[after] - 5000, offset)
        self.boots = [Boot(self.t[50], self.t[54], 5), Boot(self.t[55], self.t[59], 5)]
        self.off_by_ms: list[int | None] = [30_000, 0]
        self.stamps = dict(enumerate(self.t))
        squeezed = {i: self.t[19] + HOUR_MS + i - 19 for i in range(20, 30)}
        ahead = {i: self.t[i] + by for r, by in ((range(10, 20), HOUR_MS), (range(30, 40), YEAR_MS)) for i in r}
        placed = {i: self.t[i] + 2000 + 10 * i for i in range(50, 55)}
        self.stamps |= squeezed | ahead | placed
        self.quality = dict.fromkeys(range(60), 192) | dict.fromkeys([*squeezed, *placed], 64)
        self.steps: list[dict[str, object]] = [{"by_ms": 1}, {"by_ms": -1, "stamps": "begin anew"}]

    def problems(self, without: int | None = None) -> str:
        served: Served = {("d1", "a"): [(t, float(i)) for i, t in enumerate(self.t)]}
        rows = [Row(self.stamps[i], float(i), self.quality[i]) for i in range(60) if i != without]
        clock: list[dict[str, object]] = [{"placed": "between", "off_by_ms": self.off_by_ms[0]}]
        records: dict[str, list[dict[str, object]]] = {"clock": clock, "clock_step": self.steps}
        given = {("d1", "a"): sorted(rows)}
        verdict, _ = judged(served, given, (0, self.t[-1]), (), (), self.wall, self.boots, records)
        return "; ".join(verdict.problems)


def test_stamps_that_follow_the_clock_and_its_records_are_right() -> None:
    assert Clocked().problems() == ""


def test_the_witness_of_clocks_sees_each_wrong_stamp() -> None:
    for i, by_ms, about in (
        (5, 3000, "not what the clock said"),
        (12, -HOUR_MS, "the clock was ahead"),
        (25, 900, "not above the one before by a millisecond"),
        (45, YEAR_MS, "a stamp of the far future"),
        (52, 60_000, "further off than the record of its boot says"),
        (57, 5000, "further off than the host's time may be"),
    ):
        clocked = Clocked()
        clocked.stamps[i] += by_ms
        assert "stamps are wrong" in clocked.problems(), about
    for i in (25, 52):
        clocked = Clocked()
        clocked.quality[i] = 192
        assert "stamps are wrong" in clocked.problems(), "GOOD, although nobody knew"


def test_the_witness_of_clocks_sees_a_loss_a_double_and_a_record_that_is_missing() -> None:
    assert "1 samples are lost" in Clocked().problems(without=33)
    doubled = Clocked()
    doubled.stamps[6] = doubled.stamps[5]
    assert "stored twice" in doubled.problems()
    silent = Clocked()
    silent.steps.pop()
    assert "does not rise" in silent.problems()
    unknown = Clocked()
    unknown.boots.insert(0, Boot(NOON_MS - 9, NOON_MS - 5, 1))
    assert "2 boots had no time, on record are 1" in unknown.problems()
