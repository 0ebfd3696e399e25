"""The desk of a line: writes are carried out in turn, and never for somebody who has gone."""

from __future__ import annotations

import asyncio

import pytest

from agent.command import Desk, Outcome, Write, carry_out
from agent.drivers import DRIVERS
from agent.drivers.framed_serial import FramedSerialDriver
from agent.encode import encode
from agent.spec import LineSpec
from tests.agent.points import device, point
from tests.gateway import slave

SETPOINT = point("setpoint", "holding", 3, writable=True, write_low=0.0, write_high=9.0)
UNIT = device(SETPOINT)


def write(text: str) -> Write:
    return Write(UNIT, SETPOINT, encode(SETPOINT, text))


def line(port: int) -> LineSpec:
    return LineSpec("plc", "modbus-tcp", "127.0.0.1", port, timeout_s=0.5, devices=(UNIT,))


async def test_what_waits_is_carried_out_in_turn_and_what_nobody_waits_for_is_not() -> None:
    plc, desk = slave.Device(), Desk()
    async with slave.tcp(plc) as port:
        driver = DRIVERS["modbus-tcp"](line(port), lambda: 5)
        with pytest.raises(TimeoutError, match=r"did not come to it within 0\.05 s"):
            await desk.ask(write("7"), 0.05)
        asked = [asyncio.create_task(desk.ask(write(text), 2.0)) for text in ("1", "2")]
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        await desk.until(loop.time() - 1, driver, lambda: 5)
        assert [await task for task in asked] == [Outcome("done", 0, 1), Outcome("done", 1, 2)]
        began = loop.time()
        late = asyncio.create_task(desk.ask(write("3"), 2.0))
        await desk.until(began + 0.2, driver, lambda: 5)
        assert (await late).result == "done" and loop.time() - began >= 0.19
        await driver.close()
    assert plc.functions == [6, 6, 6] and plc.holding[3] == 3


async def test_a_device_that_falls_silent_after_the_write_leaves_it_unknown() -> None:
    plc = slave.Device()
    answer = plc.answer

    def once(pdu: bytes) -> bytes | None:
        plc.deaf = plc.deaf or bool(plc.functions)
        return answer(pdu)

    plc.answer = once  # type: ignore[method-assign]
    async with slave.tcp(plc) as port:
        driver = DRIVERS["modbus-tcp"](line(port), lambda: 5)
        outcome = await carry_out(driver, write("4"), lambda: 5)
        await driver.close()
    assert (outcome.result, outcome.before, outcome.after, plc.holding[3]) == ("unknown", 0, None, 4)
    assert "cannot be read back" in outcome.error


async def test_a_line_that_cannot_write_says_so() -> None:
    driver = FramedSerialDriver(LineSpec("road", "serial-text", port="p"), lambda: 5)
    assert (await carry_out(driver, write("4"), lambda: 5)).result == "failed"
