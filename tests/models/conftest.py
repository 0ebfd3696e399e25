"""Normal operation of a made-up pump, and a model trained from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import history, train
from models.settings import Settings, read_settings
from models.train import Trained
from wire.block import FloatArray

CONFIG = """\
name: pump_1
source: a seeded pump
period_s: 1
inputs:
  - {name: flow, unit: m3/h}
  - {name: pressure, unit: bar}
  - {name: current, unit: A}
false_alarm_every_rows: 5000
warm_up_rows: 10
"""


def normal_rows(n: int, seed: int) -> FloatArray:
    """Flow, pressure and current that follow one load: shape (n, 3)."""
    dice = np.random.default_rng(seed)
    load = np.zeros(n)
    for i in range(1, n):
        load[i] = 0.9 * load[i - 1] + dice.normal(0, 0.4)
    own = dice.normal(0, 0.1, (n, 3))
    return np.column_stack([40 + 3 * (load + own[:, 0]), 6 - 0.5 * (load + own[:, 1]), 11 + load + own[:, 2]])


def write_csv(path: Path, rows: FloatArray, names: str = "flow,pressure,current") -> Path:
    lines = [f"t_s,{names}", *(f"{i},{','.join(f'{x:.6g}' for x in row)}" for i, row in enumerate(rows))]
    path.write_text("\n".join(lines).replace("nan", "") + "\n")
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pump.yaml, normal.csv and pump.onnx."""
    folder = tmp_path_factory.mktemp("pump")
    (folder / "pump.yaml").write_text(CONFIG)
    write_csv(folder / "normal.csv", normal_rows(4000, seed=1))
    return folder


@pytest.fixture(scope="session")
def settings(folder: Path) -> Settings:
    return read_settings(folder / "pump.yaml")


@pytest.fixture(scope="session")
def trained(folder: Path, settings: Settings) -> Trained:
    data = folder / "normal.csv"
    return train.train(settings, history.read_csv(data, "t_s", ["flow", "pressure", "current"]), data)


@pytest.fixture(scope="session")
def model_file(folder: Path, trained: Trained) -> Path:
    train.write(trained, folder / "pump.onnx", normal_rows(100, seed=2))
    return folder / "pump.onnx"
