"""A device that streams lines of text over a serial line, whether somebody reads or not."""

from __future__ import annotations

import asyncio

from firmware_sim.clock import SimClock
from firmware_sim.devices.device import TextDevice
from firmware_sim.faults import FaultPlan
from firmware_sim.pty_port import PtyPort
from firmware_sim.truth import Truth


class SerialDevice:
    """Sends one line at the begin of each step of its device."""

    def __init__(
        self, name: str, port: PtyPort, device: TextDevice, faults: FaultPlan, clock: SimClock, truth: Truth
    ) -> None:
        self._name, self._port, self._device = name, port, device
        self._faults, self._clock, self._truth = faults, clock, truth

    def open(self) -> dict[str, object]:
        return {"kind": "serial-text", "port": str(self._port.open())}

    def close(self) -> None:
        self._port.close()

    async def serve(self) -> None:
        """Sends until cancelled. What readers write is read and forgotten."""
        self._port.on_bytes(lambda _: None)
        step = 0
        try:
            while True:
                await asyncio.sleep(step * self._device.step_s - self._clock.t_s())
                await self._send(step)
                # After a pause of the whole process the missed lines are lost, as on a real line.
                step = max(step + 1, int(self._clock.t_s() / self._device.step_s))
        finally:
            self._port.deaf()

    async def _send(self, step: int) -> None:
        fault = self._faults.now(self._clock.t_s())
        kind = None if fault is None else fault.kind
        if kind == "silent":
            return
        if fault is not None and kind == "late":
            await asyncio.sleep(fault.delay_s)
        line, values = self._device.line(step)
        if kind == "garbled":
            line = _garbled(line)
        await self._port.send(
            line, lambda: None if kind == "garbled" else self._truth.served(self._name, self._clock.now_ms(), values)
        )


def _garbled(line: bytes) -> bytes:
    """Every third character with its top bit set, as noise on a line without parity does; the line's end survives."""
    text, end = line[:-2], line[-2:]
    return bytes(byte | 0x80 if at % 3 == 1 else byte for at, byte in enumerate(text)) + end
