"""What every driver promises, written once: against real far ends on sockets and pseudo-terminals.

A new entry of DRIVERS needs a far end here, or this suite fails.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import serial

from agent.driver import Driver
from agent.drivers import DRIVERS
from tests.agent.test_pipeline import now_ms
from tests.contract.device_server import ServedMeters, ServedRoad
from tests.contract.far_ends import (
    TIMEOUT_S,
    BinaryStream,
    FarEnd,
    Meters,
    ModbusRtu,
    ModbusRtuTcp,
    ModbusTcp,
    NoisyRoad,
    Road,
    Scale,
    TextDevices,
    Zones,
)
from wire.errors import DeviceGarbled, DeviceRefused, DeviceSilent, LineDown

FAR_ENDS: tuple[type[FarEnd], ...] = (
    ModbusTcp, ModbusRtu, ModbusRtuTcp, Meters, ServedMeters, Zones, TextDevices, Scale, Road, ServedRoad, BinaryStream,
)  # fmt: skip
POLLED = tuple(each for each in FAR_ENDS if not each.streams and "silent" in each.roles)


def every(kinds: Iterable[type[FarEnd]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", [pytest.param(each, id=each.__name__) for each in kinds])


def lacking(drivers: Iterable[str]) -> set[str]:
    """Drivers that nothing here proves."""
    return set(drivers) - {each.driver for each in FAR_ENDS}


def test_every_driver_has_a_far_end() -> None:
    assert lacking(DRIVERS) == set()
    assert lacking([*DRIVERS, "bacnet"]) == {"bacnet"}


@asynccontextmanager
async def opened(kind: type[FarEnd], folder: Path, **rest: Any) -> AsyncIterator[tuple[FarEnd, Driver]]:
    end = kind(folder)
    await end.start()
    driver = end.made(now_ms, **rest)
    try:
        await driver.open()
        assert driver.is_open
        yield end, driver
    finally:
        await driver.close()
        with suppress(FileNotFoundError):  # the test stopped it itself
            await end.stop()


async def right(end: FarEnd, driver: Driver, role: str = "good") -> None:
    """One answer is one that this device gave to this request."""
    _, value = await end.ask(driver, role)
    assert value in end.served(role)


@every(FAR_ENDS)
async def test_answers_have_the_value_served_and_the_time_at_which_they_came(
    kind: type[FarEnd], tmp_path: Path
) -> None:
    async with opened(kind, tmp_path, timeout_s=2.0) as (end, driver):
        stamps, values = [], []
        for i in range(8):
            asked_ms = now_ms()
            ts_ms, value = await end.ask(driver, item=i % end.items)
            assert value in end.served("good", i % end.items)[-3:]
            assert (0 if end.streams else asked_ms) <= ts_ms <= now_ms()
            stamps.append(ts_ms)
            values.append(value)
            await asyncio.sleep(0.01)
        assert stamps == sorted(stamps) and stamps[-1] > stamps[0]
        assert len(set(values)) > 1, "the device must have something to say"
        assert driver.late == 0


@every(POLLED)
async def test_a_silent_device_is_told_in_time_and_costs_its_neighbour_nothing(
    kind: type[FarEnd], tmp_path: Path
) -> None:
    async with opened(kind, tmp_path) as (end, driver):
        for _ in range(2):
            start_s = time.monotonic()
            with pytest.raises(DeviceSilent, match="no answer within"):
                await end.ask(driver, "silent")
            assert TIMEOUT_S <= time.monotonic() - start_s < TIMEOUT_S + 20.0
            await right(end, driver, "good")
            await right(end, driver, "next")


@every(POLLED)
async def test_a_refusal_is_told_as_such_where_the_protocol_knows_it(kind: type[FarEnd], tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as (end, driver):
        expected = DeviceGarbled if end.refusal is None else DeviceRefused
        with pytest.raises(expected) as caught:
            await end.ask(driver, "refused")
        assert getattr(caught.value, "code", None) == end.refusal
        await right(end, driver)


@every(POLLED)
async def test_what_is_not_the_answer_is_never_a_value(kind: type[FarEnd], tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as (end, driver):
        for role in {"garbled", "strange"} & set(end.roles):
            with pytest.raises(DeviceGarbled):
                await end.ask(driver, role)
            await right(end, driver)
            assert driver.is_open


async def test_a_stream_that_nobody_understands_brings_no_value(tmp_path: Path) -> None:
    async with opened(NoisyRoad, tmp_path) as (end, driver):
        assert [(await end.ask(driver))[1] for _ in range(5)] == [None] * 5


@every(POLLED)
async def test_late_answers_never_become_the_value_of_another_request(kind: type[FarEnd], tmp_path: Path) -> None:
    late = read = 0
    async with opened(kind, tmp_path) as (end, driver):
        for i in range(6):
            asked = [("late", i % end.items), *[(("good", "next")[j % 2], (i + j) % end.items) for j in range(3)]]
            for role, item in asked:
                try:
                    _, value = await end.ask(driver, role, item)
                except (DeviceSilent, DeviceGarbled):
                    late += 1
                    continue
                assert value in end.served(role, item)
                read += 1
                await asyncio.sleep(TIMEOUT_S / 4)
        assert read >= 6 and late >= 1 and driver.late > 0, "the test must meet both"


@every(FAR_ENDS)
async def test_a_line_that_goes_away_is_line_down_and_can_be_opened_again(kind: type[FarEnd], tmp_path: Path) -> None:
    async with opened(kind, tmp_path, timeout_s=0.4) as (end, driver):
        await right(end, driver)
        waiting = asyncio.create_task(end.ask(driver, "silent" if "silent" in end.roles else "good"))
        await asyncio.sleep(0.05 if not end.streams else 0)
        start_s = time.monotonic()
        await end.stop()
        with pytest.raises(LineDown):
            await waiting
            await end.ask(driver)  # the frame that was under way, or a quick answer
            await end.ask(driver)
        assert time.monotonic() - start_s < 20.0
        for _ in range(2):
            with pytest.raises(LineDown):
                await end.ask(driver)
            with pytest.raises(LineDown, match=str(end.line().port)):
                await driver.open()
            assert not driver.is_open
        await end.start()
        await driver.open()
        await right(end, driver)


@every(FAR_ENDS)
async def test_a_line_that_went_away_unnoticed_is_line_down_at_the_next_request(
    kind: type[FarEnd], tmp_path: Path
) -> None:
    async with opened(kind, tmp_path) as (end, driver):
        await right(end, driver)
        await end.stop()
        await asyncio.sleep(0.02)
        with pytest.raises(LineDown):
            for _ in range(1 + 100 * end.streams):  # what was heard before is still told
                await end.ask(driver)
        await end.start()
        await driver.open()
        await right(end, driver)


@every([ModbusTcp, ModbusRtuTcp])
async def test_a_half_open_connection_is_silence_and_a_new_one_heals_it(kind: type[FarEnd], tmp_path: Path) -> None:
    class HalfOpen(kind):  # type: ignore[misc, valid-type]
        def faults(self) -> str:
            return "  - {device: good, kind: half_open, at_s: 0, for_s: 60}\n"  # a bit more than a second

    async with opened(HalfOpen, tmp_path) as (end, driver):
        with pytest.raises(DeviceSilent):
            await end.ask(driver)
        async with asyncio.timeout(60):
            while True:
                with suppress(DeviceSilent):
                    await end.ask(driver)
                    break
        await driver.open()
        await right(end, driver)


@every(FAR_ENDS)
async def test_a_cancellation_passes_at_once_and_leaves_the_line_usable(kind: type[FarEnd], tmp_path: Path) -> None:
    role = "silent" if "silent" in kind.roles else "good"
    async with opened(kind, tmp_path, timeout_s=2.0) as (end, driver):
        cancelled = 0
        for _ in range(20):
            if cancelled == 2:
                break
            waiting = asyncio.create_task(end.ask(driver, role))
            await asyncio.sleep(0.03 if role == "silent" else 0)
            if not waiting.cancel():
                continue  # a frame that had come before is told at once
            for _ in range(100):  # turns of the event loop, none of which waits for anything
                await asyncio.sleep(0)
            assert waiting.cancelled()
            cancelled += 1
            await right(end, driver)
        assert cancelled == 2


@every(FAR_ENDS)
async def test_a_cancellation_that_meets_the_answer_is_not_lost(kind: type[FarEnd], tmp_path: Path) -> None:
    asking: list[asyncio.Task[Any]] = []
    end = kind(tmp_path)
    await end.start()

    def clock() -> int:  # called when an answer has come, before anybody has it
        return now_ms() + sum(task.cancel() for task in asking)

    driver = end.made(clock, timeout_s=2.0)
    await driver.open()
    await right(end, driver)
    met = 0
    for _ in range(20):
        if met == 3:
            break
        asking.append(asyncio.create_task(end.ask(driver)))
        await asyncio.wait(asking)
        # A frame that had come before is told at once: then there was nothing to cancel.
        assert asking[0].cancelled() is bool(asking[0].cancelling()), "the cancellation was swallowed"
        met += asking.pop().cancelled()
    assert met == 3
    await right(end, driver)
    await driver.close()
    await end.stop()


@every(FAR_ENDS)
async def test_closing_twice_is_well_and_gives_the_port_back(kind: type[FarEnd], tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as (end, driver):
        never = end.made(now_ms)
        await never.close()
        assert not never.is_open
        with pytest.raises(LineDown, match="not open"):
            await end.ask(never)
        for _ in range(2):
            await driver.close()
            assert not driver.is_open
        with pytest.raises(LineDown, match="not open"):
            await end.ask(driver)
        if not end.line().host:
            serial.Serial(str(end.port), exclusive=True).close()
        await driver.open()
        await driver.open()  # opening an open line is a fresh start
        await right(end, driver)


@every(FAR_ENDS)
async def test_nothing_is_left_behind(kind: type[FarEnd], tmp_path: Path) -> None:
    """No task, no file, no socket, whichever way a line ends."""
    end = kind(tmp_path)
    await end.start()
    driver = end.made(now_ms)
    await driver.open()
    await end.ask(driver)
    await driver.close()
    await asyncio.sleep(0.05)
    before = ours()
    for i in range(12):
        opening = asyncio.create_task(driver.open())
        for _ in range(i):
            await asyncio.sleep(0)
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening
            asking = asyncio.create_task(end.ask(driver))
            await asyncio.sleep(0)
            asking.cancel()
            await asking
        await driver.close()
    await driver.open()
    await right(end, driver)
    await driver.close()
    async with asyncio.timeout(60):
        while ours() != before:
            await asyncio.sleep(0.01)
    await end.stop()


def ours() -> tuple[int, int]:
    """Open files, and tasks that run."""
    return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
