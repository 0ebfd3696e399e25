"""What a line's plan costs: wire time of every request, load of the line, reserve for one fault. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.driver import Span
from agent.plan import PlannedSpan, plan_device
from agent.spec import DeviceSpec, Illegal, LineSpec
from agent.wire_time import wire_time


@dataclass(frozen=True, slots=True)
class Request:
    """One planned request and its seconds on the wire."""

    planned: PlannedSpan
    unit_id: int
    wire_s: float


@dataclass(frozen=True, slots=True)
class LineLoad:
    """The requests of one line.

    period_s: the shortest period on it. cycle_s: wire time within that period, requests of longer periods by their
    share. reserve_s: what one device that does not answer costs once in a cycle: time-out, quiet, fence; 0 where it
    has no neighbours on the line.
    """

    line: str
    requests: tuple[Request, ...]
    period_s: float
    cycle_s: float
    reserve_s: float

    @property
    def load(self) -> float:
        """Share of the line's time that is taken, without any fault."""
        return self.cycle_s / self.period_s

    @property
    def longest_cycle_s(self) -> float:
        """Wire time where everything is due at once."""
        return sum(r.wire_s for r in self.requests)

    @property
    def with_fault_s(self) -> float:
        return self.cycle_s + self.reserve_s


def line_load(line: LineSpec, learned: Mapping[str, Sequence[Illegal]]) -> LineLoad:
    """learned: device -> illegal addresses found so far; a value that lies in them is not counted.

    Raises ConfigError when a device cannot be planned.
    """
    cost = wire_time(line)
    requests: list[Request] = []
    for device in line.devices:
        known = learned.get(device.id, ())
        spans = plan_device(device, cost, known)
        asked = [s for s in spans if not any(_lies_in(s.span, i) for i in known)]
        requests += [Request(planned, device.unit_id, cost.of(planned.span)) for planned in asked or spans[:1]]
    period_s = min(r.planned.period_s for r in requests)
    cycle_s = sum(r.wire_s * period_s / r.planned.period_s for r in requests)
    # A fence reads one register, or part of the request that failed.
    fence_s = cost.of(Span("holding", 0, 1))
    lone = len(line.devices) == 1
    quiet_s = 0.0 if line.driver == "modbus-tcp" else line.quiet_s + fence_s
    return LineLoad(line.name, tuple(requests), period_s, cycle_s, 0.0 if lone else line.timeout_s + quiet_s)


def _lies_in(span: Span, illegal: Illegal) -> bool:
    return illegal.table == span.table and illegal.holds(span.address, span.address + span.count)


def misfits(line: LineSpec, load: LineLoad) -> Iterator[str]:
    """Why the plan cannot be kept, and what to change."""
    if load.load <= 1.0:
        return
    yield (
        f"line {line.name}: {len(load.requests)} requests need {load.cycle_s:.3g} s of every {load.period_s:.3g} s "
        f"(load {100 * load.load:.0f} %); {_advice(line, load)}"
    )


def tight(line: LineSpec, load: LineLoad) -> Iterator[str]:
    """Where a silent device would cost its neighbours their period until it is given up."""
    if load.load > 1.0 or load.with_fault_s <= load.period_s:
        return
    room_s = load.period_s - load.cycle_s - (load.reserve_s - line.timeout_s)
    shorter = f"timeout_s to {_down(room_s)} at most, or " if _down(room_s) > 0 else ""
    yield (
        f"line {line.name}: no room for a fault: cycle {load.cycle_s:.2f} s + {load.reserve_s:.2f} s for one silent "
        f"device = {load.with_fault_s:.2f} s of {load.period_s:.2f} s; set {shorter}period_s to "
        f"{_up(load.with_fault_s)} at least, or the others wait for it {line.silent_polls} times"
    )


def _advice(line: LineSpec, load: LineLoad) -> str:
    slowest = max(line.devices, key=lambda d: _share(d, load))
    options = [f"set period_s of its devices to {_up(load.cycle_s)} or more"]
    if line.driver != "modbus-tcp":
        options.append(f"raise baud above {line.baud}")
    options.append(f"give tags that change rarely a period_s of their own (most time goes to device {slowest.id})")
    return ", ".join(options[:-1]) + f", or {options[-1]}"


def _share(device: DeviceSpec, load: LineLoad) -> float:
    return sum(r.wire_s / r.planned.period_s for r in load.requests if r.planned.device == device.id)


def _up(seconds: float) -> float:
    """A round number of seconds, with a tenth to spare."""
    return float(f"{seconds * 1.1:.2g}") if seconds < 100 else round(seconds * 1.1)


def _down(seconds: float) -> float:
    return int(seconds * 100) / 100
