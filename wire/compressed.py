"""Compressed payloads: a Sparkplug payload within a payload, as Eclipse Tahu's clients make and read them.

uuid = "SPBV1.0_COMPRESSED", body = the compressed payload, metric "algorithm" = "DEFLATE" or "GZIP". Not part of the
specification: an extension that is off by default and only used when every required host has said that it inflates.
Pure.
"""

from __future__ import annotations

import zlib

from wire import sparkplug_pb2 as pb
from wire.errors import PayloadError
from wire.tag import Datatype

UUID = "SPBV1.0_COMPRESSED"
ALGORITHM = "DEFLATE"
LARGEST_BYTES = 16_000_000
"""What a compressed payload may become: a few bytes can stand for gigabytes."""

_LEVEL = 6
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS


def compressed(body: bytes, ts_ms: int, seq: int) -> bytes:
    """A payload that holds the encoded metrics of body in less space; ts_ms and seq stay readable outside."""
    out = pb.Payload()
    out.timestamp, out.seq, out.uuid = ts_ms, seq, UUID
    metric = out.metrics.add()
    metric.name, metric.datatype, metric.string_value = "algorithm", Datatype.STRING, ALGORITHM
    out.body = zlib.compress(body, _LEVEL)
    return out.SerializeToString()


def inflated(raw: pb.Payload) -> bytes | None:
    """The payload within, encoded; None where there is none. Raises PayloadError when it cannot be unpacked."""
    if raw.uuid != UUID or not raw.HasField("body"):
        return None
    inflater = zlib.decompressobj(_ZLIB_OR_GZIP)
    try:
        content = inflater.decompress(raw.body, LARGEST_BYTES)
    except zlib.error as fault:
        raise PayloadError(f"a compressed payload that cannot be unpacked: {fault}") from fault
    if inflater.unconsumed_tail:
        raise PayloadError(f"a compressed payload of more than {LARGEST_BYTES} bytes")
    if not inflater.eof:
        raise PayloadError("a compressed payload that ends early")
    return content
