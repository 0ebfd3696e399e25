"""Modbus RTU: one serial line, several units, one speaker at a time."""

from __future__ import annotations

import asyncio

from firmware_sim.modbus_frame import longest_gap_s, silence_s
from firmware_sim.pty_port import PtyPort
from firmware_sim.rtu_units import RtuUnits
from firmware_sim.speaking import Mouth


class RtuBus:
    """A request takes its time on the wire, ends with t3.5 of silence, and is answered at the wire's pace.

    With `strict_gaps` a frame with a pause longer than t1.5 in it is dropped, as the specification demands and few
    devices do.
    """

    def __init__(self, port: PtyPort, baud: int, bits_per_char: int, units: RtuUnits, *, strict_gaps: bool) -> None:
        self._port, self._units = port, units
        self._silence_s = silence_s(baud, bits_per_char)
        self._longest_gap_s = longest_gap_s(baud, bits_per_char) if strict_gaps else None
        self._heard = bytearray()
        self._heard_until = 0.0  # when the last byte heard would have left a real wire
        self._torn = False
        self._something = asyncio.Event()
        self._mouth = Mouth(port.send, paced=True)

    def open(self) -> dict[str, object]:
        return {"kind": "modbus-rtu", "port": str(self._port.open())}

    def close(self) -> None:
        self._port.close()

    async def serve(self) -> None:
        """Answers until cancelled."""
        self._port.on_bytes(self._hear)
        try:
            async with asyncio.TaskGroup() as replies:
                while True:
                    self._units.hear(await self._frame(), self._mouth, replies)
        finally:
            self._port.deaf()

    def _hear(self, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if self._longest_gap_s is not None and self._heard and now - self._heard_until > self._longest_gap_s:
            self._torn = True
        self._heard_until = max(self._heard_until, now) + len(data) * self._port.char_s
        self._heard += data
        self._something.set()

    async def _frame(self) -> bytes:
        """The next bytes between two silences of t3.5; none where the frame was torn."""
        await self._something.wait()
        loop = asyncio.get_running_loop()
        while True:  # each byte that comes meanwhile puts the end off
            left_s = self._heard_until + self._silence_s - loop.time()
            if left_s <= 0:
                break
            await asyncio.sleep(left_s)
        frame = b"" if self._torn else bytes(self._heard)
        self._heard.clear()
        self._something.clear()
        self._torn = False
        return frame
