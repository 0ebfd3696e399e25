"""The one owner of one line: opens it, keeps every device's period, reopens it with back-off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from agent.command import Desk
from agent.driver import Clock, Driver
from agent.framed_unit import FramedUnit
from agent.status import LineStatus
from agent.stream import streamed
from agent.turns import Turns
from agent.unit import Poll, Unit
from wire.errors import LineDown

log = logging.getLogger(__name__)

LONGEST_BACK_OFF_S = 30.0


def delay_s(attempt: int, jitter: float, cap_s: float = LONGEST_BACK_OFF_S) -> float:
    """Full-jitter back-off; the caller rolls jitter in [0, 1)."""
    return jitter * min(cap_s, 2.0 ** min(attempt, 10))


async def polls(
    units: Sequence[Unit],
    driver: Driver,
    clock: Clock,
    status: LineStatus,
    dice: Callable[[], float],
    desk: Desk | None = None,
) -> AsyncGenerator[Poll, None]:
    """Every poll of every device on the line, until closed or cancelled; between them what waits at the desk."""
    desk = desk or Desk()
    attempt = 0
    framed = [unit for unit in units if isinstance(unit, FramedUnit)]
    streams = units[0].streams
    try:
        while True:
            try:
                await driver.open()
            except LineDown as fault:
                for poll in _all_missed(units, clock, fault):
                    yield poll
                attempt = await _back_off(attempt, status, dice, fault)
                continue
            if attempt:
                log.warning("line is open again", extra={"line": status.name, "attempts": attempt})
            status.state = "open"
            for unit in units:
                unit.breaker.probe_now()
            session = streamed(framed, driver, clock, status) if streams else _asked(units, driver, clock, status, desk)
            down = LineDown("the line was lost")
            async with aclosing(session):
                async for poll in session:
                    status.late_rejected = driver.late
                    attempt = 0 if poll.answered else attempt
                    yield poll
                    down = poll.fault or down
            if streams:
                for poll in _all_missed(units, clock, down):
                    yield poll
            attempt = await _back_off(attempt, status, dice, down)
    finally:
        status.state = "closed"
        await driver.close()


async def _back_off(attempt: int, status: LineStatus, dice: Callable[[], float], fault: LineDown) -> int:
    """Waits before the next attempt; its number comes back."""
    status.state = "backing-off"
    status.reconnects += 1
    status.last_error = str(fault)
    wait_s = delay_s(attempt, dice())
    level = logging.DEBUG if attempt else logging.WARNING
    log.log(level, "line is down", extra={"line": status.name, "error": str(fault), "next_try_s": round(wait_s, 2)})
    await asyncio.sleep(wait_s)
    return attempt + 1


def _all_missed(units: Sequence[Unit], clock: Clock, fault: LineDown) -> list[Poll]:
    now_s = asyncio.get_running_loop().time()
    return [unit.missed(clock, now_s, fault) for unit in units]


async def _asked(
    units: Sequence[Unit], driver: Driver, clock: Clock, status: LineStatus, desk: Desk
) -> AsyncGenerator[Poll, None]:  # fmt: skip
    """Polls each device at its period until the line goes down. A poll that is too late for its turn is skipped."""
    loop = asyncio.get_running_loop()
    turns = Turns(units, [unit.periods_s for unit in units], loop.time())
    while True:
        turn = turns.probe(loop.time())
        if turn is None:
            turn = turns.next()
            await desk.until(turn.due_s, driver, clock)
        unit, began_s = units[turn.unit], loop.time()
        silent = False
        if unit.lost and not turn.probe:
            if unit.breaker.may_ask(began_s):
                turns.wants_probe(turn)
        else:
            if not driver.is_open:
                # Many devices close an idle connection: no fault, as long as they take the next one.
                status.reconnects += 1
                try:
                    await driver.open()
                except LineDown as fault:
                    yield replace(unit.missed(clock, loop.time(), fault), fault=fault)
                    return
            faults = unit.status.timeouts + unit.status.garbled
            poll = await unit.ask(driver, clock, began_s, turn.period_s)
            silent = unit.status.timeouts + unit.status.garbled > faults
            yield poll
            if poll.fault is not None:
                return
        status.overruns += turns.done(turn, began_s, loop.time(), silent)
