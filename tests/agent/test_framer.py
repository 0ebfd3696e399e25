"""Binary frames: found whole however the bytes come, and with noise between them; checksums against known values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.checksum import CHECKSUMS
from agent.dlt645 import Dlt645Framer, encode, read_request
from agent.frame_spec import BinarySpec, ChecksumKind, ChecksumSpec, FrameSpec
from agent.framer import BinaryFramer, Framer, checksum, framer


@pytest.mark.parametrize(
    ("kind", "wanted"),
    # The check values of the CRC RevEng catalogue, of "123456789".
    [("crc16-modbus", 0x4B37), ("crc-ccitt", 0x29B1), ("crc-xmodem", 0x31C3), ("sum8", 0xDD), ("xor", 0x31)],
)
def test_checksums_of_the_catalogue(kind: ChecksumKind, wanted: int) -> None:
    assert CHECKSUMS[kind][0](b"123456789") == wanted


CRC = ChecksumSpec("crc16-modbus", 0, -2, True)
LENGTHS = BinarySpec(b"\xaa\x55", length_at=2, length_add=5, checksum=CRC)
FIXED = BinarySpec(b"\x7e", b"\x0d", length=9, checksum=replace(CRC, at=-3))
ENDED = BinarySpec(b"\x02", b"\x03", checksum=ChecksumSpec("crc-ccitt", 1, -3, False))


def sealed(spec: BinarySpec, body: bytes) -> bytes:
    assert spec.checksum is not None
    if spec.length:
        body = body[: spec.length - 4].ljust(spec.length - 4, b"\x7e")
    size = bytes([len(body)]) if spec.length_at is not None else b""
    frame = spec.start + size + body + b"\0\0" + spec.end
    at = len(frame) - 2 - len(spec.end)
    return frame[:at] + checksum(spec.checksum, frame) + frame[at + 2 :]


def fed(target: Framer, data: bytes, sizes: list[int]) -> list[bytes]:
    found, at, i = [], 0, 0
    while at < len(data):
        size = sizes[i % len(sizes)]
        found += target.split(data[at : at + size])
        at, i = at + size, i + 1
    found += target.give_up()
    return [f for f in found if isinstance(f, bytes)]


bodies = st.lists(st.binary(max_size=20), max_size=6)
pieces = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@pytest.mark.parametrize("spec", [LENGTHS, FIXED, ENDED], ids=["length field", "fixed length", "end mark"])
@given(bodies=bodies, noise=st.lists(st.binary(max_size=12), min_size=1, max_size=3), sizes=pieces)
def test_every_frame_is_found_and_nothing_else(
    spec: BinarySpec, bodies: list[bytes], noise: list[bytes], sizes: list[int]
) -> None:
    frames = [sealed(spec, body) for body in bodies]
    data = b"".join(noise[i % len(noise)] + frame for i, frame in enumerate(frames)) + noise[-1]
    assert fed(BinaryFramer(spec, 64), data, sizes) == frames


@given(bodies=bodies, cut=st.integers(1, 8), sizes=pieces)
def test_a_frame_that_breaks_off_does_not_take_the_next_one_with_it(
    bodies: list[bytes], cut: int, sizes: list[int]
) -> None:
    frames = [sealed(LENGTHS, body) for body in bodies]
    broken = sealed(LENGTHS, b"a broken one")[:-cut]
    assert fed(BinaryFramer(LENGTHS, 64), broken + b"".join(frames), sizes) == frames


def test_without_checksum_the_innermost_frame_counts() -> None:
    spec = BinarySpec(b"\x02", b"\x03")
    target = framer(FrameSpec(binary=spec, max_length=8))
    assert target.split(b"\x02ab\x02cd\x03x\x02") == [None, b"\x02cd\x03"]
    assert target.split(b"e\x03") == [b"\x02e\x03"]
    assert target.split(b"\x02" + b"y" * 9) == [None]
    assert target.overlong == 1


def test_a_checksum_where_none_can_be_is_a_frame_of_nobody() -> None:
    target = BinaryFramer(replace(ENDED, checksum=ChecksumSpec("xor", 4, -2, False)), 64)
    assert target.split(b"\x02\x03") == []
    assert target.give_up() == [None]
    with pytest.raises(ValueError, match="no room"):
        checksum(ChecksumSpec("xor", 4, -2, False), b"\x02\x03")


@given(
    st.lists(st.tuples(st.binary(min_size=6, max_size=6), st.integers(0, 255), st.binary(max_size=30)), max_size=5),
    st.lists(st.binary(max_size=9), min_size=1, max_size=3),
    pieces,
)
def test_every_frame_of_a_meter_is_found_and_nothing_else(
    said: list[tuple[bytes, int, bytes]], noise: list[bytes], sizes: list[int]
) -> None:
    data = b"".join(noise[i % len(noise)] + b"\xfe" * (i % 5) + encode(*frame) for i, frame in enumerate(said))
    target = Dlt645Framer()
    found, at, i = [], 0, 0
    while at < len(data):
        size = sizes[i % len(sizes)]
        found += target.split(data[at : at + size])
        at, i = at + size, i + 1
    assert [tuple(f) for f in (*found, *target.give_up())] == said


def test_a_request_as_the_standard_shows_it() -> None:
    """Total forward active energy of meter 000000000001: each byte of DI 00010000 bears 33H more."""
    wanted = "fefefefe 68 010000000000 68 11 04 33333433".replace(" ", "")
    frame = read_request(b"\x01\0\0\0\0\0", 0x00010000)
    assert frame[:-2].hex() == wanted
    assert frame[-2:] == bytes([sum(frame[4:-2]) & 0xFF, 0x16])


@pytest.mark.parametrize("delimiter", ["\r\n", "\n", "\r\n\r\n"])
@given(cut=st.integers(0, 4), sizes=st.lists(st.integers(1, 5), max_size=20))
def test_the_end_of_an_earlier_answer_is_no_part_of_the_next_one(delimiter: str, cut: int, sizes: list[int]) -> None:
    tail = delimiter.encode()[min(cut, len(delimiter)) :]
    rest, found = tail + b"ST,GS,+1.0kg" + delimiter.encode(), []
    target = framer(FrameSpec(delimiter=delimiter), asked=True)
    if tail and sizes:  # the tail itself may come in pieces, but not mixed with the answer's own bytes
        found += target.split(tail)
        rest = rest[len(tail) :]
    for size in sizes:
        found += target.split(rest[:size])
        rest = rest[size:]
    found += target.split(rest)
    assert found == ["ST,GS,+1.0kg"]


def test_an_answer_that_begins_as_another_delimiter_ends_keeps_its_first_letter() -> None:
    assert framer(FrameSpec(delimiter="OK"), asked=True).split(b"K12OK") == ["K12"]
