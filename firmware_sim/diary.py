"""Writes the begin and the end of every window into the truth while the simulation runs."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Iterator

from firmware_sim.clock import SimClock
from firmware_sim.devices.device import Window
from firmware_sim.truth import Truth


async def keep_diary(windows: Iterable[tuple[str, Iterator[Window]]], clock: SimClock, truth: Truth) -> None:
    """Writes each window's begin when it begins and its end when it ends; ends open ones when cancelled."""
    merged = heapq.merge(*(_named(device, each) for device, each in windows), key=lambda item: item[1])
    async with asyncio.TaskGroup() as tasks:
        for device, begins_s, window in merged:
            await clock.until(begins_s)
            tasks.create_task(_one(device, window, clock, truth), name=f"fault[{device}:{window.name}]")


def _named(device: str, windows: Iterator[Window]) -> Iterator[tuple[str, float, Window]]:
    return ((device, window.from_s, window) for window in windows)


async def _one(device: str, window: Window, clock: SimClock, truth: Truth) -> None:
    begin_ms, end_ms = clock.wall_ms(window.from_s), clock.now_ms()
    truth.fault(device, window.name, begin_ms, None)
    try:
        await clock.until(window.to_s)
        end_ms = clock.wall_ms(window.to_s)
    except asyncio.CancelledError:
        end_ms = max(begin_ms, clock.now_ms())
        raise
    finally:
        truth.fault(device, window.name, begin_ms, end_ms)


async def keep_health(levels: Iterable[tuple[str, Iterator[tuple[float, int]]]], clock: SimClock, truth: Truth) -> None:
    """Writes each whole per cent that a device's health loses, when it loses it."""
    for t_s, device, percent in heapq.merge(*(_levels(device, each) for device, each in levels)):
        await clock.until(t_s)
        truth.health(device, clock.wall_ms(t_s), percent)


def _levels(device: str, levels: Iterator[tuple[float, int]]) -> Iterator[tuple[float, str, int]]:
    return ((t_s, device, percent) for t_s, percent in levels)
