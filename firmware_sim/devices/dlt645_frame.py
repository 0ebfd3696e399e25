"""Frames of DL/T 645-2007. Bytes in, bytes out.

Source: DL/T 645-2007, Multi-function watt-hour meter communication protocol: link layer in clause 5 (FE preamble, 68H,
address of 6 bytes BCD with the low byte first, 68H, control C, length L, data with 33H added to each byte, checksum,
16H); control codes in clause 7 (11H read data, 13H read address; bit 7: the meter's answer, bit 6: an error).
"""

from __future__ import annotations

from typing import NamedTuple

START, END = 0x68, 0x16
PREAMBLE = b"\xfe\xfe\xfe\xfe"
READ, READ_ADDRESS = 0x11, 0x13
NO_SUCH_DATA = 0x02  # error word, bit 1: no such data
ANY = b"\xaa" * 6


class Frame(NamedTuple):
    """`address` low byte first, `data` without the 33H."""

    address: bytes
    control: int
    data: bytes


def checksum(body: bytes) -> int:
    """Sum of all bytes from the first 68H on, modulo 256."""
    return sum(body) & 0xFF


def encode(frame: Frame) -> bytes:
    data = bytes((byte + 0x33) & 0xFF for byte in frame.data)
    body = bytes((START,)) + frame.address + bytes((START, frame.control, len(data))) + data
    return body + bytes((checksum(body), END))


def take(heard: bytearray) -> bytes | None:
    """Cuts the next whole frame with a right checksum out of what was heard; drops what can begin none."""
    while True:
        begin = heard.find(START)
        if begin < 0:
            heard.clear()
            return None
        del heard[:begin]
        if len(heard) < 12:
            return None
        length = 12 + heard[9]
        if heard[7] == START and len(heard) < length and heard[9] <= 200:
            return None
        found = bytes(heard[:length])
        if heard[7] == START and found[-1] == END and found[-2] == checksum(found[:-2]):
            del heard[:length]
            return found
        del heard[:1]  # that was no start


def decode(whole: bytes) -> Frame:
    """The parts of a frame that `take` found."""
    return Frame(whole[1:7], whole[8], bytes((byte - 0x33) & 0xFF for byte in whole[10:-2]))


def bcd(value: int, count: int) -> bytes:
    """`count` bytes BCD, low byte first; held at the end of its range."""
    digits = f"{min(10 ** (2 * count) - 1, abs(value)):0{2 * count}d}"
    return bytes.fromhex(digits)[::-1]
