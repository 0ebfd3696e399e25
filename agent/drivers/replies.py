"""Which of the bytes on a line answer the request that is out. Pure: bytes in, bytes out.

Stands between the line and pymodbus, which would take any frame of the right unit for the answer.
"""

from __future__ import annotations

from typing import Protocol

from pymodbus.framer import FramerRTU

from agent.driver import Span
from agent.drivers.fence import Fence, shape


class Replies(Protocol):
    """late: frames kept away so far. answered: the answer was handed on. heard_any: bytes came since the request.

    fault: why no answer can come any more, '' while one can. broken: the connection itself is out of step.
    """

    late: int
    answered: bool
    heard_any: bool
    fault: str
    broken: bool

    def expect(self, unit_id: int, span: Span, now_s: float) -> None:
        """A request is about to be sent."""
        ...

    def sent(self, packet: bytes) -> None: ...

    def heard(self, data: bytes) -> bytes:
        """data: all bytes that pymodbus holds, new ones at the end. What it may look at comes back."""
        ...

    def gave_up(self) -> None:
        """The request timed out."""
        ...


class RtuReplies:
    """Modbus RTU: CRC, unit, function and size, and the fence for what they do not say."""

    def __init__(self, fence: Fence) -> None:
        self.late = 0
        self.answered = self.heard_any = self.broken = False
        self.fault = ""
        self._fence = fence
        self._foreign = False
        self._walked = 0

    def expect(self, unit_id: int, span: Span, now_s: float) -> None:
        self._fence.asked(unit_id, span, now_s)

    def sent(self, packet: bytes) -> None:
        self.answered = self.heard_any = self._foreign = False
        self.fault = ""
        self._walked = 0

    def gave_up(self) -> None:
        self._fence.gave_up()

    def heard(self, data: bytes) -> bytes:
        if len(data) < self._walked:  # pymodbus threw an overlong buffer away
            self._walked = 0
        ours = b""
        while not self.fault:
            rest = data[self._walked :]
            length = _rtu_length(rest)
            if length is None or len(rest) < length:
                self.heard_any = self._foreign or bool(rest)
                break
            frame = rest[:length]
            if length == 0 or not FramerRTU.check_CRC(frame[:-2], int.from_bytes(frame[-2:], "big")):
                self.fault = "an answer with a wrong checksum"
                break
            self._walked += length
            verdict = self._fence.heard(frame[0], frame[1] & 0x7F, length - 5, bool(frame[1] & 0x80))
            if verdict == "ours":
                self.answered, ours = True, frame
            self.late += verdict == "late"
            self._foreign = self._foreign or verdict == "foreign"
        self._walked -= len(ours)  # so much pymodbus takes from the front of what it holds
        return ours


def _rtu_length(data: bytes) -> int | None:
    """Length of the answer that begins here; 0 when none can, None while too little is there to know."""
    if len(data) < 5:
        return None
    if data[1] & 0x80:
        return 5
    if data[1] in (5, 6, 15, 16):  # to a write: address, and value or count
        return 8
    return 5 + data[2] if data[1] in (1, 2, 3, 4) else 0


class TcpReplies:
    """Modbus TCP: the transaction id must be that of the request; then unit, function and size."""

    def __init__(self) -> None:
        self.late = 0
        self.answered = self.heard_any = self.broken = False
        self.fault = ""
        self._wanted = (0, 0, 0)  # unit id, function, bytes of data
        self._transaction = -1
        self._partial = False

    def expect(self, unit_id: int, span: Span, now_s: float) -> None:
        self._wanted = (unit_id, *shape(span))
        if self._partial:
            # pymodbus forgets what it holds when it sends; the rest would be read as a header.
            self.broken, self.fault = True, "half an answer stands in the connection"

    def sent(self, packet: bytes) -> None:
        self.answered = self.heard_any = False
        self.fault = ""
        self._transaction = int.from_bytes(packet[:2], "big")

    def gave_up(self) -> None:
        return

    def heard(self, data: bytes) -> bytes:
        late = at = 0
        while len(data) - at >= 8:
            transaction = int.from_bytes(data[at : at + 2], "big")
            length = int.from_bytes(data[at + 4 : at + 6], "big")
            if data[at + 2 : at + 4] != b"\0\0" or not 3 <= length <= 254:
                self.broken, self.fault = True, "no Modbus TCP header where one must be"
                return b""
            if len(data) - at < 6 + length:
                break
            if transaction == self._transaction and not self.answered:
                if not self._fits(data[at + 6 : at + 6 + length]):
                    self.fault = "an answer of another unit, function or length"
                    return b""
                self.answered = True
            else:
                late += 1
                if transaction == 0:  # pymodbus lets 0 pass for any id
                    self.fault = "an answer without transaction id"
            at += 6 + length
        self.late += late
        self._partial = self.heard_any = at < len(data)
        return b"" if self.fault else data

    def _fits(self, body: bytes) -> bool:
        """body: unit id, function code, data."""
        unit_id, function, size = self._wanted
        if body[0] != unit_id:
            return False
        if body[1] == function | 0x80:
            return len(body) == 3
        return body[1] == function and body[2] == size and len(body) == 3 + size
