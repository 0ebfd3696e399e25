"""Bytes of a serial line -> frames, however they come: in pieces, joined, with noise between. Pure."""

from __future__ import annotations

from typing import Protocol

from agent.checksum import CHECKSUMS
from agent.frame_spec import BinarySpec, ChecksumSpec, FrameSpec

Content = str | bytes


class Framer(Protocol):
    """overlong: frames that were longer than allowed."""

    overlong: int

    def split(self, data: bytes) -> list[Content | None]:
        """The frames that end in data; None for bytes that were meant as a frame and are none."""
        ...

    def give_up(self) -> list[Content | None]:
        """Nothing came for so long that what has begun will not end: the frames that hide in it."""
        ...


def framer(frame: FrameSpec, asked: bool = False) -> Framer:
    """asked: the device answers a request, so that what comes first is no half line."""
    return BinaryFramer(frame.binary, frame.max_length) if frame.binary else TextFramer(frame, skip=not asked)


class TextFramer:
    """Lines up to a delimiter. What stands before the first one may be half a line and is not looked at (skip)."""

    def __init__(self, frame: FrameSpec, skip: bool = True) -> None:
        self._delimiter = frame.delimiter.encode(frame.encoding)
        self._encoding = frame.encoding
        self._max_length = frame.max_length
        self._rest = b""
        self._skipping = skip  # until the next delimiter
        self._first = not skip  # nothing came yet
        self.overlong = 0

    def split(self, data: bytes) -> list[Content | None]:
        """None for a line that is overlong or no text. Empty ones are left out."""
        if self._first and data:
            # Of an answer that nobody waits for any more the end of its last line may come. Only CR and LF: the end of
            # another delimiter could as well be how this answer begins.
            tails = (self._delimiter[i:] for i in range(len(self._delimiter)))
            data = data.removeprefix(next((t for t in tails if data.startswith(t) and not t.strip(b"\r\n")), b""))
            self._first = False
        *whole, self._rest = (self._rest + data).split(self._delimiter)
        frames: list[Content | None] = []
        for line in whole:
            if self._skipping:
                self._skipping = False
            elif line:
                frames.append(self._text(line))
        # A delimiter may lie half in what came and half in what comes.
        if len(self._rest) > self._max_length:
            if not self._skipping:
                self.overlong += 1
                frames.append(None)
            self._skipping = True
            self._rest = self._rest[-len(self._delimiter) :]
        return frames

    def give_up(self) -> list[Content | None]:
        return []  # a person may type a line with pauses

    def _text(self, line: bytes) -> str | None:
        if len(line) > self._max_length:
            self.overlong += 1
            return None
        try:
            return line.decode(self._encoding)
        except UnicodeDecodeError:
            return None


class BinaryFramer:
    """Frames of bytes. What looks like a frame and is none costs its first byte only: a whole one may lie in it."""

    def __init__(self, frame: BinarySpec, max_length: int) -> None:
        self._frame = frame
        self._max_length = max_length
        self._rest = b""
        self.overlong = 0

    def split(self, data: bytes) -> list[Content | None]:
        self._rest += data
        return self._found(final=False)

    def give_up(self) -> list[Content | None]:
        frames = self._found(final=True)
        self._rest = b""
        return frames

    def _found(self, final: bool) -> list[Content | None]:
        frames: list[Content | None] = []
        start, at = self._frame.start, 0
        by_end = not self._frame.length and self._frame.length_at is None
        while True:
            at = self._rest.find(start, at)
            if at < 0:
                kept = len(start) - 1  # the start itself may come in two pieces
                self._rest = self._rest[-kept:] if kept else b""
                return frames
            length = self._to_end(at) if by_end else self._length(at)
            if length is None or len(self._rest) - at < length:
                if not final and len(self._rest) - at <= self._max_length:
                    self._rest = self._rest[at:]
                    return frames
                self.overlong += not final
                length = 0
            frame = self._rest[at : at + length]
            if length and (by_end or is_sound(self._frame, frame)):
                frames.append(frame)
                at += length
            else:
                if not frames or frames[-1] is not None:
                    frames.append(None)
                at += 1

    def _length(self, at: int) -> int | None:
        """Bytes of the whole frame that begins at; None while its length field has not come, 0 when it is no length."""
        spec = self._frame
        if spec.length_at is None:
            return spec.length
        first = at + spec.length_at
        field = self._rest[first : first + spec.length_size]
        if len(field) < spec.length_size:
            return None
        length = int.from_bytes(field, "little" if spec.length_little else "big") + spec.length_add
        least = max(len(spec.start) + len(spec.end), spec.length_at + spec.length_size)
        return length if least <= length <= self._max_length else 0

    def _to_end(self, at: int) -> int | None:
        """Bytes of the frame that begins at and ends with the end mark; 0 when another start lies closer to its end."""
        spec = self._frame
        end = at + len(spec.start)
        while (end := self._rest.find(spec.end, end)) >= 0:
            end += len(spec.end)
            if end - at > self._max_length:
                return 0
            if spec.checksum is None:
                later = self._rest.rfind(spec.start, at + 1, end - len(spec.end))
                return 0 if later > at else end - at
            if is_sound(spec, self._rest[at:end]):
                return end - at
            # The end mark may be a byte of the content; but a whole frame behind a broken one must not wait.
            inner = self._rest.find(spec.start, at + 1, end)
            while inner >= 0:
                if is_sound(spec, self._rest[inner:end]):
                    return 0
                inner = self._rest.find(spec.start, inner + 1, end)
            end -= len(spec.end) - 1
        return None


def is_sound(spec: BinarySpec, frame: bytes) -> bool:
    """True when start, end and checksum are right."""
    if not frame.startswith(spec.start) or not frame.endswith(spec.end):
        return False
    if spec.checksum is None:
        return True
    found = checksum_place(spec.checksum, len(frame))
    return found is not None and frame[found : found + size_of(spec.checksum)] == checksum(spec.checksum, frame)


def size_of(spec: ChecksumSpec) -> int:
    return CHECKSUMS[spec.kind][1]


def checksum_place(spec: ChecksumSpec, length: int) -> int | None:
    """Where the checksum of a frame of this length stands; None when that is outside, or before what it covers."""
    at = spec.at if spec.at >= 0 else length + spec.at
    return at if spec.first <= at and at + size_of(spec) <= length else None


def checksum(spec: ChecksumSpec, frame: bytes) -> bytes:
    """The bytes that must stand at the checksum's place. Raises ValueError when the frame is too short for one."""
    at = checksum_place(spec, len(frame))
    if at is None:
        raise ValueError(f"a frame of {len(frame)} bytes has no room for its checksum")
    compute, size = CHECKSUMS[spec.kind]
    return compute(frame[spec.first : at]).to_bytes(size, "little" if spec.little else "big")
