"""What a line's plan costs: wire time of every request, load of the line, reserve for one fault. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agent.driver import Span
from agent.frame_time import Exchange, exchanges, frame_bytes
from agent.plan import PlannedSpan, plan_device
from agent.spec import DeviceSpec, Illegal, LineSpec
from agent.wire_time import WireTime, frame_sizes, wire_time


@dataclass(frozen=True, slots=True)
class Request:
    """One planned request.

    who: unit id or meter address, '' where frames have none. asks: the item or the bytes of a request that is no Span.
    sent, answered: bytes on the wire. wire_s: seconds on the wire; least_s: the same with the shortest answer, where
    the description only says how long an answer may be. through: first and last of addresses that no tag wants.
    """

    device: str
    who: str
    tags: tuple[str, ...]
    period_s: float
    sent: int
    answered: int
    wire_s: float
    least_s: float
    span: Span | None = None
    through: tuple[tuple[int, int], ...] = ()
    asks: str = ""

    @property
    def exact(self) -> bool:
        return self.wire_s == self.least_s


@dataclass(frozen=True, slots=True)
class Listening:
    """A device that speaks by itself. frame_bytes, period_s: None where its description does not say."""

    device: str
    tags: tuple[str, ...]
    frame_bytes: int | None
    period_s: float | None

    @property
    def bytes_per_s(self) -> float | None:
        """At least so many: period_s is its longest usual pause."""
        return self.frame_bytes / self.period_s if self.frame_bytes and self.period_s else None


@dataclass(frozen=True, slots=True)
class LineLoad:
    """The requests of one line, or who is listened to.

    period_s: the shortest period on it. cycle_s: wire time within that period, requests of longer periods by their
    share; least_cycle_s: with the shortest answers. reserve_s: what one device that does not answer costs once in a
    cycle: time-out, quiet, fence; 0 where it has no neighbours on the line. learned: what it was planned with.
    """

    line: str
    requests: tuple[Request, ...]
    period_s: float
    cycle_s: float
    reserve_s: float
    least_cycle_s: float = 0.0
    listens: tuple[Listening, ...] = ()
    learned: Mapping[str, Sequence[Illegal]] = field(default_factory=dict)

    @property
    def load(self) -> float:
        """Share of the line's time that is taken, without any fault."""
        return self.cycle_s / self.period_s if self.requests else 0.0

    @property
    def exact(self) -> bool:
        return all(r.exact for r in self.requests)

    @property
    def longest_cycle_s(self) -> float:
        """Wire time where everything is due at once."""
        return sum(r.wire_s for r in self.requests)

    @property
    def with_fault_s(self) -> float:
        """The least that a cycle with one silent device takes."""
        return self.least_cycle_s + self.reserve_s


def line_load(line: LineSpec, learned: Mapping[str, Sequence[Illegal]] | None = None) -> LineLoad:
    """learned: device -> illegal addresses found so far; a value that lies in them is not counted.

    Raises ConfigError when a device cannot be planned.
    """
    learned = learned or {}
    if line.driver.startswith("modbus"):
        requests = [r for device in line.devices for r in _of_registers(line, device, learned.get(device.id, ()))]
    else:
        requests = [_of_exchange(e) for device in line.devices for e in exchanges(line, device)]
    if not requests:
        return LineLoad(line.name, (), 0.0, 0.0, 0.0, listens=tuple(_listening(d) for d in line.devices))
    period_s = min(r.period_s for r in requests)
    cycle_s = sum(r.wire_s * period_s / r.period_s for r in requests)
    least_s = sum(r.least_s * period_s / r.period_s for r in requests)
    reserve_s = 0.0 if len(line.devices) == 1 else fault_s(line)
    return LineLoad(line.name, tuple(requests), period_s, cycle_s, reserve_s, least_s, learned=learned)


def fault_s(line: LineSpec) -> float:
    """How long one device that does not answer holds up its line: time-out, quiet, and a fence of one register."""
    if line.driver == "modbus-tcp":
        return line.timeout_s
    if not line.driver.startswith("modbus"):
        return line.timeout_s + line.quiet_s
    return line.timeout_s + line.quiet_s + wire_time(line).of(Span("holding", 0, 1))


def _of_registers(line: LineSpec, device: DeviceSpec, known: Sequence[Illegal]) -> Iterator[Request]:
    cost = wire_time(line)
    spans = plan_device(device, cost, known)
    asked = [s for s in spans if not any(_lies_in(s.span, i) for i in known)]
    return (_of_span(line, device, planned, cost) for planned in asked or spans[:1])


def _of_span(line: LineSpec, device: DeviceSpec, planned: PlannedSpan, cost: WireTime) -> Request:
    wire_s = cost.of(planned.span)
    sent, answered = frame_sizes(line, planned.span)
    return Request(
        device.id, str(device.unit_id), planned.tags.names, planned.period_s, sent, answered, wire_s, wire_s,
        planned.span, tuple(_unused(planned)),
    )  # fmt: skip


def _of_exchange(e: Exchange) -> Request:
    return Request(e.device, e.who, e.tags, e.period_s, e.sent, e.answered, e.wire_s, e.least_s, asks=e.asks)


def _listening(device: DeviceSpec) -> Listening:
    least, most = frame_bytes(device)
    tags = tuple(p.tag.name for p in device.points)
    return Listening(device.id, tags, least if least == most else None, None if device.events else device.period_s)


def _unused(planned: PlannedSpan) -> Iterator[tuple[int, int]]:
    """The gaps that a request reads through: first and last address."""
    end = planned.span.address
    for point in sorted(planned.points, key=lambda p: p.address):
        if point.address > end:
            yield end, point.address - 1
        end = max(end, point.address + point.registers)


def _lies_in(span: Span, illegal: Illegal) -> bool:
    return illegal.table == span.table and illegal.holds(span.address, span.address + span.count)
