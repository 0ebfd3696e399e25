"""What can happen to connections, on Modbus TCP and RTU over TCP."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.firmware_sim.running import PLANT, running_text, truth
from tests.firmware_sim.test_answer_faults import READ_TEN, TEN, fault
from tests.firmware_sim.wire import answers, ask, connected


def events(folder: Path) -> list[str]:
    return [each["event"] for each in truth(folder, "connection")]


@pytest.mark.parametrize("device", ["tcp", "conv"])
async def test_dropped(tmp_path: Path, device: str) -> None:
    faults = fault(device, "dropped", at_s=0.5, for_s=0.5)
    async with running_text(tmp_path, PLANT, faults) as at:
        async with connected(at[device]) as wire:
            wire.send(ask(at[device], READ_TEN))
            assert answers(at[device], await wire.bytes(0.2)) == [(3, TEN)]
            await asyncio.sleep(0.5)
            assert wire.closed
        async with connected(at[device]) as wire:
            wire.send(ask(at[device], READ_TEN))
            assert await wire.bytes(0.1) == b"" and wire.closed
        await asyncio.sleep(0.4)
        async with connected(at[device]) as wire:
            wire.send(ask(at[device], READ_TEN))
            assert answers(at[device], await wire.bytes(0.2)) == [(3, TEN)]
    assert events(tmp_path) == ["dropped", "dropped"]
    assert truth(tmp_path, "fault", device)[0]["name"] == "dropped"


@pytest.mark.parametrize("device", ["tcp", "conv"])
async def test_half_open(tmp_path: Path, device: str) -> None:
    async with (
        running_text(tmp_path, PLANT, fault(device, "half_open", for_s=0.8)) as at,
        connected(at[device]) as wire,
    ):
        wire.send(ask(at[device], READ_TEN))
        assert await wire.bytes(0.3) == b"" and not wire.closed
        assert truth(tmp_path, "served", device) == []
        await asyncio.sleep(0.7)
        wire.send(ask(at[device], READ_TEN))
        assert answers(at[device], await wire.bytes(0.2)) == [(3, TEN)]
    assert truth(tmp_path, "fault", device)[0]["name"] == "half_open"


@pytest.mark.parametrize("device", ["tcp", "conv"])
async def test_one_connection(tmp_path: Path, device: str) -> None:
    async with running_text(tmp_path, PLANT, fault(device, "one_connection")) as at:
        async with connected(at[device]) as first:
            async with connected(at[device]) as second:
                second.send(ask(at[device], READ_TEN))
                assert await second.bytes(0.2) == b"" and second.closed
            first.send(ask(at[device], READ_TEN))
            assert answers(at[device], await first.bytes(0.2)) == [(3, TEN)]
        await asyncio.sleep(0.1)
        async with connected(at[device]) as third:
            third.send(ask(at[device], READ_TEN))
            assert answers(at[device], await third.bytes(0.2)) == [(3, TEN)]
    assert events(tmp_path) == ["refused"]
    assert truth(tmp_path, "fault", device)[0]["name"] == "one_connection"
