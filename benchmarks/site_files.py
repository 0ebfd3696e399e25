"""Scenarios and sites for load: so many simulated registers on so many Modbus TCP lines, with or without models.

per_device: tags of each device, a multiple of INPUTS; 100 by default, which are one request, or 20.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TAGS_PER_DEVICE = 100
DEVICES_PER_LINE = 50
INPUTS = 20  # of each model; an asset with a model holds so many tags of one device
TIMEOUT_S = 0.5  # leaves room for a silent device in a period of 1 s


def scenario(tags: int, per_device: int = TAGS_PER_DEVICE) -> str:
    """The simulator's scenario: devices of so many registers that walk at random, fifty on a line."""
    devices = [f"d{i}" for i in range(tags // per_device)]
    lines = [f"l{i}" for i in range(-(-len(devices) // DEVICES_PER_LINE))]
    signal = {"name": "t", "address": 0, "count": per_device, "scale": 0.1}
    return json.dumps(
        {
            "name": "load",
            "lines": [{"name": name, "kind": "modbus-tcp"} for name in lines],
            "devices": [
                {
                    "id": device,
                    "model": "registers",
                    "line": lines[i // DEVICES_PER_LINE],
                    "unit_id": 1 + i % DEVICES_PER_LINE,
                    "signals": [{**signal, "source": {"kind": "random_walk", "mean": 500, "amplitude": 400}}],
                }
                for i, device in enumerate(devices)
            ],
        }
    )


def names(count: int = TAGS_PER_DEVICE) -> list[str]:
    """The simulator numbers the signals of a row with as many digits as the last one needs."""
    width = len(str(count))
    return [f"t{i:0{width}d}" for i in range(1, count + 1)]


def site(
    devices: Sequence[Mapping[str, Any]], broker_port: int, model: str | None, per_device: int = TAGS_PER_DEVICE
) -> str:
    """site.yaml: every register a tag once a second, no deadband; a model for every 20 tags where one is named."""
    lines: dict[str, Mapping[str, Any]] = {str(d["line"]): d for d in devices}
    tags = names(per_device)
    return json.dumps(
        {
            "group": "bench",
            "gateway": "gw",
            "broker": f"mqtt://127.0.0.1:{broker_port}",
            "lines": [
                {"name": name, "driver": "modbus-tcp", "host": d["host"], "port": d["port"], "timeout_s": TIMEOUT_S}
                for name, d in lines.items()
            ],
            "devices": [
                {
                    "id": d["id"],
                    "line": d["line"],
                    "unit_id": d["unit_id"],
                    "period_s": 1,
                    "tags": [
                        {"name": tag, "table": "holding", "address": i, "type": "uint16", "scale": 0.1}
                        for i, tag in enumerate(tags)
                    ],
                }
                for d in devices
            ],
            "assets": [
                {
                    "id": f"a-{d['id']}-{part}",
                    "tags": [f"{d['id']}/{tag}" for tag in tags[part * INPUTS : (part + 1) * INPUTS]],
                    "model": model,
                    "inputs": {
                        f"x{i}": f"{d['id']}/{tag}" for i, tag in enumerate(tags[part * INPUTS : (part + 1) * INPUTS])
                    },
                }
                for d in (devices if model else ())
                for part in range(per_device // INPUTS)
            ],
        }
    )


def training(folder: Path) -> tuple[Path, Path]:
    """Config and history of a model with 20 inputs; what it learns does not matter here, what it costs does."""
    dice = random.Random(1)
    history, config = folder / "history.csv", folder / "model.yaml"
    inputs = [f"x{i}" for i in range(INPUTS)]
    with history.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["t_s", *inputs])
        writer.writerows([second, *(round(dice.gauss(500, 100), 1) for _ in inputs)] for second in range(3000))
    config.write_text(
        json.dumps(
            {
                "name": "load",
                "version": "1",
                "detector": "robust_distance",
                "source": "random numbers",
                "time_column": "t_s",
                "period_s": 1,
                "inputs": [{"name": name, "unit": ""} for name in inputs],
                "false_alarm_every_rows": 2000,
                "detector_settings": {"smoothing_rows": 5},
                "warm_up_rows": 10,
                "alarm": {"raise_rows": 5, "hold_rows": 10, "release_rows": 10, "clear_ratio": 0.9},
            }
        )
    )
    return config, history
