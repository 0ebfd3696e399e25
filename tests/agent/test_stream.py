"""Lines with frames from end to end: who is silent, what nobody understands, late answers, meters that break off."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from agent.check import check_line
from agent.dlt645 import ANSWER, FOLLOWS, READ, READ_MORE, Dlt645Framer, encode
from agent.drivers.byte_line import shown
from agent.drivers.dlt645 import Dlt645Driver
from agent.drivers.framed_serial import FramedSerialDriver
from agent.frame_spec import BinarySpec, ChecksumSpec, FrameSpec
from agent.spec import DeviceSpec, LineSpec
from agent.status import LineStatus
from tests.agent.far_end import serial_end, tcp_end
from tests.agent.points import device, point
from tests.agent.test_pipeline import now_ms, running
from wire.block import Reason
from wire.errors import ConfigError, DeviceGarbled, DeviceRefused, DeviceSilent, LineDown

LANES = device(
    point("lane1", None, field="n", when=(("lane", "1"),)),
    point("lane2", None, field="n", when=(("lane", "2"),)),
    frame=FrameSpec(r"L(?P<lane>\d)=(?P<n>\d+)$"),
    period_s=0.2,
)


def line(port: Any, *devices: DeviceSpec, **rest: Any) -> LineSpec:
    rest = {"timeout_s": 0.1, "quiet_s": 0.01, "probe_s": 0.2} | rest
    return LineSpec("road", rest.pop("driver", "serial-text"), port=port, devices=devices, **rest)


async def opened(status: LineStatus) -> None:
    async with asyncio.timeout(60):
        while status.state != "open":
            await asyncio.sleep(0.01)


async def test_a_lane_that_falls_silent_is_bad_while_its_neighbour_is_good() -> None:
    async with serial_end() as end, running(line(end.port, LANES)) as (notes, status):
        await opened(status)
        end.say(b"\r\nL2=7\r\nL3=1\r\n")

        async def lane_1() -> None:
            for i in range(12):
                end.say(b"L1=%d\r\n" % i)
                await asyncio.sleep(0.1)

        await lane_1()
        assert [s.value for s in notes.samples("dev") if s.name == "lane1"] == list(range(12))
        lane_2 = [(s.value, s.reason) for s in notes.samples("dev") if s.name == "lane2"]
        assert lane_2[:2] == [(7, Reason.NONE), (None, Reason.TIMEOUT)]
        assert status.unit("dev").state == "answering" and "lane2" in status.unit("dev").last_error


async def test_what_nobody_understands_is_told_with_a_sample(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.stream.PUZZLED_S", 0.25)
    events = device(point("a", None, field="n"), frame=FrameSpec("A(?P<n>.)"), events=True, period_s=0.1)
    with caplog.at_level(logging.WARNING, "agent.stream"):
        async with serial_end() as end, running(line(end.port, events)) as (notes, status):
            await opened(status)
            end.say(b"\x02B1;\x03\r\nB2\r\n")
            await asyncio.sleep(0.4)
            sample = "02 42 31 3b 03 0d 0a 42 32 0d 0a '.B1;...B2..'"
            assert status.last_error == f"nothing that comes fits a frame; came {sample}"
            end.say(b"A7\r\n")
            await notes.until(lambda: [s.value for s in notes.samples("dev")] == [7])
    assert len(caplog.records) == 1


async def test_a_wrong_delimiter_is_garbage_not_silence() -> None:
    async with serial_end() as end, running(line(end.port, LANES, silent_polls=1)) as (notes, status):
        await opened(status)
        end.say(b"L1=1\nL2=1\n")
        await notes.until(lambda: ("dev", False) in notes.order)
    assert notes.reasons("dev") == [Reason.DEVICE_DEAD] * 2
    assert status.unit("dev").garbled == 1 and "'L1=1.L2=1.'" in status.unit("dev").last_error


def two(pattern: str) -> tuple[DeviceSpec, DeviceSpec]:
    frame = FrameSpec(pattern)
    return (
        device(point("v", None, field="n", device="a"), frame=frame, id="a", request=b"a\r\n"),
        device(point("v", None, field="n", device="b"), frame=frame, id="b", request=b"b\r\n"),
    )


async def test_the_late_answer_of_a_neighbour_is_nobodys_value() -> None:
    spec = line("", *two(r"N(?P<n>\d+)$"))
    late: list[Any] = []

    async with serial_end() as end:
        driver = FramedSerialDriver(
            LineSpec(**{f: getattr(spec, f) for f in spec.__slots__} | {"port": end.port}), now_ms
        )
        await driver.open()
        with pytest.raises(DeviceSilent):
            await driver.query("a", b"a\r\n", lambda c: str(c).startswith("N"))
        asyncio.get_running_loop().call_later(0.02, lambda: end.say(b"N1\r\n"))
        with pytest.raises(DeviceGarbled, match=r"'N1\.\.'"):
            await driver.query("b", b"b\r\n", lambda c: str(c).startswith("N"))
        assert driver.late == 1
        asyncio.get_running_loop().call_later(0.02, lambda: end.say(b"N1\r\n"))
        driver._owed.clear()
        late.append(await driver.query("a", b"a\r\n", lambda c: str(c).startswith("N")))
        await driver.close()
        with pytest.raises(LineDown, match="not open"):
            await driver.query("a", b"a\r\n", lambda c: True)
    assert late[0].content == "N1"


async def test_the_answer_that_a_cancelled_query_left_behind_is_nobodys_value() -> None:
    def fits(content: Any) -> bool:
        return str(content).startswith("N")

    async with serial_end() as end:
        driver = FramedSerialDriver(line(end.port, *two(r"N(?P<n>\d+)$")), now_ms)
        await driver.open()
        asking = asyncio.create_task(driver.query("a", b"a\r\n", fits))
        await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.wait([asking])
        asyncio.get_running_loop().call_later(0.02, lambda: end.say(b"N1\r\n"))
        with pytest.raises(DeviceGarbled):
            await driver.query("b", b"b\r\n", fits)
        assert asking.cancelled() and driver.late == 1
        await driver.close()


async def test_an_answer_that_comes_while_the_line_is_left_to_fall_silent_is_late_not_garbled() -> None:
    async with serial_end() as end:
        text = FramedSerialDriver(line(end.port, LANES, quiet_s=0.2), now_ms)
        meters = Dlt645Driver(line(end.port, LANES, quiet_s=0.2, driver="dlt645"), now_ms)
        answer = encode(ADDRESS, READ | ANSWER, DI + b"\x01\0\0\0")
        for driver, late in ((text, b"L1=1\r\n"), (meters, answer)):
            await driver.open()
            asyncio.get_running_loop().call_later(0.15, end.say, late)
            for _ in range(2):
                with pytest.raises(DeviceSilent, match="no answer within"):
                    if isinstance(driver, Dlt645Driver):
                        await driver.fetch(METER, 0x00010000)
                    else:
                        await driver.query("a", b"a\r\n", lambda c: True)
            assert driver.late == 1
            await driver.close()


async def test_a_device_server_that_hangs_up_or_is_not_there_is_line_down() -> None:
    async with tcp_end(b"\r\nL1=1\r\n", hang_up=True) as port:
        driver = FramedSerialDriver(line(port, LANES, host="127.0.0.1"), now_ms)
        await driver.open()
        frames = driver.stream()
        assert (await anext(frames)).content == "L1=1"
        with pytest.raises(LineDown, match="closed the connection"):
            await anext(frames)
    with pytest.raises(LineDown, match="cannot be reached"):
        await driver.open()


METER = "000000000012"
ADDRESS = bytes.fromhex("120000000000")


async def fetched(*answers: bytes | None) -> Any:
    """What a meter driver makes of answers, one a request; and the requests."""
    left = list(answers)
    async with serial_end(lambda asked: left.pop(0) if left else None) as end:
        spec = device(point("e", None, field="energy_import", raw="float64"), meter=METER)
        driver = Dlt645Driver(line(end.port, spec, driver="dlt645"), now_ms)
        await driver.open()
        try:
            return (await driver.fetch(METER, 0x00010000)).content, Dlt645Framer().split(bytes(end.asked)), driver.late
        finally:
            await driver.close()


DI = bytes.fromhex("00000100")


async def test_an_item_in_several_frames_is_joined_in_their_order() -> None:
    content, asked, late = await fetched(
        encode(ADDRESS, READ | ANSWER | FOLLOWS, DI + b"\x01\x02"),
        encode(ADDRESS, READ_MORE | ANSWER | FOLLOWS, DI + b"\x99\x07")  # another number than asked for
        + encode(ADDRESS, READ_MORE | ANSWER | FOLLOWS, DI + b"\x03\x04\x01"),
        encode(ADDRESS, READ_MORE | ANSWER, DI + b"\x05\x02"),
    )  # fmt: skip
    assert content == bytes([1, 2, 3, 4, 5])
    assert [(h.control, h.data) for h in asked] == [(0x11, DI), (0x12, DI + b"\x01"), (0x12, DI + b"\x02")]
    assert late == 1


async def test_answers_of_another_meter_or_item_are_kept_away() -> None:
    right = encode(ADDRESS, READ | ANSWER, DI + b"\x01\0\0\0")
    other = encode(b"\x99" * 6, READ | ANSWER, DI + b"\x02\0\0\0")
    item = encode(ADDRESS, READ | ANSWER, b"\x01" + DI[1:] + b"\x03\0\0\0")
    content, _, late = await fetched(b"\x68\x12" + other + item + right)
    assert (content, late) == (b"\x01\0\0\0", 2)


async def test_faults_of_a_meter_have_their_names() -> None:
    with pytest.raises(DeviceRefused, match="no such data"):
        await fetched(encode(ADDRESS, 0xD1, b"\x02"))
    with pytest.raises(DeviceSilent):
        await fetched(None)
    broken = bytearray(encode(ADDRESS, READ | ANSWER, DI + b"\x01\0\0\0"))
    broken[12] ^= 1
    with pytest.raises(DeviceGarbled, match="68 12 00"):
        await fetched(bytes(broken))


def test_a_sample_is_shown_as_hex_and_as_text() -> None:
    assert shown(b"\x02A\xff") == "02 41 ff '.A.'"


BINARY = FrameSpec(binary=BinarySpec(b"\x02", length=6))


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (line("p"), "no devices"),
        (line(4001, LANES), "path of its port"),
        (line("p", LANES, baud=7), "7 baud"),
        (line("p", LANES, timeout_s=0), "timeout_s"),
        (line("p", device(frame=BINARY)), "no tags"),
        (line("p", device(point("a", None, field="n"))), "needs a frame"),
        (line("p", device(point("a", None, field="x"), frame=FrameSpec("(?P<n>.)"))), "no field 'x'"),
        (line("p", device(point("a", None, field="0"), frame=FrameSpec(separator=","))), "number of a field"),
        (line("p", device(point("a", None, field="n"), frame=FrameSpec("(?P<n>"))), "regular expression"),
        (line("p", device(point("a", None, field="n"), frame=FrameSpec(columns={"n": (3, 1)}))), "from 1"),
        (line("p", device(point("a", None, field="n"), frame=FrameSpec("(?P<n>.)", ""))), "delimiter"),
        (line("p", device(point("a", None, field="n"), frame=FrameSpec())), "one of pattern"),
        (line("p", device(point("a", None), frame=FrameSpec("x")), driver="serial-binary"), "described by start"),
        (line("p", device(point("a", None, 5), frame=BINARY), driver="serial-binary"), "beyond the 6 bytes"),
        (line("p", device(point("a", None, -1), frame=BINARY), driver="serial-binary"), "needs a place"),
        (
            line("p", device(point("a", None, 1, "bool", bit=9), frame=BINARY), driver="serial-binary"),
            "bit must be 0 to 7",
        ),
        (
            line("p", device(point("a", None), frame=FrameSpec(binary=BinarySpec(b"\x02"))), driver="serial-binary"),
            "where it ends",
        ),
        (
            line(
                "p",
                device(
                    point("a", None),
                    frame=FrameSpec(
                        max_length=4,
                        binary=BinarySpec(
                            b"", b"\x03", 6, length_at=1, checksum=ChecksumSpec("crc-ccitt", 0, -2, False)
                        ),
                    ),
                ),
                driver="serial-binary",
            ),
            "start is missing",
        ),
        (line("p", device(point("a", None, field="n"), meter="12"), driver="dlt645"), "12 digits"),
        (
            line("p", LANES, device(point("v", None, field="n", device="b"), id="b", frame=FrameSpec("x", "\n"))),
            "share",
        ),
        (line("p", LANES, two("(?P<n>.)")[1]), "either all"),
    ],
)  # fmt: skip
def test_lines_that_cannot_work_say_why(spec: LineSpec, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        check_line(spec)
