"""Bodies: encoded metrics as the outbox keeps them, without payload time and seq, which are those of the publishing."""

from __future__ import annotations

from wire import sparkplug_pb2 as pb
from wire.payload import parsed


def as_historical(body: bytes) -> bytes:
    """The same metrics with the specified historical flag on each; stamps and values stay. Raises PayloadError."""
    out = parsed(body)
    for metric in out.metrics:
        metric.is_historical = True
    return out.SerializeToString()


def stamped(body: bytes, ts_ms: int, seq: int) -> bytes:
    """A stored body with payload time and seq. Protobuf: concatenated messages are merged."""
    head = pb.Payload()
    head.timestamp = ts_ms
    head.seq = seq
    return head.SerializeToString() + body
