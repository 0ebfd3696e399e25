"""The plant of the soak: a scenario with every way in and every fault at random, and the site.yaml that reads it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

GROUP, GATEWAY, HOST = "soak", "gw", "gaugeline"
RTU, TCP, RTU_TCP, TEXT, BINARY = "modbus-rtu", "modbus-tcp", "rtu-over-tcp", "serial-text", "serial-binary"
SCENARIO_LINES: dict[str, dict[str, Any]] = {
    "tcp-a": {"kind": TCP},
    "tcp-b": {"kind": TCP},
    "tcp-c": {"kind": TCP},
    "conv": {"kind": RTU_TCP, "turnaround_s": 0.01},
    "bus-a": {"kind": RTU, "baud": 19200, "parity": "N"},
    "bus-b": {"kind": RTU, "baud": 38400, "parity": "N"},
    "scale": {"kind": TEXT},
    "road": {"kind": TEXT},
    "lanes": {"kind": TEXT, "baud": 19200},
    "gate": {"kind": TEXT},
    "zones": {"kind": BINARY, "baud": 9600, "parity": "N"},
    "meters": {"kind": BINARY, "baud": 2400, "parity": "E"},
}
DRIVERS = {RTU: RTU, TCP: TCP, RTU_TCP: "modbus-rtu-tcp", TEXT: TEXT, BINARY: BINARY}
# Unit ids follow one another: an answer under the next unit id bears the address of a real neighbour.
UNITS = {"tcp-a": 3, "conv": 3, "bus-a": 4, "bus-b": 3}
PERIOD_S = {"tcp-a": 1.0, "conv": 1.5, "bus-a": 1.0, "bus-b": 1.0}
MACHINES = {"machine-1": "tcp-b", "machine-2": "tcp-c"}
REGISTERS = 8  # of each row: rows of one length are what a late answer can be mistaken for
ROWS = {"near": ("holding", 0), "far": ("holding", 2000), "input": ("input", 0)}


@dataclass(frozen=True)
class Kind:
    """One kind of fault: how long it holds, how often on a device in an hour, and its further keys."""

    for_s: float
    per_h: float
    rest: Mapping[str, Any]


LATE = {"delay_s": 0.1, "delay_max_s": 1.4}
EVERYWHERE = {
    "silent": Kind(4, 20, {}),
    "late": Kind(5, 20, {**LATE, "chance": 0.7}),
    "split": Kind(4, 14, {"gap_s": 0.08, "chance": 0.7}),
    "merged": Kind(4, 16, {"chance": 0.5}),
    "restart": Kind(3, 8, {}),
    "stuck": Kind(6, 10, {}),
    "drift": Kind(10, 10, {"size": 7200}),
    "spike": Kind(6, 10, {"size": 300, "chance": 0.4}),
    "noise": Kind(6, 10, {"size": 20}),
    "step": Kind(6, 10, {"size": 150}),
}
REFUSABLE = {"refused": Kind(4, 16, {"chance": 0.8}), "wrong_unit": Kind(4, 16, {"chance": 0.7})}
GARBLED = {"garbled": Kind(4, 16, {"chance": 0.6})}
OVERTAKING = {"overtaking": Kind(5, 24, {**LATE, "chance": 0.7})}
# Of a whole line: they come to one device of it.
LINK = {
    "dropped": Kind(1.5, 40, {}),
    "half_open": Kind(3, 40, {}),
    "one_connection": Kind(5, 40, {}),
}
WRITES = {"write_ignored": Kind(8, 30, {}), "write_clamped": Kind(8, 30, {"low": 20, "high": 30})}
EVERY_KIND = frozenset({**EVERYWHERE, **REFUSABLE, **GARBLED, **OVERTAKING, **LINK, **WRITES})


def writable() -> list[str]:
    return [f"{line}-{unit}/set_point" for line, count in UNITS.items() for unit in range(1, count + 1)]


def scenario(seed: int, faults_end_s: float, density: float = 1.0) -> str:
    """JSON, which is YAML. Faults come as the seed says, and the last one begins before faults_end_s.

    density: how many times as often as in the long form.
    """
    devices = list(_scenario_devices())
    lines = [{"name": name, **rest} for name, rest in SCENARIO_LINES.items()]
    faults = list(_faults(devices, seed, faults_end_s, density))
    return json.dumps({"name": "soak", "seed": seed, "lines": lines, "devices": devices, "faults": faults}, indent=1)


def _scenario_devices() -> Iterator[dict[str, Any]]:
    walk = {"kind": "random_walk", "mean": 500, "amplitude": 400, "period_s": 60}
    rows = [
        {"name": name, "table": table, "address": at, "count": REGISTERS, "scale": 0.1, "source": walk}
        for name, (table, at) in ROWS.items()
    ]
    others = [
        {"name": "pulses", "address": 40, "type": "uint32", "source": {"kind": "counter", "rate_per_s": 7}},
        {"name": "set_point", "address": 60, "scale": 0.1, "source": 21.5, "writable": True},
        {"name": "running", "table": "discrete", "address": 0, "type": "bool", "source": True},
    ]
    for line, count in UNITS.items():
        for unit in range(1, count + 1):
            yield {"id": f"{line}-{unit}", "model": "registers", "line": line, "unit_id": unit, "step_s": 0.1,
                   "signals": rows + others}  # fmt: skip
    for machine, line in MACHINES.items():
        yield {"id": machine, "model": "machine", "line": line}
    yield {"id": "weigher", "model": "weighing", "line": "scale"}
    yield {"id": "loop", "model": "road_detector", "line": "road"}
    yield {"id": "detector", "model": "traffic_detector", "line": "lanes", "lanes": 2}
    yield {"id": "barrier", "model": "barrier", "line": "gate", "cars_per_min": 20}
    for unit in (5, 9):
        yield {"id": f"zone-{unit}", "model": "parking_controller", "line": "zones", "unit_id": unit, "zones": 2}
    for unit in (2, 5):
        yield {"id": f"meter-{unit}", "model": "dlt645_meter", "line": "meters", "unit_id": unit,
               "address": f"20180822001{unit}"}  # fmt: skip


def _kinds(device: Mapping[str, Any], first: bool) -> dict[str, Kind]:
    """What can happen to a device; first: it is the first of its line."""
    line = SCENARIO_LINES[device["line"]]["kind"]
    kinds = dict(EVERYWHERE)
    kinds |= REFUSABLE if line in (TCP, RTU, RTU_TCP, BINARY) else {}
    kinds |= GARBLED if line != TCP else {}
    kinds |= OVERTAKING if line in (RTU, RTU_TCP) else {}
    kinds |= LINK if line in (TCP, RTU_TCP) and first else {}
    kinds |= WRITES if device["model"] == "registers" else {}
    return kinds


def _faults(devices: list[dict[str, Any]], seed: int, until_s: float, density: float) -> Iterator[dict[str, Any]]:
    dice = random.Random(seed)
    seen: set[str] = set()
    for device in devices:
        kinds = list(_kinds(device, device["line"] not in seen).items())
        seen.add(device["line"])
        dice.shuffle(kinds)  # of several that hold at once the first strikes
        for name, kind in kinds:
            signals = {"signals": ["near1", "far1", "input1"]} if name == "drift" and "signals" in device else {}
            rate = round(kind.per_h * density * dice.uniform(0.7, 1.4), 1)
            yield {"device": device["id"], "kind": name, "for_s": kind.for_s, **kind.rest, **signals,
                   "rate_per_h": rate, "until_s": until_s}  # fmt: skip


def site(where: Mapping[str, Mapping[str, Any]], broker_port: int, *, changed: bool = False) -> str:
    """site.yaml as JSON. where: device id -> the simulator's ready entry. changed: as a reload finds it."""
    entries = {str(entry["line"]): entry for entry in where.values()}
    lines = []
    for name, rest in SCENARIO_LINES.items():
        kind, entry = rest["kind"], entries[name]
        line = {"name": name, "driver": "dlt645" if name == "meters" else DRIVERS[kind], "port": entry["port"]}
        line |= {"host": entry["host"]} if "host" in entry else {"baud": rest.get("baud", 9600), "parity": "N"}
        lines.append({**line, "timeout_s": 0.8 if name == "meters" else 0.3, "probe_s": 3})
    return json.dumps(
        {
            "group": GROUP,
            "gateway": GATEWAY,
            "broker": {"url": f"mqtt://127.0.0.1:{broker_port}", "keepalive_s": 5},
            "hosts": [HOST],
            "commands": {"write": True},
            "lines": lines,
            "devices": list(_site_devices(changed)),
            "assets": [
                {"id": f"asset-{machine}", "kind": "machine", "devices": [machine], "model": "demo_machine"}
                for machine in MACHINES
            ],
        },
        indent=1,
    )


def _site_devices(changed: bool) -> Iterator[dict[str, Any]]:
    for line, count in UNITS.items():
        for unit in range(1, count + 1):
            rows = [
                {"name": f"{name}{i + 1}", "table": table, "address": at + i, "type": "uint16", "scale": 0.1}
                for name, (table, at) in ROWS.items()
                for i in range(REGISTERS)
            ]
            others = [
                {"name": "pulses", "table": "holding", "address": 40, "type": "uint32", "deadband": 20},
                {"name": "set_point", "table": "holding", "address": 60, "scale": 0.1, "writable": True,
                 "write_low": 0, "write_high": 100},
                {"name": "running", "table": "discrete", "address": 0, "type": "bool", "max_silence_s": 10},
            ]  # fmt: skip
            left = rows[:-1] if changed and (line, unit) in (("bus-a", 2), ("tcp-a", 1)) else rows
            yield {"id": f"{line}-{unit}", "line": line, "unit_id": unit, "period_s": PERIOD_S[line],
                   "tags": left + others}  # fmt: skip
    for machine, line in MACHINES.items():
        yield {"id": machine, "line": line, "period_s": 0.1, "tags": _MACHINE}
    yield from _FRAMED
    for unit in (5, 9):
        request = bytes((unit, 1, 0))
        when = {2: unit, 3: 0x81}
        zone = [
            {"name": f"zone{z}_{name}", "at": 6 * z + more, **rest, "when": when}
            for z in (1, 2)
            for name, more, rest in (
                ("capacity", 0, {"type": "uint16"}),
                ("occupied", 2, {"type": "uint16"}),
                ("full", 4, {"type": "bool", "bit": 0}),
            )
        ]
        yield {"id": f"zone-{unit}", "line": "zones", "request_hex": f"AA55{request.hex()}{sum(request):02X}",
               "frame": _ZONE_FRAME, "tags": zone}  # fmt: skip
    for unit in (2, 5):
        items = ("energy_import", "voltage_a", "current_a", "power", "power_factor", "frequency")
        yield {"id": f"meter-{unit}", "line": "meters", "meter": f"20180822001{unit}", "period_s": 5,
               "tags": [{"name": item, "item": item} for item in items]}  # fmt: skip


_ZONE_FRAME = {"start": "AA55", "length_field": {"at": 4, "add": 6}, "checksum": {"kind": "sum8", "first": 2}}
_MACHINE = [
    {"name": "temperature", "table": "holding", "address": 0, "type": "float32", "unit": "[degF]"},
    {"name": "motor_current", "table": "holding", "address": 2, "scale": 0.01, "unit": "A"},
    {"name": "vibration_rms", "table": "holding", "address": 3, "scale": 0.001, "unit": "mm/s"},
    {"name": "speed_rpm", "table": "holding", "address": 4, "unit": "1/min", "deadband": 1},
    {"name": "run_hours", "table": "holding", "address": 5, "type": "uint32", "order": "CDAB", "scale": 0.1},
    {"name": "running", "table": "discrete", "address": 0, "type": "bool", "max_silence_s": 10},
]
_FRAMED: list[dict[str, Any]] = [
    {
        "id": "weigher", "line": "scale", "period_s": 0.5, "request": "Q\r\n",
        "frame": {"pattern": r"(?:ST|US|OL),GS,(?P<weight>[+-][\d.]+)kg$"},
        "tags": [{"name": "weight", "field": "weight", "type": "float32", "unit": "kg"}],
    },
    {
        "id": "loop", "line": "road",
        "frame": {"pattern": r"L1 OCC=(?P<occupancy>[\d.]+) SPD=(?P<speed>[\d.]+) VOL=(?P<flow>\d+)$"},
        "tags": [
            {"name": "occupancy", "field": "occupancy", "type": "float32"},
            {"name": "speed", "field": "speed", "type": "float32"},
            {"name": "flow", "field": "flow", "type": "uint32"},
        ],
    },
    {
        "id": "detector", "line": "lanes",
        "frame": {"pattern": r"LANE=(?P<lane>\d) CNT=(?P<count>\d+) SPD=(?P<speed>[\d.]+) OCC=(?P<occupancy>[\d.]+)$"},
        "tags": [
            {"name": f"lane{lane}_{name}", "field": name, "type": kind, "when": {"lane": str(lane)}}
            for lane in (1, 2)
            for name, kind in (("count", "uint32"), ("speed", "float32"), ("occupancy", "float32"))
        ],
    },
    {
        "id": "barrier", "line": "gate", "events": True,
        "frame": {"pattern": r"EVT (?P<event>\d{6}) (?P<state>\w+) TICKET=(?P<ticket>\d+) CARS=(?P<cars>\d+)$"},
        "tags": [
            {"name": "event", "field": "event", "type": "uint32"},
            {"name": "state", "field": "state", "type": "string", "length": 8},
            {"name": "cars", "field": "cars", "type": "uint32"},
        ],
    },
]  # fmt: skip
