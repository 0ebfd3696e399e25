"""A value as a person says it -> the words that a device understands: names, scale, type, order backwards. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from agent.spec import Order, PointSpec
from wire.errors import ConfigError

_TRUE, _FALSE = frozenset({"1", "true", "on", "yes"}), frozenset({"0", "false", "off", "no"})
_FORMAT: Mapping[str, str] = {
    "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "uint64": ">Q",
    "float32": ">f", "float64": ">d",
}  # fmt: skip


def encode(point: PointSpec, text: str) -> tuple[int, ...]:
    """Words as they go over the wire; one 0 or 1 for a coil or a bit. Raises ConfigError with what would be allowed."""
    where = f"{point.tag.device}/{point.tag.name}"
    if not point.writable:
        raise ConfigError(f"{where}: is not writable; give it `writable: true` in site.yaml if it may be written")
    if point.type == "bool":
        word = text.strip().lower()
        if word not in _TRUE | _FALSE:
            raise ConfigError(f"{where}: is on or off (1, 0, true, false), not {text!r}")
        return (int(word in _TRUE),)
    if point.type == "string":
        return _text(point, text, where)
    if point.type not in _FORMAT or point.bit_names:
        raise ConfigError(f"{where}: a {'bit-field' if point.bit_names else point.type} cannot be written")
    if point.states:
        return _words(point, _state(point, text, where), where)
    try:
        value = Decimal(text.strip() if "_" not in text else "NaN")  # Python reads 1_0 as 10
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise ConfigError(f"{where}: needs a number, not {text!r}")
    _check_limits(point, value, where)
    return _words(point, _raw(point, value, where), where)


def _check_limits(point: PointSpec, value: Decimal, where: str) -> None:
    low, high = point.write_low, point.write_high
    if (low is not None and value < Decimal(str(low))) or (high is not None and value > Decimal(str(high))):
        unit = f" {point.tag.unit}" if point.tag.unit else ""
        raise ConfigError(f"{where}: must be {low:g} to {high:g}{unit}, not {value}")


def _raw(point: PointSpec, value: Decimal, where: str) -> int | float:
    """Decimals, because (0.3 - 0) / 0.1 is not 3 in binary."""
    scale, offset = Decimal(str(point.scale)), Decimal(str(point.offset))
    raw = (value - offset) / scale
    if point.type.startswith("float"):
        return float(raw)
    whole = raw.to_integral_value()
    if abs(raw - whole) > Decimal("1e-9"):
        raise ConfigError(f"{where}: the device knows steps of {abs(scale)}; the nearest is {whole * scale + offset}")
    return int(whole)


def _words(point: PointSpec, raw: int | float, where: str) -> tuple[int, ...]:
    try:
        data = struct.pack(_FORMAT[point.type], raw)
    except (struct.error, OverflowError) as fault:
        raise ConfigError(f"{where}: {raw} does not fit into {point.type}") from fault
    return _ordered(data, point.order)


def _state(point: PointSpec, text: str, where: str) -> int:
    """Only a name is taken: a number without a name is nothing that the device is known to do."""
    for number, name in point.states:
        if name == text.strip():
            return number
    raise ConfigError(f"{where}: is one of {', '.join(name for _, name in point.states)}, not {text!r}")


def _text(point: PointSpec, text: str, where: str) -> tuple[int, ...]:
    """Padded with NUL."""
    data = text.encode()
    if not text.isprintable():
        raise ConfigError(f"{where}: takes printable text only, not {text!r}")
    if len(data) > point.length:
        raise ConfigError(f"{where}: has room for {point.length} bytes; {text!r} has {len(data)}")
    return _ordered(data.ljust(2 * point.registers, b"\0"), point.order)


def _ordered(data: bytes, order: Order) -> tuple[int, ...]:
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    swapped = order in ("BADC", "DCBA")
    return tuple(int.from_bytes(word, "little" if swapped else "big") for word in words)
