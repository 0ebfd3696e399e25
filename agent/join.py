"""Points of one table -> the groups that one request each covers, for the least wire time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.driver import Span
from agent.spec import Illegal, PointSpec, Table
from agent.wire_time import WireTime


class _Place:
    """All points that lie in exactly the same registers."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.points: list[PointSpec] = []


def join(points: Sequence[PointSpec], limit: int, illegal: Sequence[Illegal], cost: WireTime) -> list[list[PointSpec]]:
    """Groups by address. points: of one table; limit: registers or bits in one answer; illegal: of that table.

    No group reaches across anything illegal. A point that lies in it itself is alone: its refusal is its own.
    """
    table = points[0].table
    if table is None:
        raise ValueError("only points of a table are joined")
    found: dict[tuple[int, int], _Place] = {}
    for p in sorted(points, key=lambda p: (p.address, p.registers)):
        found.setdefault((p.address, p.registers), _Place(p.address, p.address + p.registers)).points.append(p)
    outcasts = [place for place in found.values() if any(i.holds(place.start, place.end) for i in illegal)]
    groups = [[place] for place in outcasts]
    for run in _runs([p for p in found.values() if p not in outcasts], table, illegal, cost):
        groups += _cheapest(run, table, limit, illegal, cost)
    groups.sort(key=lambda group: group[0].start)
    return [[p for place in group for p in place.points] for group in groups]


def _runs(places: Sequence[_Place], table: Table, illegal: Sequence[Illegal], cost: WireTime) -> Iterator[list[_Place]]:
    """Cuts where one must be (something illegal lies between) and where one always pays (a wide gap)."""
    # Eight bits in a byte, two bytes in a register.
    widest = cost.worth_reading_bytes * (8 if table in ("coil", "discrete") else 0.5)
    run: list[_Place] = []
    end = 0
    for place in places:
        if run and (place.start - end > widest or any(i.parts(end, place.start) for i in illegal)):
            yield run
            run = []
        end = max(end, place.end) if run else place.end
        run.append(place)
    if run:
        yield run


def _cheapest(
    run: Sequence[_Place], table: Table, limit: int, illegal: Sequence[Illegal], cost: WireTime
) -> list[list[_Place]]:
    """The cut of a run into legal requests that takes the least wire time: the shortest path."""

    def legal(start: int, end: int) -> bool:
        return end - start <= limit and not any(i.crossed(start, end) for i in illegal)

    if legal(run[0].start, max(place.end for place in run)):
        return [list(run)]
    best: list[tuple[float, int]] = [(0.0, 0)]  # of the first i places: wire time, and where their last group begins
    for i in range(1, len(run) + 1):
        end, options = 0, []
        for j in range(i - 1, -1, -1):
            end = max(end, run[j].end)
            if j < i - 1 and not legal(run[j].start, end):  # and no wider one is
                break
            options.append((best[j][0] + cost.of(Span(table, run[j].start, end - run[j].start)), j))
        best.append(min(options))
    groups: list[list[_Place]] = []
    i = len(run)
    while i:
        begin = best[i][1]
        groups.append(list(run[begin:i]))
        i = begin
    return groups
