"""Disks that are full, read-only or slow, as real file systems: survived, bounded, told, and over by itself."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config.convert import OutboxSettings
from gateway.outbox.store import Outbox
from tests.gateway.field import LINES, TAGS, block, taken
from tests.gateway.mounts import break_ext4, ext4, run, tmpfs
from tests.gateway.outboxes import NODE, T0, opened, records, waiting
from wire.errors import StoreFull

REPO = Path(__file__).parents[2]


async def until_it_refuses(outbox: Outbox, at: int) -> int:
    """Appends until the disk refuses; the next stamp."""
    async with asyncio.timeout(60):
        while not outbox.trouble:
            for _ in range(100):
                at += 1
                outbox.append(taken(block(at)))
            await asyncio.sleep(0.002)
    return at


async def test_a_file_system_without_room_is_waited_for_in_memory_and_then_refused_with_a_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tmpfs(tmp_path / "disk", "1m") as disk:
        outbox = Outbox(OutboxSettings(disk / "o.db", 10, 50_000_000), NODE, ["gaugeline"], lambda: T0, 2000)
        await outbox.open(TAGS, LINES)
        running = asyncio.create_task(outbox.run())
        at = await until_it_refuses(outbox, T0)
        assert "full" in outbox.trouble
        for _ in range(4000):
            at += 1
            outbox.append(taken(block(at)))
        await asyncio.sleep(0.1)
        status = (await outbox.status())["outbox"]
        assert status["trouble"] == outbox.trouble
        # The window that the disk refused, and what came meanwhile.
        assert status["pending_samples"] <= 2 * 2000, "memory is bounded"
        run("mount", "-o", "remount,size=20m", str(disk))
        async with asyncio.timeout(60):
            while outbox.trouble:
                await asyncio.sleep(0.02)
        outbox.stop()
        await running
        pump = (await outbox.status())["devices"]["pump"]
        assert pump["produced"] + pump["refused"] == 2 * (at - T0)
        assert pump["refused"] > 0
        await outbox.close(clean=True)
        file = opened(disk / "o.db", limit=50_000_000)
        told = records(file, waiting(file), "refused")
        assert sum(r["samples"] for r in told) == pump["refused"]
        assert {r["why"] for r in told} == {"disk"}
        numbers = [b.number for b in waiting(file) if b.epoch != file.epoch]
        assert numbers == list(range(1, len(numbers) + 1)), "what failed used no number up"
        file.close(clean=True)
    messages = [r.getMessage() for r in caplog.records]
    assert messages.count("outbox cannot commit, samples wait in memory") == 1
    assert messages.count("outbox commits again") == 1


async def test_a_disk_that_turns_read_only_is_told_and_what_was_committed_stays_readable(tmp_path: Path) -> None:
    with ext4(tmp_path / "card") as card:
        outbox = Outbox(OutboxSettings(card / "o.db", 10, 50_000_000), NODE, ["gaugeline"], lambda: T0, 2000)
        await outbox.open(TAGS, LINES)
        outbox.append(taken(*[block(T0 + i) for i in range(50)]))
        await outbox.flush()
        running = asyncio.create_task(outbox.run())
        break_ext4(card)
        at = await until_it_refuses(outbox, T0 + 1000)
        assert at > T0 + 1000
        found = await outbox.unconfirmed(0, 2**62, 10, 10**9)
        assert [b.samples for b in found] == [100], "the backlog still goes out"
        # No confirmation can be kept: the host will be asked again.
        with pytest.raises(StoreFull):
            await outbox.park(found[0].epoch, 1, found[0].digest)
        outbox.stop()
        await running
        await outbox.close(clean=True)
        with pytest.raises(StoreFull, match="cannot be opened"):
            opened(card / "new" / "o.db")


def test_a_slow_disk_blocks_no_other_task_and_what_it_cannot_take_is_counted(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace, which delays the syncs, is not installed")
    command = [
        "strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", "trace=fdatasync", "-e",
        "inject=fdatasync:delay_enter=900000:when=10..12",
        sys.executable, "-m", "tests.gateway.slow_disk", str(tmp_path / "o.db"), "3",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    if "ptrace" in done.stderr.lower():
        pytest.skip(f"strace may not trace here: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["stalled_ms"] > 900
    assert figures["lag_ms"] < 450, "the event loop went on while the disk was asleep"
    assert figures["appended"] == figures["produced"] + figures["refused"]
    assert figures["refused"] > 0
    assert figures["last_commit_ms"] < 450
    file = opened(tmp_path / "o.db", limit=50_000_000)
    assert sum(r["samples"] for r in records(file, waiting(file), "refused")) == figures["refused"]
    file.close(clean=True)
