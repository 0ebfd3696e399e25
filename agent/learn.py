"""What a device's refusals teach about its addresses: a refused request is halved until the reason is found. Pure.

A request that holds a refused one would be refused as well, and one within an answered one is legal. So: where both
halves of a refused request are answered, what lies between them is illegal (or they are too much for one answer);
where one value alone is refused, its own address is. A halved request is no knowledge yet.

A refusal may be a stray one: of a device that starts, or that answers another master. So what was found is only a
suspicion: the plan avoids it, but it is not remembered. After CONFIRM_S the same request is made again; where it is
refused again, with no answer between, the address counts as illegal. Once in AGE_S, and soon after a start, each
is asked across again; where that is answered, it is forgotten. A value whose own address is refused is asked all
the time, and so needs no such question.

Times are seconds of one monotonic clock, given by the caller.
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


# A device that starts up, or whose memory another master locks, refuses for seconds, rarely for a minute.
CONFIRM_S = 60.0
# How often a place that was found illegal is asked across: one refusal a day costs nothing, a new firmware is found.
AGE_S = 86_400.0
# After a start what was remembered is looked at soon, but not in the first polls; never two at once.
START_S, PAUSE_S = 30.0, 5.0


@dataclass(slots=True)
class _Halves:
    left: PlannedSpan
    right: PlannedSpan
    answered: set[TagTable] = field(default_factory=set)


@dataclass(slots=True)
class _Wall:
    """since_s: first refused; seen_s: last refused. sure: refused twice, with CONFIRM_S between."""

    since_s: float
    seen_s: float
    sure: bool

    @property
    def due_s(self) -> float:
        return self.seen_s + (AGE_S if self.sure else CONFIRM_S)


class Learner:
    """The plan of one device as its refusals shape it."""

    def __init__(self, device: DeviceSpec, cost: WireTime, learned: Sequence[Illegal], now_s: float = 0.0) -> None:
        """learned: what was sure before this start. Raises ConfigError when the device cannot be planned."""
        self._device, self._cost = device, cost
        began_s = now_s - AGE_S + START_S
        self._walls = {i: _Wall(began_s, began_s, True) for i in learned}
        self._asked: tuple[Illegal, _Wall] | None = None  # taken out of the plan, to see whether it still holds
        self._quiet_until_s = now_s
        self._halves: dict[TagTable, _Halves] = {}
        self._made: dict[tuple[Span, float, tuple[str, ...]], PlannedSpan] = {}
        self.spans = self._planned()
        self.healed = 0  # how many that were sure no longer hold
        self.news = False  # what is known or suspected has changed; whoever keeps it sets this back

    @property
    def learned(self) -> tuple[Illegal, ...]:
        """What is sure."""
        return self._sorted(sure=True)

    @property
    def suspected(self) -> tuple[Illegal, ...]:
        """What was refused once."""
        return self._sorted(sure=False)

    def _sorted(self, sure: bool) -> tuple[Illegal, ...]:
        walls = [*self._walls.items(), *([self._asked] if self._asked else [])]
        return tuple(sorted((i for i, wall in walls if wall.sure is sure), key=lambda i: (i.table, i.start, i.end)))

    def knows(self, planned: PlannedSpan) -> bool:
        """True for one value whose own address was refused: it is only asked to see whether that has changed."""
        span = planned.span
        return any(i.table == span.table and i.holds(span.address, _end(span)) for i in self._walls)

    def look_again(self, now_s: float) -> None:
        """Before a poll: plans a request across a place that was refused, where that is due."""
        if self._asked is not None or self._halves or now_s < self._quiet_until_s:
            return
        due = [(wall.due_s, i) for i, wall in self._walls.items() if now_s >= wall.due_s and not self._is_a_value(i)]
        if not due:
            return
        self._quiet_until_s = now_s + PAUSE_S
        _, illegal = min(due, key=lambda d: d[0])
        wall = self._walls.pop(illegal)
        self._plan_anew()
        if any(_crosses(illegal, s.span) for s in self.spans):
            self._asked = illegal, wall
        else:  # nothing would be asked across it anyway
            wall.seen_s = now_s
            self._walls[illegal] = wall
            self._plan_anew()

    def answered(self, planned: PlannedSpan, now_s: float = 0.0) -> None:
        """A request of the plan, or a half of one, was answered."""
        span = planned.span
        if self._asked is not None and _crosses(self._asked[0], span):
            self._forget([self._asked])
            self._asked = None
        if self.knows(planned):
            held = {i: w for i, w in self._walls.items() if i.table == span.table and i.holds(span.address, _end(span))}
            self._walls = {i: w for i, w in self._walls.items() if i not in held}
            self._forget(list(held.items()))
            self._plan_anew()
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
        self._found(between, now_s)

    def refused(self, planned: PlannedSpan, now_s: float = 0.0) -> tuple[PlannedSpan, PlannedSpan] | None:
        """The halves that replace it in the plan for now; None when it is one value, and then it is illegal itself."""
        span = planned.span
        places = sorted({(p.address, p.registers) for p in planned.points})
        if len(places) == 1:
            self._found(Illegal(span.table, span.address, _end(span)), now_s)
            return None
        middle = places[len(places) // 2]
        low = [p for p in planned.points if (p.address, p.registers) < middle]
        high = [p for p in planned.points if (p.address, p.registers) >= middle]
        left, right = (
            self._once(planned_span(planned.device, span.table, part, planned.period_s)) for part in (low, high)
        )
        halves = _Halves(left, right)
        self._halves |= {left.tags: halves, right.tags: halves}
        at = self.spans.index(planned) if planned in self.spans else None
        if at is not None:
            self.spans = (*self.spans[:at], left, right, *self.spans[at + 1 :])
        return left, right

    def _found(self, illegal: Illegal, now_s: float) -> None:
        """Refused: for the first time, or again."""
        wall = self._walls.get(illegal)
        if wall is None and self._asked is not None and _touch(self._asked[0], illegal):
            self.news = self.news or illegal != self._asked[0]
            wall, self._asked = self._asked[1], None
        if wall is None:
            wall = _Wall(now_s, now_s, sure=False)
            self.news = True
        wall.seen_s = now_s
        if not wall.sure and now_s - wall.since_s >= CONFIRM_S:
            wall.sure = self.news = True
        if illegal not in self._walls:
            self._walls[illegal] = wall
            self._plan_anew()

    def _forget(self, walls: Sequence[tuple[Illegal, _Wall]]) -> None:
        self.healed += sum(wall.sure for _, wall in walls)
        self.news = True

    def _is_a_value(self, illegal: Illegal) -> bool:
        points = (p for p in self._device.points if p.table == illegal.table)
        return any(illegal.holds(p.address, p.address + p.registers) for p in points)

    def _plan_anew(self) -> None:
        self._halves.clear()
        self.spans = self._planned()

    def _planned(self) -> tuple[PlannedSpan, ...]:
        return tuple(self._once(s) for s in plan_device(self._device, self._cost, list(self._walls)))

    def _once(self, planned: PlannedSpan) -> PlannedSpan:
        """The one that was made before of the same tags: much is kept by its table, and looking again comes daily."""
        return self._made.setdefault((planned.span, planned.period_s, planned.tags.names), planned)


def _crosses(illegal: Illegal, span: Span) -> bool:
    return illegal.table == span.table and illegal.crossed(span.address, _end(span))


def _touch(one: Illegal, other: Illegal) -> bool:
    return one.table == other.table and one.start <= other.end and other.start <= one.end


def _end(span: Span) -> int:
    return span.address + span.count
