"""Modbus frames: PDU, MBAP header and RTU with its CRC, as in the specifications. Bytes in, bytes out.

Sources: MODBUS Application Protocol Specification V1.1b3 (functions 01-06 in 6.1-6.6, 15 and 16
in 6.11 and 6.12, exceptions in 7), MODBUS over
Serial Line V1.02 (RTU framing 2.5.1, CRC 6.2), MODBUS Messaging on TCP/IP Implementation Guide V1.0b (MBAP 3.1.3).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from firmware_sim.signals import Table

ILLEGAL_FUNCTION = 0x01
ILLEGAL_DATA_ADDRESS = 0x02
ILLEGAL_DATA_VALUE = 0x03
GATEWAY_TARGET_FAILED = 0x0B

# function code -> (table, most items one request may ask for)
READS: dict[int, tuple[Table, int]] = {
    1: ("coil", 2000),
    2: ("discrete", 2000),
    3: ("holding", 125),
    4: ("input", 125),
}
# function code -> (table, most items one request may write)
WRITES: dict[int, tuple[Table, int]] = {5: ("coil", 1), 6: ("holding", 1), 15: ("coil", 1968), 16: ("holding", 123)}
MBAP = struct.Struct(">HHHB")  # transaction, protocol (0), length that follows, unit
MAX_PDU = 253


@dataclass(frozen=True, slots=True)
class ReadRequest:
    function: int
    table: Table
    address: int
    count: int


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """`cells` are the words or bits to write; `pdu` is the request itself."""

    function: int
    table: Table
    address: int
    cells: tuple[int, ...]
    pdu: bytes


Request = ReadRequest | WriteRequest


class Refused(Exception):  # an answer on the wire, not a fault of the program
    """The request must be answered with this exception code."""

    def __init__(self, function: int, code: int) -> None:
        super().__init__(function, code)
        self.function, self.code = function, code


def parse_request(pdu: bytes) -> Request:
    """A request in the order of checks of the specification's state diagrams: function, then quantity.

    Whether the addresses exist is for the device to say. Raises Refused.
    """
    function = pdu[0]
    if function in WRITES:
        return _parse_write(function, pdu)
    if function not in READS:
        raise Refused(function, ILLEGAL_FUNCTION)
    table, most = READS[function]
    if len(pdu) != 5:
        raise Refused(function, ILLEGAL_DATA_VALUE)
    address, count = struct.unpack(">HH", pdu[1:])
    if not 1 <= count <= most:
        raise Refused(function, ILLEGAL_DATA_VALUE)
    if address + count > 0x10000:
        raise Refused(function, ILLEGAL_DATA_ADDRESS)
    return ReadRequest(function, table, address, count)


def _parse_write(function: int, pdu: bytes) -> WriteRequest:
    table, most = WRITES[function]
    if len(pdu) < 5 or (function in (5, 6) and len(pdu) != 5):
        raise Refused(function, ILLEGAL_DATA_VALUE)
    address, second = struct.unpack(">HH", pdu[1:5])
    if function == 6:
        return WriteRequest(function, table, address, (second,), pdu)
    if function == 5:
        if second not in (0x0000, 0xFF00):
            raise Refused(function, ILLEGAL_DATA_VALUE)
        return WriteRequest(function, table, address, (int(second == 0xFF00),), pdu)
    length = 2 * second if table == "holding" else (second + 7) // 8
    if not 1 <= second <= most or len(pdu) != 6 + length or pdu[5] != length:
        raise Refused(function, ILLEGAL_DATA_VALUE)
    if address + second > 0x10000:
        raise Refused(function, ILLEGAL_DATA_ADDRESS)
    data = pdu[6:]
    if table == "holding":
        return WriteRequest(function, table, address, struct.unpack(f">{second}H", data), pdu)
    return WriteRequest(function, table, address, tuple(data[at // 8] >> at % 8 & 1 for at in range(second)), pdu)


def write_reply(request: WriteRequest) -> bytes:
    """Single writes are echoed; multiple ones are answered with address and quantity."""
    return request.pdu[:5]


def request_length(heard: bytes) -> int | None:
    """Bytes of the RTU request that begins here; None while too little has come to know.

    For RTU over TCP, where no silence ends a frame. Functions that we do not have are taken to be 8 bytes long.
    """
    if len(heard) < 2:
        return None
    if heard[1] not in (15, 16):
        return 8
    return None if len(heard) < 7 else 9 + heard[6]


def read_reply(function: int, cells: Sequence[int]) -> bytes:
    """The normal answer: bits are packed from the lowest bit on, words go high byte first."""
    if READS[function][1] == 2000:
        packed = bytearray((len(cells) + 7) // 8)
        for at, bit in enumerate(cells):
            packed[at // 8] |= bit << at % 8
        data = bytes(packed)
    else:
        data = struct.pack(f">{len(cells)}H", *cells)
    return bytes((function, len(data))) + data


def exception_reply(function: int, code: int) -> bytes:
    return bytes((function | 0x80, code))


def crc16(data: bytes) -> int:
    """CRC-16 of a serial line: polynomial 0xA001 (reflected), start 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def rtu_frame(unit_id: int, pdu: bytes) -> bytes:
    """Unit id, PDU and CRC, low byte of the CRC first."""
    body = bytes((unit_id,)) + pdu
    return body + struct.pack("<H", crc16(body))


def parse_rtu(frame: bytes) -> tuple[int, bytes] | None:
    """Unit id and PDU, or None for a frame that a device must ignore: too short, too long, or a wrong CRC."""
    if not 4 <= len(frame) <= MAX_PDU + 3 or crc16(frame[:-2]) != struct.unpack("<H", frame[-2:])[0]:
        return None
    return frame[0], frame[1:-2]


def tcp_frame(transaction: int, unit_id: int, pdu: bytes) -> bytes:
    return MBAP.pack(transaction, 0, len(pdu) + 1, unit_id) + pdu


def silence_s(baud: int, bits_per_char: int) -> float:
    """t3.5, which ends a frame: 3.5 characters, but 1.75 ms above 19200 baud (Serial Line V1.02, 2.5.1.1)."""
    return 0.00175 if baud > 19200 else 3.5 * bits_per_char / baud


def longest_gap_s(baud: int, bits_per_char: int) -> float:
    """t1.5, the longest pause within a frame: 1.5 characters, but 0.75 ms above 19200 baud (2.5.1.1)."""
    return 0.00075 if baud > 19200 else 1.5 * bits_per_char / baud
