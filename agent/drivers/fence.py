"""Which late answers may still come, and how to prove that they cannot be taken for another request's. Pure.

An RTU answer names unit, function and size, but no address. A device answers in the order in which it was asked.
So: a request is only sent while no unanswered request of that unit would be answered in the same shape; where one
would, a *fence* is read first: a request of another shape. Its answer proves that all earlier ones have come or
never will. This holds for any lateness. A fence that is not answered is asked again as it was: whichever of them is
answered, what was asked before the first of them has passed. So a long silence uses up two shapes, not all of them.

Some bridges and radios let one answer overtake another. So what a fence has passed stays a *ghost* for a while, and
a request that would be answered in the shape of a ghost is asked a little wider, in a shape of its own. A unit that
gives no more is asked in two parts instead, and where no value may be cut apart either, not before the ghost is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from agent.driver import Span
from agent.plan import MAX_BITS, MAX_REGISTERS
from agent.spec import Table

FUNCTION: dict[Table, int] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
Verdict = Literal["ours", "late", "foreign"]

# A device that answers a request after ten minutes is not known to exist.
FORGET_S = 600.0
# Nor a bridge that lets an answer be overtaken for longer than this.
GHOST_S = 10.0
_WIDEST = 16  # registers, or bytes of bits, by which a request may be widened


class _Pending(NamedTuple):
    function: int
    size: int
    asked_s: float
    span: Span


class Fence:
    """Unanswered requests of every unit of a line, oldest first. asked_s: seconds of one monotonic clock."""

    def __init__(self, allowed: Callable[[int, Span], bool] = lambda unit_id, span: True) -> None:
        """allowed: what a unit may be asked beside the requests of its plan."""
        self._allowed = allowed
        self._pending: dict[int, list[_Pending]] = {}
        self._ghosts: dict[int, list[_Pending]] = {}
        # (unit id, span) -> the least widening upwards and downwards that was refused
        self._refused: dict[tuple[int, Span], tuple[int, int]] = {}
        self._refusing: set[int] = set()  # units that refused something while more than one answer could be meant
        self._wanted: dict[int, set[tuple[int, int]]] = {}  # shapes that are asked for their values
        self._chosen: dict[tuple[int, tuple[int, int]], tuple[int, int]] = {}  # unit, shape -> that of its last fence
        self._live: int | None = None  # the unit whose request is out
        self._overtaking = False  # something on this line has let an answer be overtaken

    def needed(self, unit_id: int, span: Span, now_s: float) -> bool:
        """True when an unanswered request of the unit would be answered in the shape of this one.

        Forgets what is too old; the questions below count on that.
        """
        self._wanted.setdefault(unit_id, set()).add(shape(span))
        pending = [p for p in self._pending.get(unit_id, ()) if now_s - p.asked_s < FORGET_S]
        self._pending[unit_id] = pending
        self._ghosts[unit_id] = [g for g in self._ghosts.get(unit_id, ()) if now_s - g.asked_s < GHOST_S]
        return any((p.function, p.size) == shape(span) for p in pending)

    def choose(self, unit_id: int, span: Span) -> Span | None:
        """A request near the span whose answer proves that the span's unanswered ones have passed.

        None when all shapes are used up.
        """
        taken, wanted = self._taken(unit_id), self._wanted.get(unit_id, set())
        functions = {function for function, _ in taken}
        others = [s for s in (Span(t, span.address, 1) for t in FUNCTION) if self._allowed(unit_id, s)]
        counts = [s for s in _counts(span) if self._allowed(unit_id, s)]
        last = self._last_fence(unit_id, shape(span))
        repeated = [s for s in (*counts, *others) if shape(s) == last]
        # Any answer to a function that no unanswered request has is a proof, a refusal too.
        others = [s for s in others if FUNCTION[s.table] not in functions]
        counts = [s for s in counts if shape(s) not in taken]
        ordered = [*others, *counts] if unit_id in self._refusing else [*counts, *others]
        # A fence in the shape of another request would stand in its way.
        ordered.sort(key=lambda s: shape(s) in wanted)
        found = next(iter([*repeated, *ordered]), None)
        if found is not None:
            self._chosen[unit_id, shape(span)] = shape(found)
        return found

    def widened(self, unit_id: int, span: Span) -> Span | None:
        """The span, or the least request around it whose answer no ghost can be; None when there is none.

        The span itself also where all ghosts of its shape are earlier requests for the same, as long as nothing on this
        line has overtaken anything: then a unit of one request is not left alone after each time-out.
        """
        ghosts = self._ghosts.get(unit_id)
        if not ghosts:
            return span
        taken = self._taken(unit_id)
        up, down = self._refused.get((unit_id, span), (_WIDEST + 1, _WIDEST + 1))
        around = [s for s, extra, upwards in _around(span) if extra < (up if upwards else down)]
        around = [s for s in around if s == span or self._allowed(unit_id, s)]
        found = next((s for s in around if shape(s) not in taken), None)
        if found is None and not self._overtaking:
            return span if all(g.span == span for g in ghosts if (g.function, g.size) == shape(span)) else None
        return found

    def parts(self, unit_id: int, span: Span, torn: Callable[[int], bool]) -> tuple[Span, Span] | None:
        """Two requests that make up the span, neither answered in the shape of a ghost.

        torn: True for an address before which a cut would tear a value apart.
        """
        taken = self._taken(unit_id)
        for count in range(1, span.count):
            middle = span.address + count
            both = Span(span.table, span.address, count), Span(span.table, middle, span.count - count)
            if not torn(middle) and taken.isdisjoint(map(shape, both)):
                return both
        return None

    def refused(self, unit_id: int, span: Span, widened: Span) -> None:
        """The unit does not give so much more than the span."""
        up, down = self._refused.get((unit_id, span), (_WIDEST + 1, _WIDEST + 1))
        extra = (widened.count - span.count) // (8 if span.bits else 1)
        upwards = widened.address == span.address
        self._refused[unit_id, span] = (min(up, extra), down) if upwards else (up, min(down, extra))

    def asked(self, unit_id: int, span: Span, now_s: float) -> None:
        """A request goes out: one that needed() says no to, or a fence."""
        self._pending.setdefault(unit_id, []).append(_Pending(*shape(span), now_s, span))
        self._live = unit_id

    def gave_up(self) -> None:
        """The last request asked has timed out; it may still be answered."""
        self._live = None

    def heard(self, unit_id: int, function: int, size: int, refused: bool) -> Verdict:
        """Whose answer a sound frame is. size: bytes of data; refused: it is an exception to that function."""
        pending = self._pending.get(unit_id, [])
        fits = [i for i, p in enumerate(pending) if p.function == function and (refused or p.size == size)]
        if not fits:
            return self._ghost(unit_id, function, size, refused)
        if len({pending[i].size for i in fits}) > 1:
            self._refusing.add(unit_id)
            return "late"
        ghosts = self._ghosts.setdefault(unit_id, [])
        # A refusal bears no size: that of a ghost may be meant. Then an answer to this request may still come.
        doubtful = refused and any(g.function == function and g.size != pending[fits[0]].size for g in ghosts)
        if doubtful and self._overtaking:
            self._refusing.add(unit_id)
            return "late"
        ours = self._live == unit_id and fits[-1] == len(pending) - 1
        # A ghost of this shape may be meant as well: then the younger one, which is still to come, is the ghost now.
        same = [i for i, g in enumerate(ghosts) if g[:2] == pending[fits[0]][:2]]
        if doubtful:
            ghosts.append(pending[fits[0]])
        elif same:
            ghosts[same[0]] = pending[fits[0]]
        # Of a fence that was asked several times the first may be meant. What was asked before it will not be answered
        # any more, unless something let it be overtaken.
        ghosts.extend(pending[: fits[0]])
        del pending[: fits[0] + 1]
        if ours:
            self._live = None
            if not refused:
                self._refusing.discard(unit_id)
        return "ours" if ours else "late"

    def _last_fence(self, unit_id: int, wanted: tuple[int, int]) -> tuple[int, int] | None:
        """The last fence of the wanted shape, where it may be asked again: all of them came after the last request."""
        fence = self._chosen.get((unit_id, wanted))
        pending = [(p.function, p.size) for p in self._pending.get(unit_id, ())]
        if fence is None or fence not in pending or wanted not in pending:
            return None
        last = len(pending) - 1 - pending[::-1].index(wanted)
        if pending.index(fence) < last or fence in {(g.function, g.size) for g in self._ghosts.get(unit_id, ())}:
            return None
        if unit_id in self._refusing and any(p[0] == fence[0] and p != fence for p in pending):
            return None  # a refusal bears no size
        return fence

    def _taken(self, unit_id: int) -> set[tuple[int, int]]:
        """Shapes in which something else than the next request may be answered."""
        return {(p.function, p.size) for p in (*self._pending.get(unit_id, ()), *self._ghosts.get(unit_id, ()))}

    def _ghost(self, unit_id: int, function: int, size: int, refused: bool) -> Verdict:
        ghosts = self._ghosts.get(unit_id, [])
        fits = [g for g in ghosts if g.function == function and (refused or g.size == size)]
        if not fits:
            return "foreign"
        self._overtaking = True
        if len({g.size for g in fits}) == 1:  # a refusal bears no size
            ghosts.remove(min(fits, key=lambda g: g.asked_s))
        return "late"


def shape(span: Span) -> tuple[int, int]:
    """Function code and bytes of data in the answer."""
    return FUNCTION[span.table], (span.count + 7) // 8 if span.bits else 2 * span.count


def _counts(span: Span) -> Iterator[Span]:
    """Requests of other sizes: first parts of the span, which are surely there, then longer ones."""
    step, limit = (8, MAX_BITS) if span.bits else (1, MAX_REGISTERS)
    for count in (*range(1, span.count, step), *range(span.count + step, limit + 1, step)):
        if span.address + count <= 65536:
            yield Span(span.table, span.address, count)


def _around(span: Span) -> Iterator[tuple[Span, int, bool]]:
    """The span, then ever wider ones that hold it: request, steps of widening, whether upwards."""
    step, limit = (8, MAX_BITS) if span.bits else (1, MAX_REGISTERS)
    for extra in range(_WIDEST + 1):
        count = span.count + extra * step
        if count > limit:
            return
        if span.address + count <= 65536:
            yield Span(span.table, span.address, count), extra, True
        if extra and span.address >= extra * step:
            yield Span(span.table, span.address - extra * step, count), extra, False
