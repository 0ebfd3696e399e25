"""Text lines of a serial port: cut at the delimiter, garbage marked, cancellation safe."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.driver import Span
from agent.drivers.framed_serial import FramedSerialDriver
from agent.frame_spec import FrameSpec
from agent.framer import TextFramer as Splitter
from agent.spec import LineSpec
from tests.agent.points import device, point
from wire.errors import LineDown

DEVICE = device(point("a", None, field="a"), frame=FrameSpec(r"A=(?P<a>\d+)"))


class Port:
    """The far end of a serial port."""

    def __init__(self) -> None:
        self.master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)

    def say(self, data: bytes) -> None:
        os.write(self.master, data)

    def unplug(self) -> None:
        for fd in (self.master, self._slave):
            os.close(fd)
        self.master = -1


@pytest.fixture
def port() -> Iterator[Port]:
    found = Port()
    yield found
    if found.master >= 0:
        found.unplug()


def driver_on(path: str, baud: int = 9600) -> FramedSerialDriver:
    return FramedSerialDriver(LineSpec("road", "serial-text", port=path, baud=baud, devices=(DEVICE,)), lambda: 77)


async def test_lines_come_as_frames_with_their_stamp(port: Port) -> None:
    driver = driver_on(port.path)
    await driver.open()
    port.say(b"lf a line\r\nA=1\r\nA=")
    frames = driver.stream()
    async with asyncio.timeout(60):
        first = await anext(frames)
        assert (first.ts_ms, first.content) == (77, "A=1")
        waiting = asyncio.create_task(anext(frames))  # type: ignore[arg-type]
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        port.say(b"2\r\n\xff\xfe\r\n")
        assert [(await anext(frames)).content, (await anext(frames)).content] == ["A=2", None]
    await driver.close()


async def test_a_port_that_is_pulled_out_is_line_down_after_the_last_frame(port: Port) -> None:
    driver = driver_on(port.path)
    await driver.open()
    frames = driver.stream()
    waiting = asyncio.create_task(anext(frames))  # type: ignore[arg-type]
    await asyncio.sleep(0.02)
    port.unplug()
    with pytest.raises(LineDown):
        async with asyncio.timeout(60):
            await waiting
    with pytest.raises(LineDown):
        await anext(frames)


async def test_ports_that_do_not_open_say_why(port: Port, tmp_path: Path) -> None:
    with pytest.raises(LineDown, match="no such port"):
        await driver_on(str(tmp_path / "none")).open()
    with pytest.raises(LineDown, match="settings"):
        await driver_on(port.path, baud=-1).open()
    first = driver_on(port.path)
    await first.open()
    with pytest.raises(LineDown, match="in use"):
        await driver_on(port.path).open()
    with pytest.raises(LineDown, match="not asked for registers"):
        await first.read(1, Span("input", 0, 1))
    await first.close()


lines = st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20), max_size=20)


@given(lines, st.lists(st.integers(1, 7), min_size=1))
def test_the_splitter_finds_every_line_however_the_bytes_come(texts: list[str], sizes: list[int]) -> None:
    splitter = Splitter(FrameSpec(".*"))
    data = b"tail\r\n" + "".join(t + "\r\n" for t in texts).encode()
    found: list[str | bytes | None] = []
    at = i = 0
    while at < len(data):
        size = sizes[i % len(sizes)]
        found += splitter.split(data[at : at + size])
        at, i = at + size, i + 1
    assert found == texts
    assert splitter.overlong == 0


def test_an_overlong_line_is_one_bad_frame_and_the_next_is_good() -> None:
    splitter = Splitter(FrameSpec(".*", max_length=10))
    assert splitter.split(b"\r\n") == []
    found = [f for _ in range(20) for f in splitter.split(b"xxxxxxx")]
    assert (found, splitter.overlong) == ([None], 1)
    assert splitter.split(b"x\r") == []
    assert splitter.split(b"\nA=1\r\n" + b"y" * 11 + b"\r\nA=2\r\n") == ["A=1", None, "A=2"]


def test_noise_before_the_first_delimiter_is_nobodys_frame() -> None:
    splitter = Splitter(FrameSpec(".*", max_length=10))
    assert [f for _ in range(20) for f in splitter.split(b"\x80\xff\x00")] == []
    assert splitter.split(b"\r\nA=1\r\n") == ["A=1"]
