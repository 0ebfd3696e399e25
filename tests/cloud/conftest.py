"""What hosts of these tests have in common."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from cloud.logs import EventAndFields
from tests.cloud.hosts import STARTED


@pytest.fixture(scope="session", autouse=True)
def no_host_outlives_the_tests() -> Iterator[None]:
    yield
    for process in STARTED:
        if process.poll() is None:
            process.kill()
            process.wait(5)


@pytest.fixture(autouse=True)
def every_audit_is_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the one before took: on a busy machine a small one may be slow, too."""
    monkeypatch.setattr("cloud.host.SLOW_AUDIT_S", 1e9)


@pytest.fixture(autouse=True)
def log_lines_of_a_host_end_with_its_test() -> Iterator[None]:
    """`cloud run` in this process logs to the stderr that pytest gives to one test alone, and closes behind it."""
    yield
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one.formatter, EventAndFields)]:
        root.removeHandler(handler)
