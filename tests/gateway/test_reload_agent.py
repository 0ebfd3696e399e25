"""What the agent knows over a reload: expressions change, what was learned of a device stays."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.config import load_site
from tests.gateway import slave
from tests.gateway.field import modbus_device
from tests.gateway.test_reload import COUNT, FLOW, site_at


@asynccontextmanager
async def at_work(path: Path, monkeypatch: pytest.MonkeyPatch, line: str = "b") -> AsyncIterator[Gateway]:
    """A gateway in this process."""
    gateway, stop = Gateway(load_site(path)), asyncio.Event()
    await gateway.open()
    monkeypatch.setattr("gateway.app.DRAIN_S", 0.1)
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.run(stop, None))
        while not (await gateway.status())["lines"][line]["polls"]:
            await asyncio.sleep(0.02)
        yield gateway
        stop.set()


async def shown(gateway: Gateway, tag: str, value: Any, at_most_s: float = 60.0) -> None:
    async with asyncio.timeout(at_most_s):
        while True:
            readings = (await gateway.answer({"cmd": "latest"}))["readings"]
            if any(f"{r['device']}/{r['tag']}" == tag and r["value"] == value for r in readings):
                return
            await asyncio.sleep(0.02)


async def test_a_changed_expression_is_calculated_anew_and_one_over_two_lines_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = "assets: [{id: plant, devices: [pump, fan]}]"
    share = """{name: share, expression: "count / 'pump/flow'"}"""

    def tags(factor: int) -> str:
        return f'[{COUNT}, {{name: more, expression: "count * {factor}"}}, {share}]'

    registers = [0x3FC0, 0, 7]
    async with modbus_device(registers) as a, modbus_device(registers) as b:
        url = "mqtt://127.0.0.1:1"
        path = site_at(tmp_path, url, (a, b), tags(2), more)
        async with at_work(path, monkeypatch) as gateway:
            await shown(gateway, "fan/more", 14.0)
            await shown(gateway, "fan/share", 7 / 1.5)
            site_at(tmp_path, url, (a, b), tags(3), more)
            assert (await gateway.answer({"cmd": "reload"}))["done"] == "changed lines: b"
            await shown(gateway, "fan/more", 21.0)
            # Line a was not restarted, and its values reach the expressions of the new configuration.
            registers[2] = 9
            await shown(gateway, "fan/share", 6.0)
            site_at(tmp_path, url, (a, b), f"[{COUNT}]", more)
            assert (await gateway.answer({"cmd": "reload"}))["done"] == "changed lines: b"
            readings = (await gateway.answer({"cmd": "latest"}))["readings"]
            assert {r["tag"] for r in readings if r["device"] == "fan"} <= {"count"}
            # The pump's own expression comes while the fan polls on.
            text = path.read_text().replace(f"[{FLOW}]", f'[{FLOW}, {{name: half, expression: "flow / 2"}}]')
            path.write_text(text)
            assert (await gateway.answer({"cmd": "reload"}))["done"] == "changed lines: a"
            await shown(gateway, "pump/half", 0.75)
            assert (await gateway.status())["restarts"] == {}
            path.write_text(text.replace("flow / 2", "flow / nothing"))
            assert "no tag 'nothing'" in (await gateway.answer({"cmd": "reload"}))["error"]


class Picky(slave.Device):
    """Refuses every read that touches register 5."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int]] = []

    def answer(self, pdu: bytes) -> bytes | None:
        function, address, count = struct.unpack(">BHH", pdu[:5])
        self.asked.append((address, count))
        return bytes([function | 0x80, 2]) if address <= 5 < address + count else super().answer(pdu)


async def test_a_reload_keeps_what_was_learned_of_illegal_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.learn.CONFIRM_S", 0.2)
    far, url = "{name: far, table: holding, address: 5}", "mqtt://127.0.0.1:1"
    fan = Picky()
    async with modbus_device([0x3FC0, 0, 7]) as a, slave.tcp(fan) as b:
        path = site_at(tmp_path, url, (a, b), f"[{COUNT}, {far}]")
        async with at_work(path, monkeypatch) as gateway:

            async def illegal() -> list[str]:
                found: list[str] = (await gateway.status())["lines"]["b"]["units"]["fan"]["illegal"]
                return found

            while await illegal() != ["holding 5"]:
                await asyncio.sleep(0.02)
            assert (2, 4) in fan.asked
            site_at(tmp_path, url, (a, b), f"[{COUNT.replace('uint16', 'int16')}, {far}]")
            assert (await gateway.answer({"cmd": "reload"}))["done"] == "changed lines: b"
            fan.asked.clear()
            while len(fan.asked) < 6:
                await asyncio.sleep(0.02)
            assert set(fan.asked) == {(2, 1), (5, 1)}
            assert await illegal() == ["holding 5"]
