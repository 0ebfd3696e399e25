"""How the frames of a device read: text lines or bytes, what is asked, which frame is whose. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ChecksumKind = Literal["sum8", "xor", "crc16-modbus", "crc-ccitt", "crc-xmodem"]


@dataclass(frozen=True, slots=True)
class ChecksumSpec:
    """first: the first byte that it covers. at: where it stands, negative from the end of the frame; it covers
    everything between. little: its low byte comes first."""

    kind: ChecksumKind
    first: int
    at: int
    little: bool


@dataclass(frozen=True, slots=True)
class BinarySpec:
    """A frame of bytes: begins with start, ends with end ('' when it has no mark).

    length: bytes of the whole frame. Or length_at: where a length field of length_size bytes stands; the whole
    frame has that many bytes and length_add more. Neither: it ends at end.
    """

    start: bytes
    end: bytes = b""
    length: int = 0
    length_at: int | None = None
    length_size: Literal[1, 2] = 1
    length_little: bool = False
    length_add: int = 0
    checksum: ChecksumSpec | None = None


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """One frame of a device, read in one of four ways.

    pattern: a text line by a regular expression with named groups, matched from the beginning of the line; end it
    with $ when nothing may follow. separator: a text line of fields, called "1", "2" ...; fields: how many it must
    have (0: any number). columns: field -> its first and last character, from 1. binary: bytes.
    starts: how a line with separator or columns must begin. max_length: bytes, longer ones are no frame.
    """

    pattern: str = ""
    delimiter: str = "\r\n"
    encoding: str = "ascii"
    max_length: int = 1024
    separator: str = ""
    fields: int = 0
    columns: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    starts: str = ""
    binary: BinarySpec | None = None
