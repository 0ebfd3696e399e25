"""What polls of devices without registers cost on the wire: framed devices and electricity meters. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.dlt645 import ITEMS, read_request
from agent.frames import BYTES_OF, frame_tables
from agent.spec import DeviceSpec, LineSpec
from agent.wire_time import USUAL_TURNAROUND_S, character_s

# 68 A0..A5 68 C L, the data identifier, CS, 16; before them up to four FE. Source: DL/T 645-2007, chapter 5 and 7.1.
_METER_FRAME, _METER_PREAMBLE = 12 + 4, 4
# A meter answers 20 to 500 ms after a request. Source: DL/T 645-2007, 5.4 (Td).
USUAL_METER_TURNAROUND_S = 0.02


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer. sent, answered: bytes; wire_s with answered bytes, least_s with the shortest."""

    device: str
    who: str
    asks: str
    tags: tuple[str, ...]
    period_s: float
    sent: int
    answered: int
    wire_s: float
    least_s: float


def exchanges(line: LineSpec, device: DeviceSpec) -> Iterator[Exchange]:
    """What one poll of a device asks; nothing where it speaks by itself."""
    if line.driver == "dlt645":
        yield from _of_meter(line, device)
    elif device.request:
        least, most = frame_bytes(device)
        tags = tuple(p.tag.name for p in device.points)
        times = [_seconds(line, len(device.request) + n, USUAL_TURNAROUND_S) for n in (most, least)]
        shown = shown_bytes(device.request)
        yield Exchange(device.id, "", shown, tags, device.period_s, len(device.request), most, times[0], times[1])


def _of_meter(line: LineSpec, device: DeviceSpec) -> Iterator[Exchange]:
    for table in frame_tables(device, line.driver):
        item = ITEMS[table.points[0].field]
        sent = len(read_request(bytes(6), item.data_id))
        answered = _METER_PREAMBLE + _METER_FRAME + item.size
        wire_s = _seconds(line, sent + answered, USUAL_METER_TURNAROUND_S)
        asks = f"{table.points[0].field} ({item.data_id:08X})"
        names = table.tags.names
        yield Exchange(device.id, device.meter, asks, names, device.period_s, sent, answered, wire_s, wire_s)


def _seconds(line: LineSpec, characters: int, usual_s: float) -> float:
    """Behind a serial device server the bus has the baud rate that is set there: 9600 is assumed."""
    turnaround_s = usual_s if line.turnaround_s is None else line.turnaround_s
    return characters * character_s(line) + turnaround_s + line.gap_s


def frame_bytes(device: DeviceSpec) -> tuple[int, int]:
    """The fewest and the most bytes of a frame of the device, as far as its description says."""
    frame = device.frame
    if frame is None:
        return 1, 1
    if frame.binary is not None:
        if frame.binary.length:
            return frame.binary.length, frame.binary.length
        reach = max(p.address + (p.length if p.type == "string" else BYTES_OF.get(p.type, 1)) for p in device.points)
        return max(reach, len(frame.binary.start) + 1) + len(frame.binary.end), frame.max_length
    end = len(frame.delimiter.encode(frame.encoding))
    if frame.columns:
        return max(last for _, last in frame.columns.values()) + end, frame.max_length
    return max(1, len(frame.starts)) + end, frame.max_length


def shown_bytes(data: bytes) -> str:
    """A request for a person: text where it is one, else hex."""
    text = data.decode("ascii", "replace")
    plain = text.rstrip("\r\n")
    if plain.isascii() and plain.isprintable() and plain:
        return repr(text)
    return data.hex(" ").upper()
