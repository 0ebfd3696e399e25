"""What a read request costs on the wire of a line. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from agent.driver import Span
from agent.spec import LineSpec

# A request has 8 characters (unit, function, address, count, CRC), an answer 5 beside its data (unit, function, size,
# CRC). Source: Modbus Application Protocol v1.1b3, sections 6.1 to 6.4; Modbus over Serial Line v1.02, section 2.5.1.
_RTU_FRAMES = 8 + 5
# Request and answer, each in a segment of its own: Ethernet with preamble and gap 38 bytes, IP 20, TCP 20, MBAP and
# function code; acknowledgements ride on them. 100 Mbit/s. Source: Modbus Messaging on TCP/IP v1.0b, section 3.1.3.
_TCP_FRAMES, _TCP_BYTE_S = 2 * (38 + 20 + 20 + 7) + 5 + 2, 8 / 100e6
# Devices begin to answer 1 to 10 ms after a request on a bus; a round trip in a local network and the device's own
# work take about 1 ms. A line with slower devices says so (turnaround_s).
USUAL_TURNAROUND_S, USUAL_TCP_TURNAROUND_S = 0.005, 0.001


@dataclass(frozen=True, slots=True)
class WireTime:
    """fixed_s: of each request, whatever it asks for. byte_s: of each byte of data in the answer."""

    fixed_s: float
    byte_s: float

    def of(self, span: Span) -> float:
        """Seconds from the begin of the request until the next one may begin.

        RTU: (13 + data bytes) characters + 2 x t3.5 (or gap_s and t3.5, where gap_s is longer) + the device's
        turnaround. t3.5 is 3.5 characters, 1.75 ms above 19,200 baud. A gap of g registers is worth reading through
        where 2 g characters cost less than another request's 13 characters, pauses and turnaround.
        """
        return self.fixed_s + self.byte_s * data_bytes(span)

    @property
    def worth_reading_bytes(self) -> float:
        """Bytes of nothing that one answer may carry before a second request is cheaper."""
        return self.fixed_s / self.byte_s


# In characters, where no line says how long one is: 13 of frames and two pauses of 3.5.
CHARACTERS = WireTime(_RTU_FRAMES + 2 * 3.5, 1.0)


def wire_time(line: LineSpec) -> WireTime:
    """The costs on a Modbus line; of a converter's line those of the bus behind it."""
    if line.driver == "modbus-tcp":
        turnaround_s = USUAL_TCP_TURNAROUND_S if line.turnaround_s is None else line.turnaround_s
        return WireTime(_TCP_FRAMES * _TCP_BYTE_S + turnaround_s + line.gap_s, _TCP_BYTE_S)
    turnaround_s = USUAL_TURNAROUND_S if line.turnaround_s is None else line.turnaround_s
    char_s = character_s(line)
    pause_s = frame_end_s(line.baud)
    return WireTime(_RTU_FRAMES * char_s + max(pause_s, line.gap_s) + pause_s + turnaround_s, char_s)


def frame_end_s(baud: int) -> float:
    """t3.5, the silence that ends a frame. Source: Modbus over Serial Line v1.02, section 2.5.1.1."""
    return max(3.5 * 11 / baud, 0.00175)


def character_s(line: LineSpec) -> float:
    """One character on the bus: start bit, 8 bits, parity, stop bits."""
    return (1 + 8 + (line.parity != "N") + line.stop_bits) / line.baud


def frame_sizes(line: LineSpec, span: Span) -> tuple[int, int]:
    """Bytes of a request and of its answer, with their frames. Source: as above."""
    return (12, 9 + data_bytes(span)) if line.driver == "modbus-tcp" else (8, 5 + data_bytes(span))


def data_bytes(span: Span) -> int:
    """Bytes of data in the answer to a Span."""
    return (span.count + 7) // 8 if span.bits else 2 * span.count
