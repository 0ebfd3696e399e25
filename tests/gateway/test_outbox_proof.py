"""A real gateway under strace: nothing is published before the disk has it."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.gateway.field import modbus_device, site_yaml
from tests.gateway.host import host
from tests.gateway.strace_log import Call, Disk, calls, command
from tests.servers import Mosquitto

REPO = Path(__file__).parents[2]
_TAG = re.compile(rb"([0-9a-f]{16}):(\d+):\d+:([0-9a-f]{32})")


@pytest.fixture
async def traced(mosquitto: Mosquitto, tmp_path: Path) -> list[Call]:
    """All that a gateway wrote, synced and sent in its run, which ended with kill -9."""
    log = tmp_path / "trace"
    async with modbus_device([0x3FC0, 0, 7]) as port, host(mosquitto.port, confirm=False) as h:
        site = site_yaml(tmp_path, mosquitto.url, port)
        argv = command(log, sys.executable, "-m", "gaugeline", "gateway", "run", str(site))
        process = await asyncio.create_subprocess_exec(*argv, cwd=REPO, stderr=asyncio.subprocess.DEVNULL)
        try:
            await h.until(lambda: len({m.tag for m in h.of("DDATA", "pump")}) >= 25, 60)
        finally:
            pid = int((tmp_path / "outbox.db.lock").read_text())
            os.kill(pid, 9)
            await process.wait()
    return calls(log)


def published(call: Call) -> list[tuple[str, int, str]]:
    """(epoch, number, digest) of the batches in a message to the broker."""
    if call.name != "sendto":
        return []
    return [(e.decode(), int(n), d.decode()) for e, n, d in _TAG.findall(call.data)]


async def test_no_batch_is_published_before_its_fdatasync_has_returned_and_the_synced_bytes_hold_it(
    traced: list[Call], tmp_path: Path
) -> None:
    disk, told = Disk(), set()
    written: dict[bytes, int] = {}  # digest -> call at which it went to the WAL
    syncs: list[int] = []
    replayed = tmp_path / "replayed"
    replayed.mkdir()
    for i, call in enumerate(traced):
        disk.take(call)
        name = disk.names.get(call.fd, "")
        if call.name == "pwrite64" and name == "outbox.db-wal":
            for _, _, digest in _TAG.findall(call.data):
                written.setdefault(digest, i)
        elif call.name == "fdatasync" and name == "outbox.db-wal":
            syncs.append(i)
        fresh = [batch for batch in published(call) if batch not in told]
        if not fresh:
            continue
        told.update(fresh)
        # The order of the calls.
        for _, _, digest in fresh:
            at = written.get(digest.encode())
            if at is not None:  # one in twenty lies across two pages of the WAL; the replay below proves it too
                assert any(at < sync < i for sync in syncs), "published before it was on the disk"
        # The power goes now: only what was synced is left. Every batch that was ever told is there.
        disk.write_out(replayed, ["outbox.db", "outbox.db-wal"])
        (replayed / "outbox.db-shm").unlink(missing_ok=True)
        db = sqlite3.connect(replayed / "outbox.db")
        held = {
            (epoch, number, digest.hex())
            for epoch, number, digest in db.execute(
                "SELECT epoch, batch.id % 4294967296, digest FROM batch JOIN epoch ON epoch.id = batch.id / 4294967296"
            )
        }
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
        assert told <= held
    assert len(told) >= 25
    assert sum(d.encode() in written for _, _, d in told) >= 15
    assert len(syncs) >= 20


def test_the_replay_would_notice_a_sync_that_is_missing(tmp_path: Path) -> None:
    disk = Disk()
    name = b"o.db"
    disk.take(Call("openat", -100, name, 0, 5, 0, 0))
    disk.take(Call("pwrite64", 5, b"abc", 2, 3, 1, 1))
    assert disk.synced == {}
    disk.take(Call("fdatasync", 5, b"", 5, 0, 2, 2))
    disk.take(Call("pwrite64", 5, b"x", 0, 1, 3, 3))
    disk.write_out(tmp_path, ["o.db"])
    assert (tmp_path / "o.db").read_bytes() == b"\0\0abc"
