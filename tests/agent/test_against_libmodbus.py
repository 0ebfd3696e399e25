"""The agent against a foreign witness: a slave on Debian's libmodbus, compiled here, over TCP, RTU and a converter."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import subprocess
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from agent.pipeline import read_cycles
from agent.spec import LineSpec
from tests.agent.points import device, point
from tests.agent.test_pipeline import now_ms
from wire.block import Quality, Reason
from wire.tag import Datatype

MODES = ((1, "import"), (0x1234, "standby"))
POINTS = (
    point("uint32", raw="uint32", address=0), point("int32", raw="int32", address=0),
    point("int64", raw="int64", address=2), point("uint64", raw="uint64", address=2),
    point("int16", raw="int16", address=6),
    point("invalid", raw="int16", address=7, invalid=(-32768,)), point("bcd", raw="bcd16", address=8),
    point("no_bcd", raw="bcd16", address=9), point("bit0", raw="bool", address=10, bit=0),
    point("bit1", raw="bool", address=10, bit=1), point("bit5", raw="bool", address=10, bit=5),
    point("mode", address=8, states=MODES, datatype=Datatype.STRING),
    point("label", raw="string", address=20, length=8, order="BADC"),
    point("native", raw="float32", address=32, order="CDAB"),
    *(point(f"c{i}", "coil", i, "bool") for i in range(40)),
    *(point(f"d{i}", "discrete", i, "bool") for i in range(40)),
    *(point(f"i{i}", "input", i) for i in range(60)), point("beyond", "input", 70),
)  # fmt: skip
RIGHT: dict[str, Any] = {
    "uint32": 0x89ABCDEF, "int32": 0x89ABCDEF - 2**32, "int64": 0x8123456789ABCDEF - 2**64,
    "uint64": 0x8123456789ABCDEF,
    "int16": -1234, "invalid": None, "bcd": 1234, "no_bcd": None, "bit0": True, "bit1": False, "bit5": True,
    "mode": "standby", "label": "EPLP1 M", "native": -12.5,
    **{f"c{i}": i % 3 == 0 for i in range(40)}, **{f"d{i}": i % 7 == 1 for i in range(40)},
    **{f"i{i}": 1000 + 17 * i for i in range(60)}, "beyond": None,
}  # fmt: skip
WHY = {"invalid": Reason.INVALID_MARKER, "no_bcd": Reason.NOT_A_NUMBER, "beyond": Reason.REFUSED}


@pytest.fixture(scope="module")
def slave(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None or not Path("/usr/include/modbus/modbus.h").exists():
        pytest.skip("needs gcc and libmodbus-dev: make servers")
    program = tmp_path_factory.mktemp("libmodbus") / "slave"
    source = Path(__file__).parent / "libmodbus" / "slave.c"
    subprocess.run(["gcc", "-Wall", "-I/usr/include/modbus", source, "-o", program, "-lmodbus"], check=True)
    return program


@asynccontextmanager
async def running(*command: str | Path) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(await asyncio.wait_for(process.stdout.readline(), 10))
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class Wire:
    """Two pseudo-terminals joined, and a converter's socket on the same bus: what one says the other hears."""

    async def __aenter__(self) -> Wire:
        self._ends = [pty.openpty(), pty.openpty()]
        for master, end in self._ends:
            tty.setraw(end)
            os.set_blocking(master, False)
        self.ours, self.theirs = (os.ttyname(end) for _, end in self._ends)
        loop = asyncio.get_running_loop()
        (a, _), (b, _) = self._ends
        self._writers: list[asyncio.StreamWriter] = []
        loop.add_reader(a, self._pass, a, b)
        loop.add_reader(b, self._pass, b, a)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        for master, end in self._ends:
            asyncio.get_running_loop().remove_reader(master)
            os.close(master)
            os.close(end)

    def _pass(self, source: int, target: int) -> None:
        data = os.read(source, 4096)
        if self._writers and source == self._ends[1][0]:
            self._writers[-1].write(data)
        else:
            os.write(target, data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while data := await reader.read(4096):
            os.write(self._ends[1][0], data)


async def read_right(line: LineSpec) -> None:
    blocks = [b async for _, b in read_cycles([line], 3, now_ms)]
    samples = [s for b in blocks for s in b.samples()]
    assert {s.name for s in samples} == set(RIGHT)
    for s in samples:
        assert (s.value, s.reason) == (RIGHT[s.name], WHY.get(s.name, Reason.NONE)), s
        assert s.quality is (Quality.BAD if s.name in WHY else Quality.GOOD)


async def test_over_tcp(slave: Path) -> None:
    async with running(slave, "tcp") as port:
        spec = device(*POINTS, period_s=0.05)
        await read_right(LineSpec("plc", "modbus-tcp", "127.0.0.1", port, devices=(spec,)))


@pytest.mark.parametrize("driver", ["modbus-rtu", "modbus-rtu-tcp"])
async def test_over_a_bus_and_through_a_converter(slave: Path, driver: Any) -> None:
    spec = device(*POINTS, unit_id=17, period_s=0.05, max_registers=20)
    async with Wire() as wire, running(slave, "rtu", wire.theirs, "17"):
        far = driver == "modbus-rtu-tcp"
        port = wire.port if far else wire.ours
        await read_right(LineSpec("bus", driver, "127.0.0.1", port, baud=19200, timeout_s=0.5, devices=(spec,)))
