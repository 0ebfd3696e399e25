"""A guarded write: what stood there, the write, what stands there then. Carried out by the one owner of the line."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

from agent.decode import SpanDecoder
from agent.driver import Clock, Driver, WordArray
from agent.plan import plan_device
from agent.spec import DeviceSpec, PointSpec, Table
from wire.block import Value
from wire.errors import DeviceGarbled, DeviceRefused, DeviceSilent, FieldError, LineDown

Result = Literal["done", "mismatch", "refused", "unknown", "failed"]
"""done: read back as written. mismatch: something else stands there. refused: by the device. unknown: it may have been
written, but could not be read back. failed: nothing was written."""


@runtime_checkable
class Writer(Driver, Protocol):
    """A line that can be written to. Raises as read does."""

    async def write(self, unit_id: int, table: Table, address: int, words: Sequence[int]) -> None: ...


@dataclass(frozen=True, slots=True)
class Write:
    """words: as they go over the wire (agent.encode); one 0 or 1 for a single bit of a register."""

    device: DeviceSpec
    point: PointSpec
    words: tuple[int, ...]

    @property
    def is_bit(self) -> bool:
        return self.point.table == "holding" and self.point.type == "bool"

    def onto(self, before: WordArray) -> tuple[int, ...]:
        """The words to send: of a single bit, the register as it was read with that bit set or cleared."""
        if not self.is_bit:
            return self.words
        mask = 1 << (self.point.bit or 0)
        return ((int(before[0]) | mask) if self.words[0] else (int(before[0]) & ~mask),)

    def done(self, after: WordArray) -> bool:
        """True when what was read back is what was meant; other bits of its register may move meanwhile."""
        if self.is_bit:
            return (int(after[0]) >> (self.point.bit or 0)) & 1 == self.words[0]
        return [int(word) for word in after] == list(self.words)


@dataclass(frozen=True, slots=True)
class Outcome:
    """before, after: engineering values; None when they could not be read. error: '' when done."""

    result: Result
    before: Value | None = None
    after: Value | None = None
    error: str = ""


async def carry_out(driver: Driver, write: Write, clock: Clock) -> Outcome:
    """Never raises a FieldError: what happened to it is the outcome."""
    if not isinstance(driver, Writer):
        return Outcome("failed", error="the devices of this line cannot be written to")
    (planned,) = plan_device(replace(write.device, points=(write.point,)))
    decoder, unit_id, span = SpanDecoder(planned), write.device.unit_id, planned.span
    before: Value | None = None
    try:
        if not driver.is_open:
            await driver.open()
        found = (await driver.read(unit_id, span)).words
        before = decoder.block(clock(), found).value(0)
        error = ""
        try:
            # Between that read and this write nobody of ours asks the line; another master, or the device itself, may
            # change the other bits of a register, and would be overwritten. There is no way around it but function 22,
            # which few devices know.
            await driver.write(unit_id, span.table, span.address, write.onto(found))
        except DeviceRefused as fault:
            return Outcome("refused", before, before, str(fault))
        except (DeviceSilent, DeviceGarbled, LineDown) as fault:
            error = f"the write was not answered ({fault})"
    except FieldError as fault:
        return Outcome("failed", before, None, str(fault))
    try:
        if not driver.is_open:
            await driver.open()
        words = (await driver.read(unit_id, span)).words
    except FieldError as fault:
        return Outcome("unknown", before, None, "; ".join(filter(None, [error, f"it cannot be read back: {fault}"])))
    after = decoder.block(clock(), words).value(0)
    if write.done(words):
        return Outcome("done", before, after)
    return Outcome("mismatch", before, after, error or "the device shows another value than was written")


class Desk:
    """Writes that wait for the owner of one line. One whose asker has gone is not carried out."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Write, asyncio.Future[Outcome]]] = deque()
        self._news = asyncio.Event()

    async def ask(self, write: Write, at_most_s: float) -> Outcome:
        """Raises TimeoutError when the owner did not come to it; it will not be carried out then."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((write, answer))
        self._news.set()
        try:
            async with asyncio.timeout(at_most_s) as deadline:
                return await answer
        except TimeoutError:
            if deadline.expired():
                raise TimeoutError(f"the line did not come to it within {at_most_s:g} s") from None
            raise

    async def until(self, due_s: float, driver: Driver, clock: Clock) -> None:
        """Carries out what waits and comes, until due_s of the loop's clock; what waits also when that is past."""
        loop = asyncio.get_running_loop()
        while True:
            while self._waiting:
                write, answer = self._waiting.popleft()
                if answer.done():
                    continue
                outcome = await carry_out(driver, write, clock)
                if not answer.done():
                    answer.set_result(outcome)
            if loop.time() >= due_s:
                return
            self._news.clear()
            try:
                async with asyncio.timeout_at(due_s):
                    await self._news.wait()
            except TimeoutError:
                return
