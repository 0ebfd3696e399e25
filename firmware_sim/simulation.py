"""Puts a scenario to work: devices, lines, faults and truth, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import Protocol

from firmware_sim import own_folder
from firmware_sim.clock import SimClock
from firmware_sim.devices import AnySettings, build
from firmware_sim.devices.device import Device, PolledDevice, StreamingDevice, Window
from firmware_sim.diary import keep_diary, keep_health
from firmware_sim.errors import ScenarioError
from firmware_sim.fault_plan import FaultPlan, Planned
from firmware_sim.lines import AnyLine, FramedLine, NetworkLine, RtuLine, RtuTcpLine, SerialLine, TcpLine
from firmware_sim.modbus_slave import ModbusTcpServer
from firmware_sim.present import Present
from firmware_sim.pty_port import PtyPort
from firmware_sim.rtu_bus import RtuBus
from firmware_sim.rtu_over_tcp import RtuTcpServer
from firmware_sim.rtu_units import RtuUnits
from firmware_sim.scenario import Scenario
from firmware_sim.serial_device import PolledLine, SerialDevice, StreamingLine
from firmware_sim.tcp_port import TcpPort
from firmware_sim.truth import Truth
from firmware_sim.unit import ModbusUnit
from firmware_sim.wear import Wear


class RunningLine(Protocol):
    """A line that can be opened, served and closed."""

    def open(self) -> dict[str, object]:
        """Listens, and says where: kind, host, port. Raises ScenarioError."""
        ...

    async def serve(self) -> None: ...

    def close(self) -> None: ...


class Simulation:
    """One run of one scenario. Everything is opened before anything is served."""

    def __init__(self, scenario: Scenario, truth: Truth) -> None:
        self.scenario, self.truth = scenario, truth
        self.clock = SimClock(speed=scenario.speed)
        self._planned = [Planned(fault, scenario.seed, at) for at, fault in enumerate(scenario.faults)]
        self._present: dict[str, Present] = {}

    def prepare(self) -> None:
        """Builds every device and checks what only devices know. Raises ScenarioError."""
        for each in self.scenario.devices:
            device = build(each, self.scenario.seed)
            plan = FaultPlan([planned for planned in self._planned if planned.fault.device == each.id])
            known = {signal.name for signal in device.signals}
            for name in (name for planned in plan.planned for name in planned.fault.signals if name not in known):
                raise ScenarioError(f"faults: {each.id} has no signal {name!r}; there are: {_some(known)}")
            self._present[each.id] = Present(each.id, device, plan, self.scenario.seed)

    async def run(self, ready: Callable[[list[dict[str, object]]], None], stop: asyncio.Event) -> None:
        """Calls `ready` with one entry per device once all listen; runs until `stop`. Raises ScenarioError."""
        scenario = self.scenario
        self.prepare()
        own_folder.sweep()
        with ExitStack() as opened:
            self.truth.open()
            opened.callback(self.truth.close)
            self.clock = SimClock(speed=scenario.speed)
            self.truth.run(scenario.name, scenario.seed, self.clock.now_ms(), scenario.speed)
            lines: list[RunningLine] = []
            entries: list[dict[str, object]] = []
            for spec in scenario.lines:
                present = [device for device in scenario.devices if device.line == spec.name]
                if not present:
                    continue
                line = self._line(spec, present)
                opened.callback(line.close)
                where = line.open()
                lines.append(line)
                for each in present:
                    entries.append({"id": each.id, **where, "line": spec.name, "unit_id": each.unit_id})
            await self._serve(lines, lambda: ready(entries), stop)

    async def _serve(self, lines: list[RunningLine], ready: Callable[[], None], stop: asyncio.Event) -> None:
        devices = {name: present.device for name, present in self._present.items()}
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(line.serve()) for line in lines]
            running.append(tasks.create_task(keep_diary(self._windows(devices), self.clock, self.truth), name="diary"))
            levels = [(name, _wear(device).levels()) for name, device in devices.items()]
            running.append(tasks.create_task(keep_health(levels, self.clock, self.truth), name="health"))
            ready()
            await stop.wait()
            for task in running:
                task.cancel()

    def holding(self) -> list[str]:
        """The faults that hold now, as `device kind`."""
        t_s = self.clock.t_s()
        return [f"{each.fault.device} {each.fault.kind}" for each in self._planned if each.window(t_s) is not None]

    def _windows(self, devices: dict[str, Device]) -> Iterator[tuple[str, Iterator[Window]]]:
        planned = ((each.fault.device, each.windows()) for each in self._planned)
        return chain(planned, ((name, device.recorded()) for name, device in devices.items()))

    def _line(self, spec: AnyLine, settings: list[AnySettings]) -> RunningLine:
        if isinstance(spec, FramedLine):
            return self._framed(spec, settings)
        units = {each.unit_id: ModbusUnit(each.id, self._present[each.id], self.clock, self.truth) for each in settings}
        if isinstance(spec, TcpLine):
            return ModbusTcpServer(self._tcp(spec, settings), units)
        if isinstance(spec, RtuTcpLine):
            return RtuTcpServer(self._tcp(spec, settings), RtuUnits(units, spec.turnaround_s))
        assert isinstance(spec, RtuLine)
        listening = RtuUnits(units, spec.turnaround_s)
        return RtuBus(_pty(spec, spec.baud), spec.baud, spec.bits_per_char, listening, strict_gaps=spec.strict_gaps)

    def _framed(self, spec: FramedLine, settings: list[AnySettings]) -> RunningLine:
        port = _pty(spec, spec.baud)
        serial = [SerialDevice(each.id, self._present[each.id], self.clock, self.truth) for each in settings]
        polled = [(each, each.present.device) for each in serial if isinstance(each.present.device, PolledDevice)]
        if polled:
            return PolledLine(spec.kind, port, spec.turnaround_s, polled)
        device = serial[0].present.device
        assert isinstance(device, StreamingDevice)  # the scenario was checked for it
        return StreamingLine(spec.kind, port, serial[0], device)

    def _tcp(self, spec: NetworkLine, settings: list[AnySettings]) -> TcpPort:
        plans = [self._present[each.id].plan for each in settings]
        return TcpPort(spec.name, spec.host, spec.port, plans, self.clock, self.truth)


def _pty(spec: SerialLine, baud: int) -> PtyPort:
    return PtyPort(spec.name, spec.port, baud, spec.bits_per_char)


def _wear(device: Device) -> Wear:
    wear = getattr(device, "wear", None)
    return wear if isinstance(wear, Wear) else Wear(None)


def _some(names: set[str]) -> str:
    first = sorted(names)[:8]
    return ", ".join(first) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
