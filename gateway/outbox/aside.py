"""A damaged outbox: set aside for a person, and what can still be read of it taken over into the new file."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.outbox.rows import JsonObject
from gateway.outbox.salvage import Salvaged, salvage
from wire.ids import NodeId

log = logging.getLogger(__name__)

SET_ASIDE = "outbox_set_aside"
_TAKEN_OVER = {
    "alias": "INSERT OR IGNORE INTO alias(alias, device, tag, datatype, unit) VALUES (?, ?, ?, ?, ?)",
    "high_water": "INSERT OR IGNORE INTO high_water(device, ts_ms) VALUES (?, ?)",
    "line_poll": "INSERT OR IGNORE INTO line_poll(line, polled_ms) VALUES (?, ?)",
    "setting": "INSERT OR IGNORE INTO setting(key, value) VALUES (?, ?)",
    "boot": "INSERT OR IGNORE INTO boot VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "unstamped_refused": "INSERT OR IGNORE INTO unstamped_refused VALUES (?, ?, ?, ?, ?)",
    "refusal": "INSERT OR IGNORE INTO refusal VALUES (?, ?, ?, ?, ?)",
}
_READ = {
    # Numbers that cannot have been written are left behind: an id that is nearly the largest leaves none for the next.
    "alias": "SELECT alias, device, tag, datatype, unit FROM alias WHERE alias BETWEEN 1 AND 9007199254740992",
    "high_water": "SELECT device, ts_ms FROM high_water WHERE ts_ms BETWEEN 0 AND 4102444800000",
    "line_poll": "SELECT line, polled_ms FROM line_poll WHERE polled_ms BETWEEN 0 AND 4102444800000",
    "setting": "SELECT key, value FROM setting",
    # The offset is the time of every sample of that boot: what lies before 1970 or after 2099 is none.
    "boot": "SELECT id, boot_id, offset_ms, certain, how, off_by_ms, from_ms, to_ms, samples FROM boot"
    " WHERE offset_ms IS NULL OR offset_ms BETWEEN 0 AND 4102444800000",
    "unstamped_refused": "SELECT boot, device, samples, first_ms, last_ms FROM unstamped_refused",
    "refusal": "SELECT device, from_ms, to_ms, samples, since_ms FROM refusal",
    "epoch": "SELECT id, epoch FROM epoch WHERE id BETWEEN 1 AND 1073741824 ORDER BY id DESC LIMIT 1",
    "unconfirmed": "SELECT count(*), coalesce(sum(samples), 0) FROM unconfirmed WHERE device <> ''",
}


@dataclass(slots=True)
class Aside:
    """What was set aside, and why. found: rows by table of what could still be read of it."""

    file: Path
    why: str
    size: int
    running: bool
    found: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    unstamped: Salvaged = field(default_factory=lambda: Salvaged(0, None))

    @property
    def last_epoch(self) -> tuple[int, str]:
        """(id, epoch) of the newest epoch; (0, '') when nobody knows."""
        rows = self.found.get("epoch")
        return (int(rows[0][0]), str(rows[0][1])) if rows else (0, "")

    def empty(self) -> Aside:
        """The same with nothing read of it: what was read made no sense."""
        return replace(self, found={}, unstamped=Salvaged(0, None))

    def record(self) -> JsonObject:
        """What the host is told. lost: unconfirmed batches of the file, null where they cannot be counted.

        unstamped: samples without a time, those that were taken over and those that were not.
        """
        counted = self.found.get("unconfirmed")
        lost = {"batches": counted[0][0], "samples": counted[0][1]} if counted else None
        return {
            "kind": SET_ASIDE,
            "file": self.file.name,
            "bytes": self.size,
            "why": self.why[:200],
            "when": "running" if self.running else "start",
            "epoch": self.last_epoch[1],
            "lost": lost,
            "unstamped": self.unstamped._asdict(),
        }


def set_aside(path: Path, why: str, running: bool) -> Aside:
    """Renames the file and its WAL; nothing is deleted. Raises OSError."""
    size = path.stat().st_size
    count = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{count}")).exists():
        count += 1
    path.rename(aside)
    for tail in ("-wal", "-shm"):
        companion = path.with_name(path.name + tail)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + tail))
    made = Aside(aside, why, size, running, _readable(aside))
    log.error("outbox is damaged and was set aside, a new one begins", extra={"file": str(aside), "error": why})
    return made


def set_aside_files(path: Path) -> list[str]:
    """Names of the files that were set aside and still lie there: an alarm until a person takes them away."""
    return sorted(p.name for p in path.parent.glob(f"{path.name}.corrupt-*") if not p.name.endswith(("-wal", "-shm")))


def take_over(
    db: sqlite3.Connection, aside: Aside, node: NodeId, most_bytes: int, aliases: Sequence[tuple[Any, ...]] = ()
) -> None:
    """Within a transaction on the new file. aliases: rows that a running session uses, ahead of what was read.

    An alias stays what it was, stamps go on rising, and ids of batches go on above the old ones. Samples without a
    time, which nobody else has, come along as far as they are whole; most_bytes of them.
    """
    db.executemany(_TAKEN_OVER["alias"], aliases)
    for table, sql in _TAKEN_OVER.items():
        db.executemany(sql, aside.found.get(table, []))
    aside.unstamped = salvage(db, aside.file, node, most_bytes)
    if aside.unstamped != (0, 0):
        log.warning("samples without a time in the damaged outbox", extra=aside.unstamped._asdict())


def _readable(aside: Path) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    try:
        db = sqlite3.connect(f"{aside.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return found
    try:
        for table, sql in _READ.items():
            try:
                found[table] = db.execute(sql).fetchall()
            except (sqlite3.Error, UnicodeDecodeError) as fault:
                log.warning("cannot be read of the damaged outbox", extra={"table": table, "error": str(fault)})
    finally:
        db.close()
    return found
