"""Fixtures that several test folders share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import InfluxDB, Mosquitto

# No time limits: the machines that run this are shared, and a slow one is no defect of the code.
settings.register_profile("gaugeline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gaugeline")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running mosquitto of this test's own; it may be killed and started again."""
    server = Mosquitto(tmp_path / "mosquitto")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    """One running InfluxDB 1.x for the whole run; a test uses a database name of its own."""
    server = InfluxDB(tmp_path_factory.mktemp("influxdb"))
    server.start()
    yield server
    server.stop()
