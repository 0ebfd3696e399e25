"""A test for every requirement of the Sparkplug 3.0 specification that concerns us, named by its id.

One scenario is played (scenario.py) and recorded packet by packet; payloads are read by a foreign decoder. Every check
is then shown a spoilt recording, and must find it out.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.sparkplug import (
    edge_births,
    edge_data,
    edge_messages,
    edge_metrics,
    edge_sessions,
    host_commands,
    host_state,
)
from tests.sparkplug.page import PAGE, page
from tests.sparkplug.plant import VALUES
from tests.sparkplug.recording import Recording
from tests.sparkplug.scenario import play
from tests.sparkplug.table import CHECKS, PARTIES, requirements

# Imported, they register their checks.
MODULES = (edge_births, edge_data, edge_messages, edge_metrics, edge_sessions, host_commands, host_state)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder: Path = tmp_path_factory.mktemp("sparkplug")
    return asyncio.run(play(folder))


def test_every_requirement_that_concerns_us_has_a_test_and_no_test_is_of_an_unknown_one() -> None:
    table = requirements()
    assert all(name.startswith("tck-id-") and r.says and r.who in PARTIES for name, r in table.items())
    assert {r.state for r in table.values()} == {"met", "partly", "none"}
    assert all((r.state == "none") == (r.who == "none") for r in table.values())
    assert all(bool(r.why) == (r.state != "met") for r in table.values())
    assert sorted(CHECKS) == sorted(name for name, r in table.items() if r.who != "none")
    assert len(CHECKS) > 200


@pytest.mark.parametrize("name", CHECKS)
def test_requirement(recording: Recording, name: str) -> None:
    CHECKS[name].judge(recording)


@pytest.mark.parametrize("name", CHECKS)
def test_a_spoilt_recording_is_found_out(recording: Recording, name: str) -> None:
    spoilt = CHECKS[name].spoil(recording)
    with pytest.raises(AssertionError):
        CHECKS[name].judge(spoilt)


def test_the_host_reads_every_datatype_as_a_foreign_encoder_says_it(recording: Recording) -> None:
    shown = recording.shown("STRANGE BORN")
    assert {name: shown[f"strange/pump/{name}"]["value"] for name in VALUES} == VALUES


def test_a_host_that_lost_its_broker_shows_nothing_as_fresh(recording: Recording) -> None:
    """Asked for in chapter 5.1, without an id."""
    tags = recording.shown("HOST ALONE")
    assert tags
    assert all(tag["stale"] for tag in tags.values())


def test_the_page_says_what_the_table_says() -> None:
    """After a change of the table: `python -m tests.sparkplug.page`."""
    assert PAGE.read_text() == page()
