"""A plan for a person, and for a machine. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agent.drivers.fence import FUNCTION
from agent.load import LineLoad, Listening, Request
from agent.spec import LineSpec


def plan_json(line: LineSpec, load: LineLoad) -> dict[str, Any]:
    """Times in seconds. address: zero-based; null where a device has no registers. through: first and last address."""
    return {
        "line": load.line,
        "driver": line.driver,
        "where": place(line),
        "period_s": load.period_s,
        "cycle_s": round(load.cycle_s, 6),
        "exact": load.exact,
        "longest_cycle_s": round(load.longest_cycle_s, 6),
        "load": round(load.load, 6),
        "reserve_s": round(load.reserve_s, 6),
        "fault_reserve": line.fault_reserve,
        "requests": [_request_json(r) for r in load.requests],
        "listens": [
            {
                "device": heard.device,
                "tags": list(heard.tags),
                "frame_bytes": heard.frame_bytes,
                "period_s": heard.period_s,
                "bytes_per_s": heard.bytes_per_s,
            }
            for heard in load.listens
        ],
    }


def _request_json(r: Request) -> dict[str, Any]:
    return {
        "device": r.device,
        "unit": r.who,
        "asks": r.asks or None,
        "function": FUNCTION[r.span.table] if r.span else None,
        "table": r.span.table if r.span else None,
        "address": r.span.address if r.span else None,
        "count": r.span.count if r.span else None,
        "through": [list(gap) for gap in r.through],
        "request_bytes": r.sent,
        "answer_bytes": r.answered,
        "exact": r.exact,
        "period_s": r.period_s,
        "wire_s": round(r.wire_s, 6),
        "tags": list(r.tags),
    }


def plan_text(line: LineSpec, load: LineLoad, width: int) -> Iterator[str]:
    """The requests of a line, its sum last, in lines of at most width columns where that can be."""
    yield cut(f"line {line.name}: {line.driver}, {place(line)}", width)
    if load.listens:
        for heard in load.listens:
            yield cut(f"  {heard.device} speaks by itself: {_pace(heard)}", width)
            yield f"    {listed(heard.tags, width - 4)}"
        yield f"line {line.name}: {_plural(len(load.listens), 'device')} listened to, nothing is asked"
        return
    yield from _table(load.requests, width)
    yield from _sums(line, load)


_HEADS = (("device", "<"), ("unit", "<"), ("asks", "<"), ("count", ">"), ("bytes", ">"), ("every", ">"), ("wire", ">"))


def _table(requests: Sequence[Request], width: int) -> Iterator[str]:
    """A row for each request, its tags below it. A column in which nothing would stand is left out."""
    rows = [_row(r) for r in requests]
    shown = [i for i in range(len(_HEADS)) if any(row[i] for row in rows)]
    widths = [max(len(_HEADS[i][0]), *(len(row[i]) for row in rows)) for i in shown]
    # The device's name gives way first: numbers are what the plan is about.
    widths[0] = max(8, min(widths[0], width - sum(widths[1:]) - 2 * len(widths)))

    def told(cells: Sequence[str]) -> str:
        placed = (f"{cut(cells[i], w):{_HEADS[i][1]}{w}}" for i, w in zip(shown, widths, strict=True))
        return "  " + "  ".join(placed)

    yield told([head for head, _ in _HEADS])
    for request, row in zip(requests, rows, strict=True):
        yield told(row)
        yield f"    {listed(request.tags, width - 4)}"
        if request.through:
            gaps = [f"{first}-{last}" if last > first else f"{first}" for first, last in request.through]
            yield f"    reads through {listed(gaps, width - 18)}"


def _sums(line: LineSpec, load: LineLoad) -> Iterator[str]:
    least = "" if load.exact else f"{_s(load.least_cycle_s)} to "
    share = "" if load.exact else f"{100 * load.least_cycle_s / load.period_s:.0f} to "
    yield (
        f"line {line.name}: {_plural(len(load.requests), 'request')}, cycle {least}{_s(load.cycle_s)} s of "
        f"{_s(load.period_s)} s, load {share}{100 * load.load:.0f} %"
    )
    if load.reserve_s:
        both = f"{_s(load.with_fault_s)} s of {_s(load.period_s)} s with it"
        yield f"  reserve for one silent device {_s(load.reserve_s)} s, {both}"
    if not load.exact:
        yield "  the length of an answer is not known: at most max_length of the frame"


def place(line: LineSpec) -> str:
    """Where a line is, and how it speaks."""
    at = f"{line.host}:{line.port}" if line.by_socket else str(line.port)
    if line.driver == "modbus-tcp":
        return at
    framed = not line.driver.startswith("modbus")
    if line.by_socket and framed:
        return f"{at}, taken for {line.baud} baud"
    return f"{at}, {line.baud} baud 8{line.parity}{line.stop_bits}"


def _row(r: Request) -> tuple[str, ...]:
    if r.span is None:
        asks, count = r.asks, ""
    else:
        last = r.span.address + r.span.count - 1
        reach = f"{r.span.address}-{last}" if r.span.count > 1 else f"{r.span.address}"
        asks, count = f"{FUNCTION[r.span.table]:02} {r.span.table} {reach}", str(r.span.count)
    many = f"{r.sent}+{'' if r.exact else '<='}{r.answered}"
    return (r.device, r.who, asks, count, many, f"{r.period_s:g} s", f"{1000 * r.wire_s:.1f} ms")


def _pace(heard: Listening) -> str:
    if heard.period_s is None:
        return "events; the device sets the pace"
    if heard.bytes_per_s is None:
        return f"a frame in {heard.period_s:g} s or sooner; the device sets the pace"
    return f"{heard.frame_bytes} bytes in {heard.period_s:g} s or sooner, {heard.bytes_per_s:.3g} bytes/s or more"


def listed(names: Sequence[str], width: int) -> str:
    """As many names as fit; how many more there are."""
    for shown in range(len(names), 0, -1):
        more = f" and {len(names) - shown} more" if shown < len(names) else ""
        text = ", ".join(names[:shown]) + more
        if len(text) <= width or shown == 1:
            return text
    return ""


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(1, width - 2)] + ".."


def _s(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds >= 0.01 else f"{seconds:.4f}"


def _plural(many: int, what: str) -> str:
    return f"{many} {what}" + ("s" if many != 1 else "")
