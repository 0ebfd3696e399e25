"""Checksums of serial protocols. Pure. Source of the CRC parameters: the catalogue of CRC RevEng."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import xor

from agent.frame_spec import ChecksumKind


def sum8(data: bytes) -> int:
    return sum(data) & 0xFF


def xor8(data: bytes) -> int:
    return reduce(xor, data, 0)


def crc16_modbus(data: bytes) -> int:
    """CRC-16/MODBUS: polynomial 8005 reflected, begins with FFFF; its low byte is sent first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def crc_ccitt(data: bytes, begin: int = 0xFFFF) -> int:
    """CRC-16/IBM-3740, mostly called CCITT or CCITT-FALSE: polynomial 1021, begins with FFFF."""
    crc = begin
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def crc_xmodem(data: bytes) -> int:
    """CRC-16/XMODEM: as CCITT, but begins with 0."""
    return crc_ccitt(data, 0)


CHECKSUMS: Mapping[ChecksumKind, tuple[Callable[[bytes], int], int]] = {
    "sum8": (sum8, 1),
    "xor": (xor8, 1),
    "crc16-modbus": (crc16_modbus, 2),
    "crc-ccitt": (crc_ccitt, 2),
    "crc-xmodem": (crc_xmodem, 2),
}
"""kind -> how it is computed, and how many bytes it takes."""
