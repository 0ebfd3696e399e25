"""Fixtures that several test folders share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import InfluxDB, Mosquitto, Postgres

# What a shell starts in the background ignores SIGINT, and so would the programs that tests start and press Ctrl-C on.
signal.signal(signal.SIGINT, signal.default_int_handler)

FIRST_PORT, PORTS, PLACES = 12_000, 2_500, 8  # below those of outgoing connections

# They measure when something happens, which a busy neighbour spoils: the others are nice beside them, and they wait
# more than they work.
ALONE = (
    "agent/test_against_",
    "agent/test_bad_input.py",
    "agent/test_framed_serial.py",
    "agent/test_modbus.py",
    "agent/test_pipeline.py",
    "agent/test_stream.py",
    "cloud/test_real_gateways.py",
    "cloud/test_standby.py",
    "contract/test_driver",
    "firmware_sim/test_answer_faults.py",
    "firmware_sim/test_connection_faults.py",
    "firmware_sim/test_faults.py",
    "firmware_sim/test_framed_devices.py",
    "firmware_sim/test_rtu_",
    "firmware_sim/test_serial_device.py",
    "firmware_sim/test_speed.py",
    "firmware_sim/test_value_faults.py",
    "flow/",
    "gateway/test_brokers.py",
    "gateway/test_screen.py",
    "gateway/test_outbox_disk.py",
    "gateway/test_outbox_proof.py",
    "gateway/test_outbox_thin_uplink.py",
    "gateway/test_uplink.py",
    "gateway/test_watchdog.py",
    "sparkplug/",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--group", choices=("alone", "others"), help="only files of this group are looked at")


def pytest_configure(config: pytest.Config) -> None:
    """Every process of tests has ports of its own: one finds a free port some time before its server listens on it."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    place = (worker + (2 if config.getoption("--group") == "others" else 0)) % PLACES
    first = FIRST_PORT + place * PORTS
    os.environ["GAUGELINE_PORTS"] = f"{first}-{first + PORTS - 1}"


def _is_alone(path: Path) -> bool:
    return str(path.relative_to(Path(__file__).parent)).startswith(ALONE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    group = config.getoption("--group")
    if group is None or collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    return True if _is_alone(collection_path) != (group == "alone") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_alone(item.path):
            item.add_marker("alone")


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One running PostgreSQL for the whole run; a test uses a database of its own."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()
