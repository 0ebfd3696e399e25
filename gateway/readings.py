"""`gateway read`: what the devices say now, as a person or a program reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypedDict

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
        with sole_owner(site.outbox.path):
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
            what = f"{line.host}:{line.port}" if line.by_socket else str(line.port)
            problems.append(f"line {line.name}: {what} cannot be opened: {_advice(line)}")
    return problems


def _advice(line: LineSpec) -> str:
    if line.by_socket:
        return "check host and port in site.yaml, the cable, and that the device is on"
    if not Path(str(line.port)).exists():
        return "there is no such port; plug the adapter in or correct the path (ls /dev/serial/by-id)"
    return "another program may hold it, or this user may not open it (group dialout)"


def table_line(reading: Reading) -> str:
    """One line for a person."""
    found = reading["value"]
    # Seven digits are what a Sparkplug Float holds.
    value = "-" if found is None else f"{found:.7g}" if isinstance(found, float) else str(found)
    quality = (
        reading["quality"] if reading["quality"] == Quality.GOOD.name else f"{reading['quality']} {reading['reason']}"
    )
    return f"{reading['device']}/{reading['tag']:<24} {value:>16} {reading['unit']:<10} {quality}"
