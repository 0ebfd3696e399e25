"""Puts a scenario to work: devices, lines, faults and truth, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import Protocol

from firmware_sim.clock import SimClock
from firmware_sim.devices import AnySettings, build
from firmware_sim.devices.device import Device, TextDevice, Window
from firmware_sim.faults import FaultPlan, keep_diary
from firmware_sim.modbus_slave import ModbusTcpServer
from firmware_sim.pty_port import PtyPort
from firmware_sim.rtu_bus import RtuBus
from firmware_sim.scenario import AnyLine, RtuLine, Scenario, TcpLine, TextLine
from firmware_sim.serial_device import SerialDevice
from firmware_sim.truth import Truth
from firmware_sim.unit import ModbusUnit


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
        self._scenario, self._truth = scenario, truth

    async def run(self, ready: Callable[[list[dict[str, object]]], None], stop: asyncio.Event) -> None:
        """Calls `ready` with one entry per device once all listen; runs until `stop`. Raises ScenarioError."""
        scenario = self._scenario
        devices = {each.id: build(each, scenario.seed) for each in scenario.devices}
        with ExitStack() as opened:
            self._truth.open()
            opened.callback(self._truth.close)
            clock = SimClock()
            self._truth.run(scenario.name, scenario.seed, clock.now_ms())
            lines: list[RunningLine] = []
            entries: list[dict[str, object]] = []
            for spec in scenario.lines:
                line = self._line(spec, devices, clock)
                if line is None:
                    continue
                opened.callback(line.close)
                where = line.open()
                lines.append(line)
                for each in self._on(spec):
                    entries.append({"id": each.id, **where, "line": spec.name, "unit_id": each.unit_id})
            await self._serve(lines, devices, clock, lambda: ready(entries), stop)

    async def _serve(
        self,
        lines: list[RunningLine],
        devices: dict[str, Device],
        clock: SimClock,
        ready: Callable[[], None],
        stop: asyncio.Event,
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(line.serve()) for line in lines]
            running.append(tasks.create_task(keep_diary(self._windows(devices), clock, self._truth), name="diary"))
            ready()
            await stop.wait()
            for task in running:
                task.cancel()

    def _on(self, line: AnyLine) -> list[AnySettings]:
        return [device for device in self._scenario.devices if device.line == line.name]

    def _plan(self, device: str) -> FaultPlan:
        return FaultPlan([fault for fault in self._scenario.faults if fault.device == device])

    def _windows(self, devices: dict[str, Device]) -> Iterator[tuple[str, Iterator[Window]]]:
        planned = ((fault.device, fault.windows()) for fault in self._scenario.faults)
        return chain(planned, ((name, device.recorded()) for name, device in devices.items()))

    def _line(self, spec: AnyLine, devices: dict[str, Device], clock: SimClock) -> RunningLine | None:
        """The line with its devices, or None for a line without any."""
        present = self._on(spec)
        if not present:
            return None
        if isinstance(spec, TextLine):
            [settings] = present
            device = devices[settings.id]
            assert isinstance(device, TextDevice)  # the scenario was checked for it
            port = PtyPort(spec.name, spec.port, spec.baud, spec.bits_per_char)
            return SerialDevice(settings.id, port, device, self._plan(settings.id), clock, self._truth)
        units = {
            each.unit_id: ModbusUnit(each.id, devices[each.id], self._plan(each.id), clock, self._truth)
            for each in present
        }
        if isinstance(spec, TcpLine):
            return ModbusTcpServer(spec.name, spec.host, spec.port, units)
        assert isinstance(spec, RtuLine)
        port = PtyPort(spec.name, spec.port, spec.baud, spec.bits_per_char)
        return RtuBus(port, spec.baud, spec.bits_per_char, spec.turnaround_s, units)
