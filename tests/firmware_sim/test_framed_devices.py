"""Devices on serial lines that are not Modbus: their frames, polled and streaming, with faults."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.devices import dlt645_frame, parking_controller
from firmware_sim.devices.dlt645_frame import Frame
from firmware_sim.devices.dlt645_meter import ITEMS
from firmware_sim.errors import ScenarioError
from firmware_sim.scenario import load
from tests.firmware_sim.running import running_text, truth
from tests.firmware_sim.wire import connected

SITE = """\
name: site
lines:
  - {name: scale, kind: serial-text, baud: 9600}
  - {name: road, kind: serial-text, baud: 115200}
  - {name: gate, kind: serial-text, baud: 19200}
  - {name: park, kind: serial-binary, baud: 57600, parity: N}
  - {name: meters, kind: serial-binary, baud: 9600}
devices:
  - {id: scale, model: weighing, line: scale}
  - {id: road, model: traffic_detector, line: road, lanes: 2, interval_s: 0.2}
  - {id: gate, model: barrier, line: gate, cars_per_min: 60}
  - {id: zones, model: parking_controller, line: park, unit_id: 5, zones: 3}
  - {id: zones6, model: parking_controller, line: park, unit_id: 6, zones: 1}
  - {id: meter, model: dlt645_meter, line: meters, address: "123456789012"}
  - {id: meter2, model: dlt645_meter, line: meters, address: "000000000002"}
"""
METER, METER2 = bytes.fromhex("129078563412"), bytes.fromhex("020000000000")
ASK_ZONES = bytes.fromhex("AA55 05 01 00 06")
LANE = re.compile(rb"LANE=(\d) CNT=(\d{5}) SPD=(\d{3}\.\d) OCC=(\d{2}\.\d)\r\n")
EVENT = re.compile(rb"EVT (\d{6}) (OPEN|PASSED|CLOSED|FAULT) TICKET=(\d{6}) CARS=(\d{6})\r\n")
WEIGHT = re.compile(rb"(ST|US|OL),GS,([+-]\d{5}\.\d)kg\r\n")


def only(device: str, kind: str, more: str = "") -> str:
    return f"  - {{device: {device}, kind: {kind}, at_s: 0, for_s: 60{', ' + more if more else ''}}}\n"


def polled(folder: Path) -> list[dict[str, Any]]:
    """Served by those that answer; the others stream all the time."""
    return [each for each in truth(folder, "served") if each["device"] not in ("road", "gate")]


def read(address: bytes, identifier: str) -> bytes:
    return dlt645_frame.encode(Frame(address, 0x11, bytes.fromhex(identifier)[::-1]))


def meter_says(answer: bytes) -> Frame:
    """Written out by hand, so that the simulator's own decoder has a witness."""
    assert answer[:4] == b"\xfe\xfe\xfe\xfe"
    body = answer[4:]
    assert body[0] == body[7] == 0x68 and body[-1] == 0x16
    assert body[-2] == sum(body[:-2]) % 256 and len(body) == 12 + body[9]
    return Frame(body[1:7], body[8], bytes((each - 0x33) % 256 for each in body[10:-2]))


def test_the_frame_that_every_handbook_shows() -> None:
    # Read forward active energy (00010000) of whatever meter there is.
    assert read(b"\xaa" * 6, "00010000") == bytes.fromhex("68 AAAAAAAAAAAA 68 11 04 33333433 AE 16")


@given(st.binary(max_size=40), st.binary(min_size=6, max_size=6), st.integers(0, 255), st.binary(max_size=60))
def test_dlt645_frames_are_found_behind_any_noise(noise: bytes, address: bytes, control: int, data: bytes) -> None:
    frame = Frame(address, control, data)
    noise = noise.replace(b"\x68", b"")
    heard = bytearray(noise + b"\xfe" * 4 + dlt645_frame.encode(frame) + b"\xfe")
    found = dlt645_frame.take(heard)
    assert found is not None and dlt645_frame.decode(found) == frame
    assert dlt645_frame.take(heard) is None


@given(st.binary(max_size=30), st.integers(1, 247), st.integers(0, 255), st.binary(max_size=200), st.data())
def test_parking_frames_are_found_in_pieces(
    noise: bytes, address: int, command: int, data: bytes, draw: st.DataObject
) -> None:
    whole = noise.replace(b"\xaa", b"") + parking_controller.frame(address, command, data)
    cut = draw.draw(st.integers(0, len(whole) - 1))
    heard = bytearray(whole[:cut])
    assert parking_controller.take(heard) is None
    heard += whole[cut:]
    assert parking_controller.take(heard) == parking_controller.frame(address, command, data)
    assert not heard


@given(st.sampled_from(sorted(ITEMS)), st.floats(-1e9, 1e9))
def test_meter_items_say_what_they_encode(identifier: str, value: float) -> None:
    item = ITEMS[identifier]
    data, said = item.encode(value)
    digits = int((bytes(data[:-1]) + bytes((data[-1] & (0x7F if item.signed else 0xFF),)))[::-1].hex())
    minus = item.signed and data[-1] & 0x80
    assert round(-digits / 10**item.decimals if minus else digits / 10**item.decimals, item.decimals) == said
    if abs(value) < 70 and (item.signed or value > 0):
        assert said == pytest.approx(value, abs=0.51 / 10**item.decimals) or item.count == 2


async def test_meters_answer_by_address_with_values_of_the_truth(tmp_path: Path) -> None:
    async with running_text(tmp_path, SITE) as at, connected(at["meter"]) as wire:
        wire.send(b"\xfe\xfe\xfe\xfe" + read(METER, "00010000"))
        energy = meter_says(await wire.bytes(0.4))
        wire.send(read(METER2, "0201FF00"))
        volts = meter_says(await wire.bytes(0.4))
        wire.send(read(METER, "02030000"))
        power = meter_says(await wire.bytes(0.4))
        wire.send(dlt645_frame.encode(Frame(METER, 0x11, bytes.fromhex("01040004"))))
        assert meter_says(await wire.bytes(0.4)).data[4:] == METER
    assert (energy.address, energy.control, energy.data[:4].hex()) == (METER, 0x91, "00000100")
    first, block, last = polled(tmp_path)
    assert [each["device"] for each in (first, block, last)] == ["meter", "meter2", "meter"]
    assert first["values"] == {"energy_import": int(energy.data[4:][::-1].hex()) / 100}
    assert volts.address == METER2
    assert list(block["values"].values()) == [int(volts.data[at : at + 2][::-1].hex()) / 10 for at in (4, 6, 8)]
    assert last["values"] == {"power": int(power.data[4:][::-1].hex()) / 10_000} and 1 < last["values"]["power"] < 10


async def test_a_meter_says_no_and_knows_its_own_address(tmp_path: Path) -> None:
    async with running_text(tmp_path, SITE.replace("  - {id: meter2", "  #")) as at, connected(at["meter"]) as wire:
        wire.send(read(METER, "03030303"))
        assert meter_says(await wire.bytes(0.3)) == Frame(METER, 0xD1, b"\x02")
        wire.send(dlt645_frame.encode(Frame(b"\xaa" * 6, 0x13, b"")))
        assert meter_says(await wire.bytes(0.3)) == Frame(METER, 0x93, METER)
        wire.send(read(b"\x12\x90" + b"\xaa" * 4, "02800002"))  # the rest of the address may be anything
        assert meter_says(await wire.bytes(0.3)).data[:4] == bytes.fromhex("02008002")
        wire.send(read(METER2, "00010000") + read(METER, "00010000")[:-2] + b"\x00\x16")
        assert await wire.bytes(0.3) == b""  # another meter; a wrong checksum


async def test_zones(tmp_path: Path) -> None:
    async with running_text(tmp_path, SITE) as at, connected(at["zones"]) as wire:
        wire.send(ASK_ZONES)
        answer = await wire.bytes()
        wire.send(bytes.fromhex("AA55 06 01 00 07") + bytes.fromhex("AA55 07 01 00 08"))
        assert (await wire.bytes())[2] == 6
    assert answer[:5].hex() == "aa5505811" + "2" and answer[-1] == sum(answer[2:-1]) % 256 and len(answer) == 24
    served, _ = polled(tmp_path)
    for zone in (1, 2, 3):
        part = answer[5 + 6 * (zone - 1) :][:6]
        assert part[0] == zone
        assert int.from_bytes(part[1:3], "big") == served["values"][f"zone{zone}_capacity"] == 60
        assert int.from_bytes(part[3:5], "big") == served["values"][f"zone{zone}_occupied"]
        assert bool(part[5] & 1) == served["values"][f"zone{zone}_full"]


async def test_weights_are_asked_for(tmp_path: Path) -> None:
    async with running_text(tmp_path, SITE) as at, connected(at["scale"]) as wire:
        assert await wire.bytes(0.2) == b""
        wire.send(b"X\r\nQ\r\n")
        found = WEIGHT.fullmatch(await wire.bytes())
        assert found is not None
    [served] = polled(tmp_path)
    assert served["values"]["weight"] == float(found[2])
    assert served["values"]["stable"] == (found[1] == b"ST")


@pytest.mark.parametrize(("device", "pattern"), [("road", LANE), ("gate", EVENT)])
async def test_streams_say_what_the_truth_says(tmp_path: Path, device: str, pattern: re.Pattern[bytes]) -> None:
    async with running_text(tmp_path, SITE, "", "speed=20") as at, connected(at[device]) as wire:
        heard = pattern.findall(await wire.bytes(1.2))
    assert len(heard) >= 5
    served = [each["values"] for each in truth(tmp_path, "served", device)]
    assert [told(device, values) for values in served][: len(heard)] == heard


def told(device: str, values: Mapping[str, float]) -> tuple[bytes, ...]:
    if device == "gate":
        state = ("OPEN", "PASSED", "CLOSED", "FAULT")[int(values["state"])].encode()
        return (b"%06d" % values["event"], state, b"%06d" % values["ticket"], b"%06d" % values["cars"])
    lane = next(iter(values))[4]
    parts = (values[f"lane{lane}_{kind}"] for kind in ("count", "speed", "occupancy"))
    count, speed, occupancy = parts
    return (lane.encode(), b"%05d" % count, b"%05.1f" % speed, b"%04.1f" % occupancy)


@pytest.mark.parametrize("device", ["scale", "zones", "meter"])
@pytest.mark.parametrize("kind", ["silent", "late", "garbled", "split", "merged", "refused", "wrong_unit", "step"])
async def test_faults_of_polled_devices(tmp_path: Path, device: str, kind: str) -> None:
    if device == "scale" and kind in ("refused", "wrong_unit"):
        with pytest.raises(ScenarioError, match="does not exist on a serial-text line"):
            async with running_text(tmp_path, SITE, only(device, kind)):
                pass
        return
    ask = {"scale": b"Q\r\n", "zones": ASK_ZONES, "meter": read(METER, "02800002")}[device]
    more = {"late": "delay_s: 0.4", "split": "gap_s: 0.2", "step": "size: 7"}.get(kind, "")
    async with running_text(tmp_path, SITE, only(device, kind, more)) as at, connected(at[device]) as wire:
        asked = time.monotonic()
        wire.send(ask)
        pieces = await wire.quiet(0.75)
        answer = b"".join(data for _, data in pieces)
        if kind == "merged":
            assert answer == b""
            wire.send(ask)
            answer = await wire.bytes(0.4)
            half = len(answer) // 2
            assert half and (device == "scale" or answer[:7] == answer[half:][:7])
    served = truth(tmp_path, "served", device)
    marred = [each["name"] for each in truth(tmp_path, "marred", device)]
    assert truth(tmp_path, "fault", device)[0]["name"] == kind
    assert set(marred) == (set() if kind == "step" else {kind})
    assert len(served) == {"silent": 0, "garbled": 0, "refused": 0, "merged": 2}.get(kind, 1)
    if kind == "silent":
        assert answer == b""
    if kind == "late":
        assert pieces[0][0] - asked >= 0.4
    if kind == "split":
        assert max(b - a for (a, _), (b, _) in itertools.pairwise(pieces)) >= 0.19
    if kind == "garbled":
        assert answer and not WEIGHT.fullmatch(answer)
        assert parking_controller.take(bytearray(answer)) is None and dlt645_frame.take(bytearray(answer)) is None
    if kind == "refused":
        assert answer.hex() == "aa5505c10102c9" if device == "zones" else meter_says(answer).control == 0xD1
    if kind == "wrong_unit":
        assert answer[2] == 6 if device == "zones" else meter_says(answer).address == b"\x13" + METER[1:]
    if kind == "step":
        assert {round(served[0]["values"][name] - true, 6) for name, true in served[0]["true"].items()} == {7}


@pytest.mark.parametrize("kind", ["silent", "garbled", "split", "merged", "step"])
async def test_faults_of_streams(tmp_path: Path, kind: str) -> None:
    more = "gap_s: 0.05" if kind == "split" else "size: 20" if kind == "step" else ""
    async with running_text(tmp_path, SITE, only("road", kind, more)) as at, connected(at["road"]) as wire:
        heard = await wire.bytes(1.0)
    lines, served = LANE.findall(heard), truth(tmp_path, "served", "road")
    if kind in ("silent", "garbled"):
        assert lines == [] and served == [] and (heard == b"") == (kind == "silent")
        return
    if kind == "merged":
        del lines[-1]  # two merged frames are on record once both have left; the end may have cut them apart
    assert 4 <= len(lines) <= 12 and len(served) >= len(lines)
    assert all(("true" in each) == (kind == "step") for each in served)
    told = [tuple(each["values"].items()) for each in served]
    for lane, count, speed, occupancy in lines:
        name = f"lane{int(lane)}"
        heard_values = {
            f"{name}_count": int(count),
            f"{name}_speed": float(speed),
            f"{name}_occupancy": float(occupancy),
        }
        assert tuple(heard_values.items()) in told, "heard on the line, and not in the truth"


def test_a_line_has_one_language_and_each_address_once(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    for old, new, told in (
        ('"000000000002"', '"123456789012"', "'meters' has another device at this place"),
        ("unit_id: 6", "unit_id: 5", "'park' has another device at this place"),
        ("line: park, unit_id: 6", "line: meters, unit_id: 6", "'meters' speaks the language of"),
        ("line: gate", "line: park", "barrier needs a serial-text line; 'park' is serial-binary"),
    ):
        path.write_text(SITE.replace(old, new))
        with pytest.raises(ScenarioError) as fault:
            load(str(path))
        assert told in str(fault.value)


async def test_the_pause_of_a_stream_is_simulated_time(tmp_path: Path) -> None:
    for speed in (1, 10):
        folder = tmp_path / str(speed)
        folder.mkdir()
        async with running_text(folder, SITE, "", f"speed={speed}"):
            await asyncio.sleep(1.0)
    slow, fast = (truth(tmp_path / speed, "served", "road") for speed in ("1", "10"))
    assert len(fast) > 3 * len(slow)
    assert fast[0]["values"] == slow[0]["values"]
