"""`gateway plan`: which requests are made, what they cost on the wire, and whether they fit their lines."""

from __future__ import annotations

from collections.abc import Iterator

from agent.advice import misfits, tight
from agent.check import check_line
from agent.load import LineLoad, line_load
from agent.register_unit import place_of
from gateway.config import Site
from gateway.illegal import IllegalFile, illegal_path
from wire.errors import ConfigError


def loads(site: Site) -> list[LineLoad]:
    """One of every line. Raises ConfigError with every line that cannot be planned."""
    memory = IllegalFile(illegal_path(site.outbox.path))
    problems: list[str] = []
    found: list[LineLoad] = []
    for line in site.lines:
        try:
            check_line(line)
        except ConfigError as fault:
            problems += fault.problems
            continue
        learned = {device.id: memory.illegal(device.id, place_of(line, device)) for device in line.devices}
        found.append(line_load(line, learned))
    if problems:
        raise ConfigError([f"{site.path}: {problem}" for problem in problems])
    return found


def check_fits(site: Site, found: list[LineLoad]) -> None:
    """Raises ConfigError with every line whose plan does not fit, and what to change."""
    lines = {line.name: line for line in site.lines}
    problems = [f"{site.path}: {problem}" for load in found for problem in misfits(lines[load.line], load)]
    if problems:
        raise ConfigError(problems)


def warnings(site: Site, found: list[LineLoad]) -> Iterator[str]:
    """Lines whose lack of room for a fault was accepted."""
    lines = {line.name: line for line in site.lines}
    for load in found:
        yield from tight(lines[load.line], load)
