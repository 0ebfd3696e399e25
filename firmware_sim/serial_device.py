"""Devices on a serial line that are not Modbus: they stream frames by themselves, or answer when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from firmware_sim.clock import SimClock
from firmware_sim.devices.device import PolledDevice, Said, StreamingDevice
from firmware_sim.faults import FaultSettings
from firmware_sim.present import Present
from firmware_sim.pty_port import PtyPort
from firmware_sim.speaking import Mouth
from firmware_sim.truth import Truth
from firmware_sim.unit import MUTE


class SerialDevice:
    """One device on the line, with what faults do to its frames."""

    def __init__(self, name: str, present: Present, clock: SimClock, truth: Truth) -> None:
        self.name, self.present = name, present
        self.clock, self._truth = clock, truth

    def fault(self) -> tuple[FaultSettings | None, float]:
        """What hits the frame of now, and how much later it makes it."""
        hit = self.present.plan.hit(self.clock.t_s())
        if hit is None:
            return None, 0.0
        self._truth.marred(self.name, self.clock.now_ms(), hit.fault.kind)
        return hit.fault, hit.delay_s() if hit.fault.kind == "late" else 0.0

    async def say(self, mouth: Mouth, said: Said, true: Said, fault: FaultSettings | None) -> None:
        """Sends one frame; the truth has its values once its last byte leaves."""
        frame, values = said
        if fault is not None and fault.kind == "garbled":
            frame, values = garbled(frame), {}
        differing = {name: value for name, value in true[1].items() if name in values and values[name] != value}

        def leaving() -> None:
            if values:
                self._truth.served(self.name, self.clock.now_ms(), values, differing)

        await mouth.say(frame, fault, leaving)


class StreamingLine:
    """Sends the frames of each step of its device at its begin, whether somebody reads or not."""

    def __init__(self, kind: str, port: PtyPort, serial: SerialDevice, device: StreamingDevice) -> None:
        self._kind, self._port = kind, port
        self._serial, self._device = serial, device
        self._mouth = Mouth(port.send, paced=True)

    def open(self) -> dict[str, object]:
        return {"kind": self._kind, "port": str(self._port.open())}

    def close(self) -> None:
        self._port.close()

    async def serve(self) -> None:
        """Sends until cancelled. What readers write is read and forgotten."""
        self._port.on_bytes(lambda _: None)
        clock, step = self._serial.clock, 0
        try:
            while True:
                await clock.until(step * self._device.step_s)
                await self._send(step)
                # After a pause of the whole process the missed lines are lost, as on a real line.
                step = max(step + 1, int(clock.t_s() / self._device.step_s))
        finally:
            self._port.deaf()

    async def _send(self, step: int) -> None:
        now = self._serial.present.now(self._serial.clock.t_s(), step)
        frames = self._device.frames(step, now.served)
        exact = frames if now.served is now.true else self._device.frames(step, now.true)
        if not frames:
            return
        fault, delay_s = self._serial.fault()
        if fault is not None and fault.kind in MUTE:
            return
        await asyncio.sleep(delay_s)
        for said, true in zip(frames, exact, strict=True):
            await self._serial.say(self._mouth, said, true, fault)


class PolledLine:
    """Devices of one kind on one line: each answers requests with its own address."""

    def __init__(
        self, kind: str, port: PtyPort, turnaround_s: float, devices: Sequence[tuple[SerialDevice, PolledDevice]]
    ) -> None:
        self._kind, self._port, self._turnaround_s = kind, port, turnaround_s
        self._devices = devices
        self._heard = bytearray()
        self._something = asyncio.Event()
        self._mouth = Mouth(port.send, paced=True)

    def open(self) -> dict[str, object]:
        return {"kind": self._kind, "port": str(self._port.open())}

    def close(self) -> None:
        self._port.close()

    async def serve(self) -> None:
        """Answers until cancelled."""
        self._port.on_bytes(self._hear)
        try:
            async with asyncio.TaskGroup() as replies:
                while True:
                    await self._something.wait()
                    self._something.clear()
                    while (request := self._devices[0][1].take(self._heard)) is not None:
                        for serial, device in self._devices:
                            self._ask(serial, device, request, replies)
        finally:
            self._port.deaf()

    def _hear(self, data: bytes) -> None:
        self._heard += data
        del self._heard[:-4096]
        self._something.set()

    def _ask(self, serial: SerialDevice, device: PolledDevice, request: bytes, replies: asyncio.TaskGroup) -> None:
        now = serial.present.now(serial.clock.t_s())
        said = device.answer(request, now.served)
        if said is None:
            return  # for another address
        fault, delay_s = serial.fault()
        kind = None if fault is None else fault.kind
        if kind in MUTE:
            return
        true = said if now.served is now.true else device.answer(request, now.true) or said
        if kind == "refused":
            said = Said(device.refusal(request), {})
        elif kind == "wrong_unit":
            said = Said(device.misaddressed(said.frame), said.values)
        wait_s = self._turnaround_s + len(request) * self._port.char_s + delay_s
        replies.create_task(self._later(serial, wait_s, said, true, fault), name=f"reply[{serial.name}]")

    async def _later(
        self, serial: SerialDevice, wait_s: float, said: Said, true: Said, fault: FaultSettings | None
    ) -> None:
        await asyncio.sleep(wait_s)
        await serial.say(self._mouth, said, true, fault)


def garbled(frame: bytes) -> bytes:
    """Every third character with its top bit turned, as noise on a line without parity does; the end survives."""
    text, end = frame[:-2], frame[-2:]
    return bytes(byte ^ 0x80 if at % 3 == 1 else byte for at, byte in enumerate(text)) + end
