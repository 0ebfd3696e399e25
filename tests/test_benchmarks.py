"""What benchmarks give to Gaugeline is still understood by it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.__main__ import SCRIPTS
from benchmarks.site_files import INPUTS, scenario, site, training
from firmware_sim.scenario import load
from gateway.config import load_site
from models.settings import read_settings


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_benchmark_can_be_imported_and_run(name: str) -> None:
    assert callable(import_module(f"benchmarks.{name}").main)


def test_the_load_of_a_gateway_is_a_scenario_a_site_and_a_model_that_can_be_trained(tmp_path: Path) -> None:
    config, history = training(tmp_path)
    assert len(read_settings(config).inputs) == INPUTS
    assert len(history.read_text().splitlines()) == 3001
    (tmp_path / "scenario.yaml").write_text(scenario(200, 20))
    assert len(load(str(tmp_path / "scenario.yaml")).devices) == 10
    devices = [{"id": f"d{i}", "line": "l0", "unit_id": 1 + i, "host": "127.0.0.1", "port": 5020} for i in range(10)]
    (tmp_path / "site.yaml").write_text(site(devices, 1883, None, 20))
    loaded = load_site(tmp_path / "site.yaml")
    assert sum(len(d.points) for d in loaded.devices) == 200
