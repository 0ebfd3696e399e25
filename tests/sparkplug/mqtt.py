"""MQTT 3.1.1 control packets from bytes, as far as the tests look at them. Source: OASIS MQTT 3.1.1, chapter 3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

KINDS = {
    1: "CONNECT", 2: "CONNACK", 3: "PUBLISH", 4: "PUBACK", 8: "SUBSCRIBE", 9: "SUBACK", 10: "UNSUBSCRIBE",
    11: "UNSUBACK", 12: "PINGREQ", 13: "PINGRESP", 14: "DISCONNECT",
}  # fmt: skip


class Packet(NamedTuple):
    """topic, qos, retain, body: of a PUBLISH, or of the will in a CONNECT. said: what else the packet says."""

    kind: str
    topic: str = ""
    qos: int = 0
    retain: bool = False
    body: bytes = b""
    said: dict[str, Any] = {}  # noqa: RUF012  # never changed


class Reader:
    """Feed it what one side sends; it hands out whole packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        self._buffer += data
        while (found := self._next()) is not None:
            yield found

    def _next(self) -> Packet | None:
        length, shift, at = 0, 0, 1
        while True:
            if at >= len(self._buffer):
                return None
            byte = self._buffer[at]
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not byte & 0x80:
                break
        if len(self._buffer) < at + length:
            return None
        first, body = self._buffer[0], bytes(self._buffer[at : at + length])
        del self._buffer[: at + length]
        return _packet(first >> 4, first & 0x0F, body)


class _Body:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count: int = 2) -> int:
        return int.from_bytes(self.take(count), "big")

    def binary(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        return self.binary().decode()


def _packet(kind: int, flags: int, data: bytes) -> Packet:
    body = _Body(data)
    if kind == 1:
        return _connect(body)
    if kind == 3:
        topic, qos = body.text(), flags >> 1 & 3
        if qos:
            body.take(2)
        return Packet("PUBLISH", topic, qos, bool(flags & 1), data[body.at :])
    if kind == 8:
        body.take(2)
        filters = []
        while body.at < len(data):
            filters.append((body.text(), body.number(1)))
        return Packet("SUBSCRIBE", said={"filters": filters})
    return Packet(KINDS.get(kind, str(kind)))


def _connect(body: _Body) -> Packet:
    name, level, flags, keepalive_s = body.text(), body.number(1), body.number(1), body.number()
    client = body.text()
    topic, will = (body.text(), body.binary()) if flags & 0x04 else ("", b"")
    said = {
        "protocol": name, "level": level, "clean": bool(flags & 0x02), "keepalive_s": keepalive_s, "client": client,
        "will": bool(flags & 0x04),
    }  # fmt: skip
    return Packet("CONNECT", topic, flags >> 3 & 3, bool(flags & 0x20), will, said)
