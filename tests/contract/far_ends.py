"""The far end of every driver: simulated devices behind a socket or pseudo-terminal, each with a fault of its own.

What the simulator has not (text lines with several devices, binary ones that stream, device servers) speaks here by
a script, over a real pseudo-terminal or socket all the same.
"""

from __future__ import annotations

import asyncio
import os
import pty
import re
import tty
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from agent.driver import Clock, Driver, Frame, Span
from agent.drivers import DRIVERS
from agent.drivers.dlt645 import Dlt645Driver
from agent.drivers.framed_serial import FramedSerialDriver
from agent.frame_spec import BinarySpec, ChecksumSpec, FrameSpec
from agent.spec import DeviceSpec, DriverName, LineSpec
from tests.agent.points import device, point
from tests.firmware_sim.running import running_text, truth
from tests.servers import free_port

TIMEOUT_S = 0.3
ROLES = ("good", "next", "silent", "refused", "garbled", "strange", "late")
_FAULTS = {
    "silent": "kind: silent", "refused": "kind: refused", "garbled": "kind: garbled", "strange": "kind: wrong_unit",
    "late": f"kind: late, chance: 0.6, delay_s: {1.2 * TIMEOUT_S}, delay_max_s: {3 * TIMEOUT_S}",
}  # fmt: skip
Said = tuple[int, Any]


class FarEnd(ABC):
    """Devices by their role. roles: those that it has. refusal: the code of its refusals, None where it knows none."""

    driver: DriverName
    roles: tuple[str, ...] = ROLES
    refusal: int | None = None
    items = 1
    streams = False
    socket = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port: int | str = free_port() if self.socket else str(folder / "port")

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None:
        """The port is pulled out; the connection ends, and nobody listens any more."""

    @abstractmethod
    async def ask(self, driver: Any, role: str = "good", item: int = 0) -> Said:
        """Stamp and value of one answer; None: what came fits no description."""

    @abstractmethod
    def served(self, role: str = "good", item: int = 0) -> list[Any]:
        """All that was really said so far."""

    @property
    def devices(self) -> tuple[DeviceSpec, ...]:
        return ()

    def line(self, **rest: Any) -> LineSpec:
        where: dict[str, Any] = {"host": "127.0.0.1" if self.socket else "", "port": self.port}
        usual: dict[str, Any] = {"baud": 115200, "timeout_s": TIMEOUT_S, "quiet_s": 0.01, "devices": self.devices}
        return LineSpec("line", self.driver, **where | usual | rest)

    def made(self, clock: Clock, **rest: Any) -> Driver:
        return DRIVERS[self.driver](self.line(**rest), clock)


class Simulated(FarEnd):
    """Devices of the simulator."""

    kind: str

    async def start(self) -> None:
        self._running = AsyncExitStack()
        where = f"port: {self.port}" + ("" if self.socket else ", baud: 115200, turnaround_s: 0")
        devices = "".join(f"  - {{id: {role}, line: line, {self.model(i)}}}\n" for i, role in enumerate(self.roles))
        text = f"name: bench\nspeed: 50\nlines:\n  - {{name: line, kind: {self.kind}, {where}}}\ndevices:\n{devices}"
        await self._running.enter_async_context(running_text(self.folder, text, self.faults()))

    async def stop(self) -> None:
        await self._running.aclose()

    def faults(self) -> str:
        found = {role: fault for role, fault in _FAULTS.items() if role in self.roles}
        return "".join(f"  - {{device: {role}, at_s: 0, for_s: 1e6, {fault}}}\n" for role, fault in found.items())

    @abstractmethod
    def model(self, i: int) -> str: ...

    @abstractmethod
    def said(self, values: dict[str, Any], item: int) -> Any:
        """The value of a record of the truth; None: the record is of another item."""

    def served(self, role: str = "good", item: int = 0) -> list[Any]:
        found = (self.said(r["values"], item) for r in truth(self.folder, "served", role))
        return [value for value in found if value is not None]


class ModbusRtu(Simulated):
    """Two counters a unit, in ranges of their own."""

    driver: DriverName = "modbus-rtu"
    kind, refusal, items = "modbus-rtu", 4, 2

    def model(self, i: int) -> str:
        signals = ", ".join(
            f"{{name: v{item}, address: {2 * item}, type: uint32, "
            f"source: {{kind: counter, start: {1e6 * (2 * i + item + 1):.0f}, rate_per_s: 20}}}}"
            for item in range(2)
        )
        return f"model: registers, unit_id: {10 * i + 1}, step_s: 0.05, signals: [{signals}]"

    async def ask(self, driver: Driver, role: str = "good", item: int = 0) -> Said:
        answer = await driver.read(10 * self.roles.index(role) + 1, Span("holding", 2 * item, 2))
        return answer.ts_ms, int(answer.words[0]) << 16 | int(answer.words[1])

    def said(self, values: dict[str, Any], item: int) -> Any:
        return values.get(f"v{item}")


class ModbusRtuTcp(ModbusRtu):
    driver, kind, socket = "modbus-rtu-tcp", "rtu-over-tcp", True


class ModbusTcp(ModbusRtu):
    driver, kind, socket = "modbus-tcp", "modbus-tcp", True
    roles = tuple(role for role in ROLES if role != "garbled")  # TCP keeps its bytes


class Meters(Simulated):
    """Electricity meters: power and a current, three bytes each."""

    driver, kind, refusal, items = "dlt645", "serial-binary", 2, 2
    _ASKED = ((0x02030000, "power", 10_000), (0x02020100, "current_a", 1000))

    def model(self, i: int) -> str:
        return f'model: dlt645_meter, address: "{_meter(i)}"'

    @property
    def devices(self) -> tuple[DeviceSpec, ...]:
        return (device(point("p", None, raw="float64", field="power"), meter=_meter(0)),)

    async def ask(self, driver: Dlt645Driver, role: str = "good", item: int = 0) -> Said:
        data_id, _, digits = self._ASKED[item]
        frame = await driver.fetch(_meter(self.roles.index(role)), data_id)
        assert isinstance(frame.content, bytes) and len(frame.content) == 3
        return frame.ts_ms, int(frame.content[::-1].hex()) / digits

    def said(self, values: dict[str, Any], item: int) -> Any:
        return values.get(self._ASKED[item][1])


def _meter(i: int) -> str:
    return f"{10 * i:012d}"


ZONES = FrameSpec(
    binary=BinarySpec(b"\xaa\x55", length_at=4, length_add=6, checksum=ChecksumSpec("sum8", 2, -1, little=False))
)


class Zones(Simulated):
    """Parking controllers; their refusal is just another frame."""

    driver, kind = "serial-binary", "serial-binary"

    def model(self, i: int) -> str:
        return f"model: parking_controller, unit_id: {10 * i + 1}, zones: 3"

    @property
    def devices(self) -> tuple[DeviceSpec, ...]:
        return (device(point("v", None, 8, when=(("3", "129"),)), frame=ZONES, request=b"?"),)

    async def ask(self, driver: FramedSerialDriver, role: str = "good", item: int = 0) -> Said:
        address = 10 * self.roles.index(role) + 1
        request = bytes((0xAA, 0x55, address, 1, 0, address + 1))
        frame = await driver.query(role, request, lambda c: isinstance(c, bytes) and c[2:4] == bytes((address, 0x81)))
        assert isinstance(frame.content, bytes) and frame.content[4] == 18
        return frame.ts_ms, tuple(frame.content[9 + 6 * zone] for zone in range(3))

    def said(self, values: dict[str, Any], item: int) -> Any:
        return tuple(values[f"zone{zone}_occupied"] for zone in (1, 2, 3))


class Scale(Simulated):
    """One weighing indicator."""

    driver, kind, roles = "serial-text", "serial-text", ("good",)
    _LINE = re.compile(r"(ST|US|OL),GS,(?P<kg>[+-]\d+\.\d)kg$")

    def model(self, i: int) -> str:
        return "model: weighing"

    @property
    def devices(self) -> tuple[DeviceSpec, ...]:
        return (device(point("kg", None, field="kg"), frame=FrameSpec(self._LINE.pattern), request=b"Q\r\n"),)

    async def ask(self, driver: FramedSerialDriver, role: str = "good", item: int = 0) -> Said:
        frame = await driver.query(role, b"Q\r\n", lambda c: bool(self._LINE.match(str(c))))
        found = self._LINE.match(str(frame.content))
        assert found is not None
        return frame.ts_ms, float(found["kg"])

    def said(self, values: dict[str, Any], item: int) -> Any:
        return values["weight"]


class Road(Simulated):
    """A detector that streams lines of text; the value is the whole line."""

    driver, kind, roles, streams = "serial-text", "serial-text", ("good",), True
    _LINE = re.compile(r"LANE=1 CNT=(\d{5}) SPD=(\d{3}\.\d) OCC=(\d{2}\.\d)$")

    def model(self, i: int) -> str:
        return "model: traffic_detector, lanes: 1, interval_s: 1"

    @property
    def devices(self) -> tuple[DeviceSpec, ...]:
        return (device(point("n", None, field="1"), frame=FrameSpec(self._LINE.pattern)),)

    async def ask(self, driver: Driver, role: str = "good", item: int = 0) -> Said:
        frame = await _next(driver)
        found = self._LINE.match(str(frame.content))
        return frame.ts_ms, (int(found[1]), float(found[2]), float(found[3])) if found else None

    def said(self, values: dict[str, Any], item: int) -> Any:
        return values["lane1_count"], values["lane1_speed"], values["lane1_occupancy"]


class NoisyRoad(Road):
    """Every line is broken."""

    def faults(self) -> str:
        return "  - {device: good, kind: garbled, at_s: 0, for_s: 1e6}\n"


async def _next(driver: Driver) -> Frame:
    async with asyncio.timeout(60):
        return await anext(driver.stream())


class Scripted(FarEnd):
    """A pseudo-terminal at a path of its own, and who speaks there."""

    async def start(self) -> None:
        self._said: dict[str, list[Any]] = {}
        self._begin()
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._path.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._readable)
        self._tasks: set[Any] = set()

    @property
    def _path(self) -> Path:
        return self.folder / "port"

    def _begin(self) -> None:
        self._count = 0

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        asyncio.get_running_loop().remove_reader(self._master)
        self._path.unlink()
        os.close(self._master)
        os.close(self._slave)

    def say(self, data: bytes, role: str, value: Any) -> None:
        with suppress(BlockingIOError):  # nobody reads
            os.write(self._master, data)
            self._said.setdefault(role, []).append(value)

    def served(self, role: str = "good", item: int = 0) -> list[Any]:
        return self._said.get(role, [])

    def _readable(self) -> None:
        for request in os.read(self._master, 4096).split(b"\r\n"):
            self.heard(request.decode())

    def heard(self, request: str) -> None:
        """One line came."""


class TextDevices(Scripted):
    """Devices that answer `ROLE?` with `ROLE=number`."""

    driver = "serial-text"

    @property
    def devices(self) -> tuple[DeviceSpec, ...]:
        frame = FrameSpec(r"(?P<who>\w+)=(?P<n>\d+)$")
        return (device(point("n", None, field="n", when=(("who", "good"),)), frame=frame, request=b"good?\r\n"),)

    async def ask(self, driver: FramedSerialDriver, role: str = "good", item: int = 0) -> Said:
        frame = await driver.query(role, f"{role}?\r\n".encode(), lambda c: bool(re.match(rf"{role}=\d+$", str(c))))
        return frame.ts_ms, int(str(frame.content).partition("=")[2])

    def heard(self, request: str) -> None:
        role = request.removesuffix("?")
        if role == request or role == "silent":
            return
        self._count += 1
        text, delay_s = f"{role}={self._count}", 0.0
        if role == "late" and self._count % 3:
            delay_s = TIMEOUT_S * (1.2 + self._count % 2)
        text = {"refused": "?", "garbled": "g\x7farb=\x80", "strange": f"other={self._count}"}.get(role, text)
        later = asyncio.get_running_loop().call_later(
            delay_s, self.say, text.encode("latin-1") + b"\r\n", role, self._count
        )
        self._tasks.add(later)


class BinaryStream(Scripted):
    """Frames of six bytes, fifty a second: a mark, a number, a sum."""

    driver, roles, streams = "serial-binary", ("good",), True

    def _begin(self) -> None:
        super()._begin()
        self._speak()

    def _speak(self) -> None:
        if self._count:
            number = self._count.to_bytes(4, "big")
            self.say(b"\x02" + number + bytes([sum(number) & 0xFF]), "good", self._count)
        self._count += 1
        self._timer = asyncio.get_running_loop().call_later(0.02, self._speak)

    async def stop(self) -> None:
        self._timer.cancel()
        await super().stop()

    @property
    def devices(self) -> tuple[DeviceSpec, ...]:
        frame = FrameSpec(binary=BinarySpec(b"\x02", length=6, checksum=ChecksumSpec("sum8", 1, -1, little=False)))
        return (device(point("n", None, 1, "uint32"), frame=frame),)

    async def ask(self, driver: Driver, role: str = "good", item: int = 0) -> Said:
        frame = await _next(driver)
        content = frame.content
        return frame.ts_ms, int.from_bytes(content[1:5], "big") if isinstance(content, bytes) else None
