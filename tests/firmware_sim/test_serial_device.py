"""Streaming text: the pace of the wire, missing readers, faults."""

from __future__ import annotations

import asyncio
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest
import serial

from tests.firmware_sim.running import running, truth

LINE = re.compile(rb"L1 OCC=(\d{3}\.\d\d) SPD=(\d{3}\.\d) VOL=(\d{5})\r\n")


def listen(path: str, seconds: float) -> list[tuple[float, bytes]]:
    """What comes, with the second it came."""
    with serial.Serial(path, 9600, timeout=0) as port:
        begin, pieces = time.monotonic(), []
        while (since := time.monotonic() - begin) < seconds:
            if piece := port.read(256):
                pieces.append((since, piece))
            time.sleep(0.001)
    return pieces


async def test_lines_say_what_the_truth_says(tmp_path: Path) -> None:
    async with running(tmp_path) as devices:
        heard = b"".join(piece for _, piece in await asyncio.to_thread(listen, devices["road"]["port"], 1.05))
    told = [
        {"occupancy": float(occupancy), "speed": float(speed), "flow": int(flow)}
        for occupancy, speed, flow in LINE.findall(heard)
    ]
    served = [each["values"] for each in truth(tmp_path, "served", "road")]
    assert len(told) >= 8
    assert any(served[at : at + len(told)] == told for at in range(3))


async def test_a_line_takes_the_time_of_the_wire(tmp_path: Path) -> None:
    async with running(tmp_path, changes=("lines.text.baud=1200", "devices.road.row_s=1")) as devices:
        pieces = await asyncio.to_thread(listen, devices["road"]["port"], 1.8)
    # The line of second 1: whoever opens the port meets the first one half-way.
    begin = next(at for at, (before, after) in enumerate(pairwise(pieces), 1) if after[0] - before[0] > 0.3)
    line = pieces[begin:]
    assert LINE.fullmatch(b"".join(piece for _, piece in line))
    # 35 characters of 10 bits at 1200 baud: 292 ms, in many pieces.
    assert 0.2 < line[-1][0] - line[0][0] < 0.6
    assert len(line) > 5


async def test_lines_that_nobody_reads_are_lost_and_not_called_served(tmp_path: Path) -> None:
    # 115200 baud and a row every 10 ms fill the queue of 4000 bytes in a little more than a second.
    async with running(tmp_path, changes=("lines.text.baud=115200", "devices.road.row_s=0.01")) as devices:
        await asyncio.sleep(2.5)
        count_full = len(truth(tmp_path, "served", "road"))
        await asyncio.sleep(0.5)
        assert len(truth(tmp_path, "served", "road")) == count_full
        # A reader that comes (and clears the queue, as pyserial does) gets whole lines again.
        heard = b"".join(piece for _, piece in await asyncio.to_thread(listen, devices["road"]["port"], 0.5))
        assert len(LINE.findall(heard)) >= 5
        assert len(truth(tmp_path, "served", "road")) > count_full
    assert 105 <= count_full <= 116


@pytest.mark.parametrize(("kind", "lines"), [("silent", 0), ("garbled", 0)])
async def test_faults_of_a_text_line(tmp_path: Path, kind: str, lines: int) -> None:
    faults = f"  - {{device: road, kind: {kind}, at_s: 0, for_s: 60}}\n"
    async with running(tmp_path, faults) as devices:
        heard = b"".join(piece for _, piece in await asyncio.to_thread(listen, devices["road"]["port"], 0.5))
    assert len(LINE.findall(heard)) == lines
    assert (heard == b"") == (kind == "silent")
    assert truth(tmp_path, "served", "road") == []


async def test_a_late_line_comes_late(tmp_path: Path) -> None:
    faults = "  - {device: road, kind: late, at_s: 0, for_s: 60, delay_s: 0.5}\n"
    async with running(tmp_path, faults) as devices:
        pieces = await asyncio.to_thread(listen, devices["road"]["port"], 0.8)
    assert pieces and pieces[0][0] > 0.4
