"""Fixtures of the gateway's tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A test that calls the command line sets logging up; its handler must not outlive the captured stderr."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    for name in ("pymodbus", "gateway.mqtt", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)
