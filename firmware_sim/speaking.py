"""From an answer to bytes on a link, and what faults do to frames in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from firmware_sim.faults import FaultSettings

Leaving = Callable[[], None]


class Mouth:
    """One speaker at a time on one link. `send` puts bytes onto it and calls `leaving` just before the last one.

    paced: a wire, on which merged frames leave one directly behind the other; else they go in one piece.
    """

    def __init__(self, send: Callable[[bytes, Leaving], Awaitable[None]], *, paced: bool = False) -> None:
        self._send, self._paced = send, paced
        self._talking = asyncio.Lock()
        self._held: list[tuple[bytes, Leaving]] = []

    async def say(self, frame: bytes, fault: FaultSettings | None, leaving: Leaving) -> None:
        """A merged frame waits for the next one; a split one goes in two pieces."""
        kind = None if fault is None else fault.kind
        if kind == "merged" and not self._held:
            self._held.append((frame, leaving))
            return
        async with self._talking:
            held, self._held = self._held, []
            frames, departures = [each[0] for each in held] + [frame], [each[1] for each in held] + [leaving]
            if self._paced and kind != "split":
                for each, leaves in zip(frames, departures, strict=True):
                    await self._send(each, leaves)
                return
            whole = b"".join(frames)
            if fault is not None and kind == "split":
                cut = max(1, len(whole) // 2)
                await self._send(whole[:cut], lambda: None)
                await asyncio.sleep(fault.gap_s)
                whole = whole[cut:]

            def all_leave() -> None:
                for each in departures:
                    each()

            await self._send(whole, all_leave)


class Stream:
    """A TCP connection as something to speak to."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, data: bytes, leaving: Leaving) -> None:
        leaving()
        self._writer.write(data)
        await self._writer.drain()


def next_unit(unit_id: int) -> int:
    """The unit id under which a wrong unit answers."""
    return unit_id % 247 + 1


def broken(frame: bytes) -> bytes:
    """An RTU frame with a wrong CRC: its low byte has other bits."""
    return frame[:-2] + bytes((frame[-2] ^ 0x5A, frame[-1]))
