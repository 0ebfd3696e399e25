"""Every fault of an answer, seen on the wire and in the truth, on each kind of Modbus line."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import pytest

from firmware_sim.modbus_frame import parse_rtu
from tests.firmware_sim.running import PLANT, running_text, truth
from tests.firmware_sim.wire import answers, ask, connected

READ_TEN = "03 0000 0001"
TEN = bytes.fromhex("03 02 000A")
ALL = ["tcp", "conv", "bus"]


def fault(device: str, kind: str, more: str = "", at_s: float = 0, for_s: float = 60) -> str:
    return f"  - {{device: {device}, kind: {kind}, at_s: {at_s}, for_s: {for_s}{', ' + more if more else ''}}}\n"


def told(folder: Path, device: str, kind: str) -> int:
    """Answers that this fault hit; the window itself must stand in the truth as well."""
    assert [each["name"] for each in truth(folder, "fault", device)][:1] == [kind]
    return len([each for each in truth(folder, "marred", device) if each["name"] == kind])


@pytest.mark.parametrize("device", ALL)
async def test_silent(tmp_path: Path, device: str) -> None:
    async with running_text(tmp_path, PLANT, fault(device, "silent")) as at, connected(at[device]) as wire:
        wire.send(ask(at[device], READ_TEN))
        assert await wire.bytes() == b""
    assert told(tmp_path, device, "silent") == 1
    assert truth(tmp_path, "served", device) == []


@pytest.mark.parametrize(
    ("device", "code"), [("tcp", code) for code in range(1, 12)] + [("conv", 6), ("conv", 11), ("bus", 1), ("bus", 4)]
)
async def test_refused_with_each_code(tmp_path: Path, device: str, code: int) -> None:
    async with (
        running_text(tmp_path, PLANT, fault(device, "refused", f"exception: {code}")) as at,
        connected(at[device]) as wire,
    ):
        wire.send(ask(at[device], READ_TEN))
        assert answers(at[device], await wire.bytes(0.15)) == [(3, bytes((0x83, code)))]
    assert told(tmp_path, device, "refused") == 1
    assert truth(tmp_path, "served", device) == []


@pytest.mark.parametrize("device", ["conv", "bus"])
async def test_garbled(tmp_path: Path, device: str) -> None:
    async with running_text(tmp_path, PLANT, fault(device, "garbled")) as at, connected(at[device]) as wire:
        wire.send(ask(at[device], READ_TEN))
        answer = await wire.bytes()
        assert len(answer) == 7 and parse_rtu(answer) is None
    assert told(tmp_path, device, "garbled") == 1
    assert truth(tmp_path, "served", device) == []


@pytest.mark.parametrize("device", ALL)
async def test_split(tmp_path: Path, device: str) -> None:
    async with (
        running_text(tmp_path, PLANT, fault(device, "split", "gap_s: 0.15")) as at,
        connected(at[device]) as wire,
    ):
        wire.send(ask(at[device], READ_TEN))
        pieces = await wire.quiet(0.5)
        assert answers(at[device], b"".join(data for _, data in pieces)) == [(3, TEN)]
        assert any(b - a >= 0.14 for (a, _), (b, _) in itertools.pairwise(pieces))
    assert told(tmp_path, device, "split") == 1
    assert len(truth(tmp_path, "served", device)) == 1


@pytest.mark.parametrize("device", ALL)
async def test_merged(tmp_path: Path, device: str) -> None:
    async with running_text(tmp_path, PLANT, fault(device, "merged")) as at, connected(at[device]) as wire:
        wire.send(ask(at[device], READ_TEN, 1))
        assert await wire.bytes(0.15) == b""
        assert truth(tmp_path, "served", device) == []
        wire.send(ask(at[device], READ_TEN, 2))
        assert answers(at[device], await wire.bytes()) == [(3, TEN), (3, TEN)]
    assert told(tmp_path, device, "merged") == 2
    assert len(truth(tmp_path, "served", device)) == 2


@pytest.mark.parametrize("device", ALL)
async def test_wrong_unit(tmp_path: Path, device: str) -> None:
    async with running_text(tmp_path, PLANT, fault(device, "wrong_unit")) as at, connected(at[device]) as wire:
        wire.send(ask(at[device], READ_TEN))
        assert answers(at[device], await wire.bytes()) == [(4, TEN)]
    assert told(tmp_path, device, "wrong_unit") == 1


@pytest.mark.parametrize("device", ALL)
async def test_late_within_its_bounds(tmp_path: Path, device: str) -> None:
    more = "delay_s: 0.2, delay_max_s: 0.4"
    async with running_text(tmp_path, PLANT, fault(device, "late", more)) as at, connected(at[device]) as wire:
        for _ in range(2):
            asked = time.monotonic()
            wire.send(ask(at[device], READ_TEN))
            [(first, _), *_] = await wire.quiet(0.8)
            assert 0.2 <= first - asked < 0.8
    assert told(tmp_path, device, "late") == 2
    assert len(truth(tmp_path, "served", device)) == 2


@pytest.mark.parametrize(("kind", "order"), [("late", [1, 2]), ("overtaking", [2, 1])])
@pytest.mark.parametrize("device", ["conv", "bus"])
async def test_only_overtaking_answers_change_their_order(
    tmp_path: Path, device: str, kind: str, order: list[int]
) -> None:
    """The first request is late, the second comes after the fault; they ask for one and for two registers."""
    faults = fault(device, kind, "delay_s: 1.4", for_s=0.8)
    async with running_text(tmp_path, PLANT, faults) as at, connected(at[device]) as wire:
        wire.send(ask(at[device], READ_TEN))
        await asyncio.sleep(0.9)
        wire.send(ask(at[device], "03 0001 0002"))
        found = answers(at[device], await wire.bytes(1.0))
    assert [pdu[1] // 2 for _, pdu in found] == order
    assert told(tmp_path, device, kind) == 1


async def test_restart_is_silent_drops_connections_and_counts_from_0(tmp_path: Path) -> None:
    faults = fault("tcp", "restart", at_s=0.6, for_s=0.5)
    async with running_text(tmp_path, PLANT, faults) as at:
        entry = at["tcp"]
        async with connected(entry) as wire:
            wire.send(ask(entry, "06 0000 0063") + ask(entry, "03 0000 0005"))
            await asyncio.sleep(0.3)
            assert not wire.closed
            await asyncio.sleep(0.5)
            assert wire.closed
        async with connected(entry) as wire:  # refused while it starts
            await asyncio.sleep(0.1)
            assert wire.closed
        await asyncio.sleep(0.4)
        async with connected(entry) as wire:
            wire.send(ask(entry, "03 0000 0005"))
            [(_, pdu)] = answers(entry, await wire.bytes())
    before, after = (each["values"] for each in truth(tmp_path, "served", "tcp"))
    assert before["count"] >= 1000 and after["count"] < 40
    assert (before["ten"], after["ten"]) == (99, 10)  # what was written is forgotten
    assert pdu[2:4] == b"\x00\x0a"
    assert [each["event"] for each in truth(tmp_path, "connection")] == ["dropped", "refused"]
    assert truth(tmp_path, "fault", "tcp")[0]["name"] == "restart"


async def test_chance_hits_some_answers_the_same_for_the_same_seed(tmp_path: Path) -> None:
    lost = []
    for run in ("a", "b"):
        folder = tmp_path / run
        folder.mkdir()
        async with (
            running_text(folder, PLANT, fault("tcp", "refused", "chance: 0.3")) as at,
            connected(at["tcp"]) as wire,
        ):
            for number in range(100):
                wire.send(ask(at["tcp"], READ_TEN, number))
            found = answers(at["tcp"], await wire.bytes(0.6))
        lost.append([pdu[0] == 0x83 for _, pdu in found])
        assert told(folder, "tcp", "refused") == sum(lost[-1])
    assert lost[0] == lost[1] and 15 <= sum(lost[0]) <= 45


async def test_random_faults_come_at_their_rate_and_stand_in_the_truth(tmp_path: Path) -> None:
    faults = "  - {device: tcp, kind: silent, rate_per_h: 600, for_s: 1}\n"
    async with running_text(tmp_path, PLANT, faults, "speed=3000"):
        await asyncio.sleep(1.0)
    ended = [each for each in truth(tmp_path, "fault", "tcp") if each["to_ms"] is not None]
    # 50 simulated minutes: a window of 1 s after 6 s on average, about 430 of them; a busy machine simulates less.
    assert 200 < len(ended) < 600
