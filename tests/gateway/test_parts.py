"""Small parts: lanes, primary host, supervision, log lines."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from gateway.lanes import MAX_LIVE_BATCHES, Lanes, StateChange
from gateway.logs import EventFormatter, JournalFormatter, JsonFormatter, log_to_stderr, to_journal
from gateway.outbox.rows import Batch, Committed
from gateway.primary import PrimaryHost
from gateway.resend import ResendWindow
from gateway.supervise import supervised
from wire.errors import ConfigError, PayloadError


def batch(i: int, size: int = 10) -> Batch:
    return Batch(i, "e", "pump", 1, i, "00" * 16, b"x" * size)


def drained(lanes: Lanes) -> list[Batch | StateChange]:
    found = []
    while (item := lanes.next_live()) is not None:
        found.append(item)
    return found


def test_commits_without_a_session_are_backlog_and_within_one_live() -> None:
    lanes = Lanes(ResendWindow())
    lanes.committed(Committed((batch(1),), {}))
    lanes.begin()
    lanes.committed(Committed((batch(2),), {}))  # committed while the last id was asked for
    lanes.backlog_upto(2)
    lanes.committed(Committed((batch(3),), {"fan": True, "pump": False}))
    assert lanes.todo.covers(1, 2)
    assert lanes.live_waiting == 2
    assert drained(lanes) == [StateChange("fan", True), batch(3), StateChange("pump", False)]
    assert lanes.live_waiting == 0
    lanes.committed(Committed((batch(4),), {}))
    lanes.end()
    assert drained(lanes) == []


@pytest.mark.parametrize(("count", "size"), [(MAX_LIVE_BATCHES + 5, 10), (20, 1_000_000)])
def test_the_live_lane_is_bounded_and_what_falls_out_is_backlog(count: int, size: int) -> None:
    lanes = Lanes(ResendWindow())
    lanes.begin()
    lanes.committed(Committed((), {"pump": True}))
    for i in range(1, count + 1):
        lanes.committed(Committed((batch(i, size),), {}))
    kept = [item.id for item in drained(lanes) if isinstance(item, Batch)]
    assert len(kept) * size <= 8_000_000
    assert kept == list(range(count - len(kept) + 1, count + 1))
    assert lanes.todo.covers(1, count - len(kept))


def test_only_what_was_published_counts_as_published() -> None:
    lanes = Lanes(ResendWindow(batches=1))
    lanes.live_sent(batch(1), 0.0)
    lanes.live_sent(batch(2), 0.0)  # the window is closed
    assert lanes.was_published("e", 1, 2)
    assert not lanes.was_published("e", 1, 3)
    assert not lanes.was_published("other", 1, 1)
    assert (1 in lanes.window, 2 in lanes.window, lanes.todo.covers(2, 2)) == (True, False, True)


def test_an_older_offline_state_is_ignored_and_every_session_asks_anew() -> None:
    host = PrimaryHost("h")
    assert host.hear(b'{"online": true, "timestamp": 100}')
    assert not host.hear(b'{"online": false, "timestamp": 99}')
    assert host.online
    assert host.hear(b'{"online": false, "timestamp": 100}')
    assert not host.online
    assert not host.hear(b'{"online": true, "timestamp": 99}')
    assert (host.online, host.behind) == (False, True)
    host.begin()
    assert (host.online, host.behind) == (False, False)
    assert host.hear(b'{"online": true, "timestamp": 50}')  # a host whose clock was set back is there
    host.begin()
    assert not host.online
    for wrong in (b"", b"OFFLINE", b"[1]", b'{"online": 1, "timestamp": 2}', b'{"online": true}', b"[" * 100_000):
        with pytest.raises(PayloadError):
            host.hear(wrong)


async def test_a_task_that_fails_is_logged_counted_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise KeyError("a bug")

    restarts: Counter[str] = Counter()
    await asyncio.wait_for(supervised("line x", work, restarts), 10)
    assert (runs, restarts) == (2, {"line x": 1})
    assert [(r.getMessage(), r.exc_info is not None) for r in caplog.records] == [
        ("task failed and is started again", True)
    ]


async def test_a_task_that_cannot_be_configured_is_not_tried_for_ever() -> None:
    async def work() -> None:
        raise ConfigError("never")

    with pytest.raises(ConfigError):
        await supervised("line x", work, Counter())


def test_a_log_line_is_an_event_plus_fields() -> None:
    record = logging.makeLogRecord(
        {"name": "gateway.x", "levelname": "WARNING", "msg": "uplink down", "created": 0.25, "msecs": 250.0}
    )
    record.error, record.attempt, record.empty = 'a "quoted" word', 3, ""
    line = EventFormatter().format(record)
    assert line.startswith(
        '1970-01-01T00:00:00.250Z WARNING gateway.x uplink down error="a \\"quoted\\" word" attempt=3'
    )
    assert line.endswith('empty=""')
    try:
        raise ValueError("seen")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert "ValueError: seen" in EventFormatter().format(record)


def test_a_log_line_for_machines_is_one_object_with_its_fields() -> None:
    try:
        raise ValueError("seen")
    except ValueError:
        found = sys.exc_info()
    own = {"name": "gateway.x", "levelname": "ERROR", "levelno": 40, "msg": "uplink %s", "args": ("down",)}
    fields = {"next_try_s": 1.5, "broker": "mqtt://b", "path": Path("/x"), "level": "not the level"}
    record = logging.makeLogRecord({**own, **fields, "exc_info": found, "created": 0.25, "msecs": 250.0})
    line = json.loads(JsonFormatter().format(record))
    assert "ValueError: seen" in line.pop("traceback")
    assert line == {
        "time": "1970-01-01T00:00:00.250Z", "level": "ERROR", "logger": "gateway.x", "event": "uplink down",
        "next_try_s": 1.5, "broker": "mqtt://b", "path": "/x",
    }  # fmt: skip
    # The journal gets every line with its priority.
    told = JournalFormatter(EventFormatter()).format(record).split("\n")
    assert len(told) > 2 and all(text.startswith("<3>") for text in told)
    levels = ((logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.CRITICAL, 3))
    for level, priority in levels:
        record.levelno = level
        assert JournalFormatter(JsonFormatter()).format(record).startswith(f"<{priority}>{{")


def test_stderr_is_the_journal_when_device_and_inode_say_so(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as end:
        found = os.fstat(end.fileno())
        assert to_journal(f"{found.st_dev}:{found.st_ino}", end.fileno())
        assert not to_journal(f"{found.st_dev}:{found.st_ino + 1}", end.fileno())
        assert not to_journal("", end.fileno())
        closed = end.fileno()
    assert not to_journal("1:1", closed)


def test_libraries_that_tell_every_attempt_are_quiet() -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        log_to_stderr(logging.INFO)
        assert not logging.getLogger("pymodbus").isEnabledFor(logging.WARNING)
        assert logging.getLogger("gateway.uplink").isEnabledFor(logging.INFO)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
