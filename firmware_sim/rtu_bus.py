"""Modbus RTU: one serial line, several units, one speaker at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from firmware_sim.modbus_frame import parse_rtu, rtu_frame, silence_s
from firmware_sim.pty_port import PtyPort
from firmware_sim.unit import ModbusUnit, Reply


class RtuBus:
    """A request takes its time on the wire, ends with t3.5 of silence, and is answered at the wire's pace."""

    def __init__(
        self, port: PtyPort, baud: int, bits_per_char: int, turnaround_s: float, units: Mapping[int, ModbusUnit]
    ) -> None:
        self._port, self._units = port, units
        self._silence_s = silence_s(baud, bits_per_char)
        self._turnaround_s = turnaround_s
        self._heard = bytearray()
        self._heard_until = 0.0  # when the last byte heard would have left a real wire
        self._something = asyncio.Event()
        self._talking = asyncio.Lock()

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
                    request = parse_rtu(await self._frame())
                    if request is None or (unit := self._units.get(request[0])) is None:
                        continue  # not for us, or broken: a device on a bus says nothing
                    reply = unit.reply(request[1])
                    if reply is not None:
                        replies.create_task(self._speak(request[0], unit, reply), name=f"reply[{request[0]}]")
        finally:
            self._port.deaf()

    def _hear(self, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        self._heard_until = max(self._heard_until, now) + len(data) * self._port.char_s
        self._heard += data
        self._something.set()

    async def _frame(self) -> bytes:
        """The next bytes between two silences of t3.5."""
        await self._something.wait()
        loop = asyncio.get_running_loop()
        while True:  # each byte that comes meanwhile puts the end off
            left_s = self._heard_until + self._silence_s - loop.time()
            if left_s <= 0:
                break
            await asyncio.sleep(left_s)
        frame = bytes(self._heard)
        self._heard.clear()
        self._something.clear()
        return frame

    async def _speak(self, unit_id: int, unit: ModbusUnit, reply: Reply) -> None:
        await asyncio.sleep(self._turnaround_s + reply.delay_s)
        frame = rtu_frame(unit_id, reply.pdu)
        if reply.garbled:
            frame = frame[:-2] + bytes((frame[-2] ^ 0x5A, frame[-1]))
        async with self._talking:
            await self._port.send(frame, lambda: unit.sent(reply))
