"""Debian's mbpoll, built on libmodbus, reads and writes the simulator: a witness that shares nothing with us."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.firmware_sim.running import PLANT, running_text, truth

MBPOLL = shutil.which("mbpoll")
pytestmark = pytest.mark.skipif(MBPOLL is None, reason="mbpoll is not installed: run deploy/setup/servers.sh")


async def mbpoll(entry: dict[str, Any], *arguments: str, values: tuple[str, ...] = ()) -> str:
    """Its output; addresses begin at 0."""
    if "host" in entry:
        where, mode = entry["host"], ["-m", "tcp", "-p", str(entry["port"])]
    else:
        where, mode = entry["port"], ["-m", "rtu", "-b", "115200", "-P", "none"]
    command = [str(MBPOLL), *mode, "-0", "-1", "-o", "2", "-a", str(entry["unit_id"]), *arguments, where, *values]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, said.decode()
    return said.decode()


def cells(said: str) -> dict[int, str]:
    return {int(at): value for at, value in re.findall(r"^\[(\d+)\]:\s+(\S+)", said, re.M)}


@pytest.mark.parametrize("device", ["tcp", "bus"])
async def test_it_reads_what_the_truth_says_was_served(tmp_path: Path, device: str) -> None:
    async with running_text(tmp_path, PLANT) as at:
        assert cells(await mbpoll(at[device], "-t", "4", "-r", "0", "-c", "1")) == {0: "10"}
        ramp = cells(await mbpoll(at[device], "-t", "4:float", "-B", "-r", "1", "-c", "1"))
        count = cells(await mbpoll(at[device], "-t", "4:int", "-B", "-r", "3", "-c", "1"))
        assert cells(await mbpoll(at[device], "-t", "0", "-r", "0", "-c", "2")) == {0: "0", 1: "1"}
    _, second, third, _ = (each["values"] for each in truth(tmp_path, "served", device))
    assert float(ramp[1]) == pytest.approx(second["ramp"], rel=1e-4)
    assert int(count[3]) == third["count"]


@pytest.mark.parametrize("device", ["tcp", "bus"])
async def test_it_writes_one_and_several(tmp_path: Path, device: str) -> None:
    async with running_text(tmp_path, PLANT) as at:
        await mbpoll(at[device], "-t", "4", "-r", "0", values=("4711",))
        await mbpoll(at[device], "-t", "4:float", "-B", "-r", "1", values=("12.5",))
        await mbpoll(at[device], "-t", "0", "-r", "0", values=("1", "0"))
        assert cells(await mbpoll(at[device], "-t", "4", "-r", "0", "-c", "1")) == {0: "4711"}
    assert [each["held"] for each in truth(tmp_path, "written", device)] == [
        {"ten": 4711},
        {"ramp": 12.5},
        {"relay": True, "lamp": False},
    ]
