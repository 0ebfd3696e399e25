"""Frames, checked against the worked examples of the specifications and against pymodbus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU

from firmware_sim.modbus_frame import (
    ReadRequest,
    Refused,
    crc16,
    exception_reply,
    parse_request,
    parse_rtu,
    read_reply,
    rtu_frame,
    silence_s,
    tcp_frame,
)


def bits(*octets: int) -> list[int]:
    """The bits of these octets, lowest first, as the specification's examples list coils."""
    return [octet >> at & 1 for octet in octets for at in range(8)]


@pytest.mark.parametrize(
    ("request_hex", "cells", "answer_hex"),
    [
        # Application Protocol V1.1b3, 6.1: coils 20-38.
        ("01 0013 0013", bits(0xCD, 0x6B, 0x05)[:19], "01 03 CD 6B 05"),
        # 6.2: discrete inputs 197-218.
        ("02 00C4 0016", bits(0xAC, 0xDB, 0x35)[:22], "02 03 AC DB 35"),
        # 6.3: holding registers 108-110.
        ("03 006B 0003", [0x022B, 0x0000, 0x0064], "03 06 02 2B 00 00 00 64"),
        # 6.4: input register 9.
        ("04 0008 0001", [0x000A], "04 02 00 0A"),
    ],
)
def test_worked_examples_of_the_application_protocol(request_hex: str, cells: list[int], answer_hex: str) -> None:
    request = parse_request(bytes.fromhex(request_hex))
    assert isinstance(request, ReadRequest)
    assert request.count == len(cells)
    assert request.address == int(request_hex[3:7], 16)
    assert read_reply(request.function, cells) == bytes.fromhex(answer_hex)


def test_worked_example_of_an_exception() -> None:
    # Application Protocol V1.1b3, 7: an illegal data address answered to function 01.
    assert exception_reply(0x01, 0x02) == bytes.fromhex("81 02")


def test_worked_examples_of_the_checksum() -> None:
    # Serial Line V1.02, 6.2.2: the CRC of 02 07 is sent as 41 12.
    assert rtu_frame(0x02, b"\x07") == bytes.fromhex("02 07 41 12")
    # The check value of CRC-16/MODBUS in the catalogue of CRCs.
    assert crc16(b"123456789") == 0x4B37


def test_worked_example_of_the_tcp_header() -> None:
    # Messaging on TCP/IP V1.0b, appendix: transaction 15 01, unit FF, read of register 5.
    frame = tcp_frame(0x1501, 0xFF, bytes.fromhex("03 0004 0001"))
    assert frame == bytes.fromhex("15 01 00 00 00 06 FF 03 00 04 00 01")


@given(st.integers(0, 255), st.binary(min_size=1, max_size=253))
def test_rtu_frames_come_back_and_agree_with_pymodbus(unit_id: int, pdu: bytes) -> None:
    frame = rtu_frame(unit_id, pdu)
    assert parse_rtu(frame) == (unit_id, pdu)
    assert int.from_bytes(frame[-2:], "big") == FramerRTU.compute_CRC(frame[:-2])


@given(st.binary(min_size=1, max_size=253), st.data())
def test_one_wrong_bit_makes_a_frame_unreadable(pdu: bytes, data: st.DataObject) -> None:
    frame = bytearray(rtu_frame(7, pdu))
    bit = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[bit // 8] ^= 1 << bit % 8
    assert parse_rtu(bytes(frame)) is None


@pytest.mark.parametrize("frame", [b"", b"\x01", b"\x01\x03\x00", bytes(300)])
def test_what_cannot_be_a_frame_is_ignored(frame: bytes) -> None:
    assert parse_rtu(frame) is None


@pytest.mark.parametrize(
    ("pdu_hex", "code"),
    [
        ("2B 0E 01 00", 1),  # a function that we do not have
        ("16 0001 FFFF 0000", 1),  # nor do we mask registers
        ("06 0001 0003 00", 3),  # a single write that is too long
        ("05 0001 1234", 3),  # neither on nor off
        ("10 0001 0002 02 0001", 3),  # fewer bytes than registers
        ("0F 0001 0000 00", 3),  # no coil
        ("10 FFFF 0002 04 0001 0002", 2),  # beyond the last address
        ("03 0000 0000", 3),  # quantity 0
        ("03 0000 007E", 3),  # 126 registers
        ("01 0000 07D1", 3),  # 2001 coils
        ("03 0000", 3),  # cut short
        ("03 0000 0001 00", 3),  # too long
        ("04 FFFF 0002", 2),  # beyond the last address
        ("2B FFFF 0000", 1),  # the function is checked first
        ("03 FFFF 0000", 3),  # then the quantity
    ],
)
def test_refusals_come_in_the_order_of_the_specification(pdu_hex: str, code: int) -> None:
    with pytest.raises(Refused) as refusal:
        parse_request(bytes.fromhex(pdu_hex))
    assert (refusal.value.function, refusal.value.code) == (int(pdu_hex[:2], 16), code)


def test_silence_between_frames_is_fixed_above_19200_baud() -> None:
    assert silence_s(9600, 11) == pytest.approx(3.5 * 11 / 9600)
    assert silence_s(19200, 11) == pytest.approx(0.002005, abs=1e-6)
    assert silence_s(115200, 11) == 0.00175
