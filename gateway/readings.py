"""`gateway read`: what the devices say now, as a person or a program reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypedDict

import numpy as np

from agent.drivers.ports import why_port_fails
from agent.pipeline import read_cycles
from agent.spec import LineSpec
from gateway.clock import now_ms
from gateway.config import Site
from gateway.illegal import IllegalFile, illegal_path
from gateway.status import Busy, ask, sole_owner
from wire.block import Quality, Reason, Sample
from wire.tag import Tag


class Reading(TypedDict):
    """One tag at one time. value is None when quality is BAD; reason is '' when there is none."""

    tag: str
    ts_ms: int
    value: Any
    unit: str
    quality: str
    reason: str
    device: str


def reading_json(tag: Tag, sample: Sample) -> Reading:
    return {
        "tag": tag.name,
        "ts_ms": sample.ts_ms,
        "value": sample.value,
        "unit": tag.unit,
        "quality": sample.quality.name,
        "reason": sample.reason.name.lower() if sample.reason is not Reason.NONE else "",
        "device": tag.device,
    }


async def read_site(site: Site, cycles: int) -> AsyncIterator[Reading]:
    """One Reading a tag and cycle, from the lines themselves; from the running gateway when one owns them."""
    try:
        with sole_owner(site.outbox.path, looks=True):
            memory = IllegalFile(illegal_path(site.outbox.path))
            async for _, block in read_cycles(site.lines, cycles, now_ms, memory):
                for tag, sample in zip(block.tags, block.samples(), strict=True):
                    yield reading_json(tag, sample)
    except Busy:
        period_s = max(device.period_s for device in site.devices)
        for cycle in range(cycles):
            if cycle:
                await asyncio.sleep(period_s)
            for reading in (await ask(site.outbox.path, {"cmd": "latest"}))["readings"]:
                yield reading


def dead_lines(site: Site, readings: list[Reading]) -> list[str]:
    """What to tell of lines that could not be opened at all."""
    problems = []
    for line in site.lines:
        devices = {device.id for device in line.devices}
        reasons = {r["reason"] for r in readings if r["device"] in devices}
        if reasons == {"line_down"}:
            problems.append(f"line {line.name}: {_why(line)}")
    return problems


def _why(line: LineSpec) -> str:
    if line.by_socket:
        hint = "check host and port in site.yaml, the cable, and that the device is on"
        return f"{line.host}:{line.port} cannot be opened: {hint}"
    return why_port_fails(str(line.port))


def table_line(reading: Reading) -> str:
    """One line for a person."""
    found = reading["value"]
    value = "-" if found is None else shown_value(found)
    quality = (
        reading["quality"] if reading["quality"] == Quality.GOOD.name else f"{reading['quality']} {reading['reason']}"
    )
    return f"{reading['device']}/{reading['tag']:<24} {value:>16} {reading['unit']:<10} {quality}"


def shown_value(value: Any) -> str:
    """A value with the digits that its device meant: a number of single precision has fewer than its double."""
    if not isinstance(value, float):
        return str(value)
    return f"{shortest(value):.12g}"


def shortest(value: float) -> float:
    """12.3 for 12.300000190734863, which is the nearest of single precision; other numbers stay as they are."""
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return float(str(single)) if float(single) == value else value
