"""What a device's refusals teach about its addresses: a refused request is halved until the reason is found. Pure.

A request that holds a refused one would be refused as well, and one within an answered one is legal. So: where both
halves of a refused request are answered, what lies between them is illegal (or they are too much for one answer);
where one value alone is refused, its own address is. Only that is remembered. A halved request is no knowledge yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.driver import Span
from agent.plan import PlannedSpan, plan_device, planned_span
from agent.spec import DeviceSpec, Illegal
from agent.wire_time import WireTime
from wire.tag import TagTable

# 2: illegal data address. 3: illegal data value; some devices say so when a count reaches beyond what they have.
# Source: Modbus Application Protocol v1.1b3, section 7, and its state diagrams of functions 1 to 4.
TEACHING = (2, 3)


@dataclass(slots=True)
class _Halves:
    left: PlannedSpan
    right: PlannedSpan
    answered: set[TagTable] = field(default_factory=set)


class Learner:
    """The plan of one device as its refusals shape it."""

    def __init__(self, device: DeviceSpec, cost: WireTime, learned: Sequence[Illegal]) -> None:
        """Raises ConfigError when the device cannot be planned."""
        self._device, self._cost = device, cost
        self._learned = list(learned)
        self._halves: dict[TagTable, _Halves] = {}
        self.spans = plan_device(device, cost, self._learned)
        self.news = False  # what is learned has changed; whoever keeps it sets this back

    @property
    def learned(self) -> tuple[Illegal, ...]:
        return tuple(sorted(self._learned, key=lambda i: (i.table, i.start, i.end)))

    def knows(self, planned: PlannedSpan) -> bool:
        """True for one value whose own address was refused: it is only asked to see whether that has changed."""
        span = planned.span
        return any(i.table == span.table and i.holds(span.address, _end(span)) for i in self._learned)

    def answered(self, planned: PlannedSpan) -> None:
        """A request of the plan, or a half of one, was answered."""
        span = planned.span
        if self.knows(planned):
            end = _end(span)
            self._learned = [i for i in self._learned if i.table != span.table or not i.holds(span.address, end)]
            self._planned_anew()
            return
        halves = self._halves.get(planned.tags)
        if halves is None:
            return
        halves.answered.add(planned.tags)
        if len(halves.answered) < 2:
            return
        left, right = halves.left.span, halves.right.span
        start = min(_end(left), right.address)
        between = Illegal(left.table, start, right.address)
        if any(
            p.table == left.table and between.holds(p.address, p.address + p.registers) for p in self._device.points
        ):
            # What is read at another pace lies there, and is legal for all that is known.
            between = Illegal(left.table, right.address, right.address)
        self._learned.append(between)
        self._planned_anew()

    def refused(self, planned: PlannedSpan) -> tuple[PlannedSpan, PlannedSpan] | None:
        """The halves that replace it in the plan for now; None when it is one value, and then it is illegal itself."""
        span = planned.span
        places = sorted({(p.address, p.registers) for p in planned.points})
        if len(places) == 1:
            itself = Illegal(span.table, span.address, _end(span))
            if itself not in self._learned:
                self._learned.append(itself)
                self._planned_anew()
            return None
        middle = places[len(places) // 2]
        low = [p for p in planned.points if (p.address, p.registers) < middle]
        high = [p for p in planned.points if (p.address, p.registers) >= middle]
        left, right = (planned_span(planned.device, span.table, part, planned.period_s) for part in (low, high))
        halves = _Halves(left, right)
        self._halves |= {left.tags: halves, right.tags: halves}
        at = self.spans.index(planned) if planned in self.spans else None
        if at is not None:
            self.spans = (*self.spans[:at], left, right, *self.spans[at + 1 :])
        return left, right

    def _planned_anew(self) -> None:
        self.news = True
        self._halves.clear()
        self.spans = plan_device(self._device, self._cost, self._learned)


def _end(span: Span) -> int:
    return span.address + span.count
