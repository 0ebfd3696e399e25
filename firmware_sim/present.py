"""What a device says now, and what is true: its physics, restarts, what clients wrote, and faults of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from firmware_sim.devices.device import Device, Window
from firmware_sim.fault_plan import FaultPlan, Planned
from firmware_sim.faults import VALUE_KINDS
from firmware_sim.noise import Scatter
from firmware_sim.signals import Value


class Now(NamedTuple):
    """`served` is what goes onto the wire; it is `true` itself while no fault of values holds."""

    step: int
    true: Mapping[str, Value]
    served: Mapping[str, Value]


class Present:
    """One device over simulated time. Everything but what clients write follows from the seed and the second."""

    def __init__(self, name: str, device: Device, plan: FaultPlan, seed: int) -> None:
        self.device, self.plan = device, plan
        self._name, self._seed = name, seed
        self._counters = frozenset(each.name for each in device.signals if each.counter)
        self._restarts, self._twists = plan.of("restart"), plan.of(*VALUE_KINDS)
        self._written: dict[str, Value] = {}
        self._restarted_s: float | None = None
        self._at_restart: Mapping[str, Value] = {}
        self._stuck: dict[Planned, tuple[float, Mapping[str, Value]]] = {}
        self._scatter: dict[str, Scatter] = {}

    def now(self, t_s: float, step: int | None = None) -> Now:
        """Everything at this second, or at the step that is asked for."""
        step = int(t_s / self.device.step_s) if step is None else step
        true = self._true(step, t_s)
        held = [(each, window) for each in self._twists if (window := each.window(t_s)) is not None]
        return Now(step, true, _Twisted(self, true, held, step) if held else true)

    def write(self, values: Mapping[str, Value]) -> None:
        self._written.update(values)

    def _true(self, step: int, t_s: float) -> Mapping[str, Value]:
        values = self.device.at(step)
        if self._restarts:
            ended = max((each.ended_s(t_s) or 0.0 for each in self._restarts), default=0.0)
            if ended and ended != self._restarted_s:
                self._restarted_s = ended
                self._at_restart = self.device.at(int(ended / self.device.step_s))
                values = self.device.at(step)
                self._written.clear()
        if not self._written and self._restarted_s is None:
            return values
        return _True(values, self._written, self._at_restart, self._counters)

    def twisted(self, name: str, true: Value, held: list[tuple[Planned, Window]], step: int) -> Value:
        """The value after every fault that holds on this signal."""
        value = true
        for planned, window in held:
            fault = planned.fault
            if fault.signals and name not in fault.signals:
                continue
            if fault.kind == "stuck":
                value = self._begin_of(planned, window)[name]
            elif not isinstance(value, str | bool):
                value = value + self._added(planned, window, name, step)
        return value

    def _begin_of(self, planned: Planned, window: Window) -> Mapping[str, Value]:
        kept = self._stuck.get(planned)
        if kept is None or kept[0] != window.from_s:
            begin = self.device.at(int(window.from_s / self.device.step_s))
            frozen = _True(begin, dict(self._written), self._at_restart, self._counters)
            kept = self._stuck[planned] = (window.from_s, frozen)
        return kept[1]

    def _added(self, planned: Planned, window: Window, name: str, step: int) -> float:
        fault = planned.fault
        size = fault.size or 0.0
        if fault.kind == "step":
            return size
        if fault.kind == "drift":
            return size * max(0.0, step * self.device.step_s - window.from_s) / 3600.0
        key = f"{fault.kind}:{name}"
        if key not in self._scatter:
            self._scatter[key] = Scatter(self._seed, self._name, key)
        if fault.kind == "noise":
            return self._scatter[key].normal(step, size)
        return size if self._scatter[key].uniform(step) < fault.chance else 0.0


class _Twisted(Mapping[str, Value]):
    """Lazy: a device of 10,000 tags pays only for those that are read."""

    def __init__(
        self, present: Present, true: Mapping[str, Value], held: list[tuple[Planned, Window]], step: int
    ) -> None:
        self._present, self._true, self._held, self._step = present, true, held, step

    def __getitem__(self, name: str) -> Value:
        return self._present.twisted(name, self._true[name], self._held, self._step)

    def __iter__(self) -> Iterator[str]:
        return iter(self._true)

    def __len__(self) -> int:
        return len(self._true)


class _True(Mapping[str, Value]):
    """Physics, with what clients wrote and counters that a restart set to 0."""

    def __init__(
        self,
        values: Mapping[str, Value],
        written: Mapping[str, Value],
        at_restart: Mapping[str, Value],
        counters: frozenset[str],
    ) -> None:
        self._values, self._written, self._at_restart, self._counters = values, written, at_restart, counters

    def __getitem__(self, name: str) -> Value:
        if name in self._written:
            return self._written[name]
        value = self._values[name]
        if name in self._counters and name in self._at_restart and not isinstance(value, str):
            base = self._at_restart[name]
            return value - base if not isinstance(base, str) else value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
