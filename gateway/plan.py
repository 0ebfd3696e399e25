"""`gateway plan`: which requests are made, what they cost on the wire, and whether they fit their lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.check import check_line
from agent.load import LineLoad, line_load, misfits, tight
from agent.register_unit import place_of
from gateway.config import Site
from gateway.illegal import IllegalFile, illegal_path
from wire.errors import ConfigError


def loads(site: Site) -> list[LineLoad]:
    """One of every line whose devices are asked. Raises ConfigError with every line that cannot be planned."""
    memory = IllegalFile(illegal_path(site.outbox.path))
    problems: list[str] = []
    found: list[LineLoad] = []
    for line in site.lines:
        try:
            check_line(line)
        except ConfigError as fault:
            problems += fault.problems
            continue
        if line.driver.startswith("modbus"):
            learned = {device.id: memory.illegal(device.id, place_of(line, device)) for device in line.devices}
            found.append(line_load(line, learned))
    if problems:
        raise ConfigError([f"{site.path}: {problem}" for problem in problems])
    return found


def check_fits(site: Site, found: list[LineLoad]) -> None:
    """Raises ConfigError with every line whose plan takes more than its time."""
    lines = {line.name: line for line in site.lines}
    problems = [f"{site.path}: {problem}" for load in found for problem in misfits(lines[load.line], load)]
    if problems:
        raise ConfigError(problems)


def warnings(site: Site, found: list[LineLoad]) -> Iterator[str]:
    """Lines that have no room for a fault."""
    lines = {line.name: line for line in site.lines}
    for load in found:
        yield from tight(lines[load.line], load)


def plan_json(load: LineLoad) -> dict[str, Any]:
    """Times in seconds. address: zero-based."""
    return {
        "line": load.line,
        "period_s": load.period_s,
        "cycle_s": round(load.cycle_s, 6),
        "longest_cycle_s": round(load.longest_cycle_s, 6),
        "load": round(load.load, 6),
        "reserve_s": round(load.reserve_s, 6),
        "requests": [
            {
                "device": r.planned.device,
                "unit_id": r.unit_id,
                "table": r.planned.span.table,
                "address": r.planned.span.address,
                "count": r.planned.span.count,
                "period_s": r.planned.period_s,
                "wire_s": round(r.wire_s, 6),
                "tags": list(r.planned.tags.names),
            }
            for r in load.requests
        ],
    }


def plan_text(load: LineLoad) -> Iterator[str]:
    """The requests of a line for a person, its sum last."""
    for r in load.requests:
        span = r.planned.span
        where = f"{span.table} {span.address}" + (f"-{span.address + span.count - 1}" if span.count > 1 else "")
        many = len(r.planned.points)
        yield (
            f"  {r.planned.device:<24} unit {r.unit_id:<4} {where:<22} {many:>4} tag{'s' if many > 1 else ' '} "
            f"every {r.planned.period_s:g} s {r.wire_s * 1000:>9.2f} ms"
        )
    reserve = f", reserve for one fault {load.reserve_s:.2f} s" if load.reserve_s else ""
    yield (
        f"line {load.line}: {len(load.requests)} requests, cycle {load.cycle_s:.2f} s of {load.period_s:.2f} s, "
        f"load {100 * load.load:.0f} %{reserve}"
    )
