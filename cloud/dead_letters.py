"""Dead letters: what could not be stored, kept where a person can read it, within bounds.

Letters of keyed batches stand in the balance, so that their count is never lost: where there is no room for them any
more, one short row without content stands for all letters of a batch. Everything else is evidence, which nobody waits
for: without room it is only counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, func, literal_column, select

from cloud.state.db import StateDb
from cloud.state.host import add_figure
from cloud.state.schema import dead_letters, figures, insert
from cloud.store.port import BatchKey
from wire.ids import NodeId

MOST_ROWS = {"evidence": 10_000, "batches": 100_000}
MOST_CONTENT = {"evidence": 64_000_000, "batches": 64_000_000}
"""Bytes of contents; about 150 MB of the state file together."""
MOST_BYTES = 64 * 1024  # of one letter's content
FOLDED = -2  # position of the row that stands for all letters of a batch
KINDS = ("sample", "conflict", "record", "message")
LEFT_OUT = "letters_left_out: "  # + kind: a figure per edge node


class Letter(NamedTuple):
    """One dead letter. kind: 'sample' (one value), 'conflict' (a whole batch), 'record' (one that cannot be read) or
    'message' (not understood at all).

    position: the sample's place in its message, -1 for a batch, a running number for a message. samples: how many
    samples of the balance it stands for (0 for a message: nothing is known of it).
    """

    kind: str
    key: BatchKey
    device: str
    position: int
    why: str
    content: bytes = b""
    tag: str = ""
    ts_ms: int | None = None
    samples: int = 1
    digest: str = ""


class Counted(NamedTuple):
    key: BatchKey
    device: str
    kind: str
    digest: str


class _OfBatch(NamedTuple):
    key: BatchKey
    device: str
    kind: str
    digest: str


def _class(letter: Letter) -> str:
    return "batches" if letter.key.epoch else "evidence"


def _row(x: Letter, now_ms: int) -> dict[str, object]:
    return {
        "group": x.key.node.group,
        "node": x.key.node.node,
        "epoch": x.key.epoch,
        "number": x.key.number,
        "position": x.position,
        "digest": x.digest,
        "kind": x.kind,
        "device": x.device,
        "tag": x.tag,
        "ts_ms": x.ts_ms,
        "samples": x.samples,
        "why": x.why[:500],
        "content": x.content[:MOST_BYTES],
        "at_ms": now_ms,
    }


@dataclass(slots=True)
class _Room:
    """What is taken, per class. Counted once, then kept up to date by the only writer."""

    rows: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    content: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    newest: int = 0  # running number of messages

    def fits(self, letters: Sequence[Letter]) -> bool:
        kind = _class(letters[0])
        size = sum(min(len(x.content), MOST_BYTES) for x in letters)
        return self.rows[kind] + len(letters) <= MOST_ROWS[kind] and self.content[kind] + size <= MOST_CONTENT[kind]

    def took(self, letters: Sequence[Letter]) -> None:
        for x in letters:
            self.rows[_class(x)] += 1
            self.content[_class(x)] += min(len(x.content), MOST_BYTES)


@dataclass(slots=True)
class DeadLetters:
    """The table. A letter that comes again (a batch that was sent again) is kept once."""

    _db: StateDb
    _room: _Room | None = field(default=None)

    async def keep(self, letters: Sequence[Letter], now_ms: int) -> None:
        """Durable when it returns. Raises StoreDown."""
        if letters:
            await self._db.write(lambda con: self._keep(con, letters, now_ms))

    def _keep(self, con: Connection, letters: Sequence[Letter], now_ms: int) -> None:
        room = self._room or _taken(con)
        put = insert(dead_letters, con.dialect.name).on_conflict_do_nothing()
        self._room = None  # counted anew when this transaction fails
        grouped: dict[_OfBatch, list[Letter]] = {}
        for x in letters:
            grouped.setdefault(_OfBatch(x.key, x.device, x.kind, x.digest if x.key.epoch else ""), []).append(x)
        for of, found in grouped.items():
            there = _there(con, of) if of.key.epoch else False
            if there:
                continue  # all letters of a batch are kept in one transaction
            if room.fits(found):
                con.execute(put, [_row(x, now_ms) for x in found])
                room.took(found)
                continue
            _leave_out(con, of, len(found))
            samples = sum(x.samples for x in found)
            if of.key.epoch and samples:
                one = found[0]._replace(position=FOLDED, content=b"", tag="", ts_ms=None, samples=samples)
                con.execute(put, [_row(one, now_ms)])
        self._room = room

    async def keep_message(self, node: NodeId, device: str, why: str, content: bytes, now_ms: int) -> None:
        """A message that does not follow the protocol, while there is room for evidence."""

        def work(con: Connection) -> None:
            room = self._room = self._room or _taken(con)
            room.newest += 1
            letter = Letter("message", BatchKey(node, "", now_ms), device, room.newest, why, content, samples=0)
            self._keep(con, [letter], now_ms)

        await self._db.write(work)

    async def counts(self) -> dict[Counted, int]:
        """Samples of keyed batches that stand in letters."""
        d = dead_letters.c
        # A sample's letter bears no digest: its batch's is in the ledger.
        columns = (d.group, d.node, d.epoch, d.number, d.device, d.kind, d.digest)
        query = select(*columns, func.sum(d.samples).label("n")).where(d.epoch != "", d.samples > 0).group_by(*columns)
        rows = await self._db.run(lambda con: con.execute(query).all())
        return {
            Counted(BatchKey(NodeId(r.group, r.node), r.epoch, r.number), r.device, r.kind, r.digest): int(r.n)
            for r in rows
        }

    async def newest(
        self, limit: int = 100, kind: str | None = None, before: int | None = None
    ) -> list[dict[str, object]]:
        """For people: newest first, with the beginning of what it held. before: only letters that came before it."""
        query = select(dead_letters)
        query = query.where(dead_letters.c.kind == kind) if kind else query
        query = query.where(dead_letters.c.id < before) if before is not None else query
        query = query.order_by(dead_letters.c.id.desc()).limit(limit)
        rows = await self._db.run(lambda con: con.execute(query).mappings().all())
        return [{**r, "content": _text(bytes(r["content"])[:200])} for r in rows]

    async def one(self, letter: int) -> dict[str, object] | None:
        """The whole letter: content as text, and as hex digits."""
        query = select(dead_letters).where(dead_letters.c.id == letter)
        row = await self._db.run(lambda con: con.execute(query).mappings().one_or_none())
        if row is None:
            return None
        content = bytes(row["content"])
        return {**row, "content": _text(content), "content_hex": content.hex(), "bytes": len(content)}

    async def summary(self) -> dict[str, dict[str, int]]:
        """kind -> kept (rows), bytes, samples, left_out (letters that there was no room for)."""
        d = dead_letters.c
        query = select(d.kind, func.count(), func.sum(func.length(d.content)), func.sum(d.samples)).group_by(d.kind)
        left = select(figures.c.name, func.sum(figures.c.value)).where(figures.c.name.startswith(LEFT_OUT))
        rows, left_out = await self._db.run(
            lambda con: (con.execute(query).all(), con.execute(left.group_by(figures.c.name)).all())
        )
        found = {kind: {"kept": 0, "bytes": 0, "samples": 0, "left_out": 0} for kind in KINDS}
        for kind, kept, size, samples in rows:
            found[kind] = {"kept": int(kept), "bytes": int(size), "samples": int(samples), "left_out": 0}
        for name, value in left_out:
            found[name.removeprefix(LEFT_OUT)]["left_out"] = int(value)
        return found


def _taken(con: Connection) -> _Room:
    d = dead_letters.c
    room = _Room()
    size = func.coalesce(func.sum(func.length(d.content)), 0)
    no_epoch = d.epoch == literal_column("''")
    for evidence, rows, content in con.execute(select(no_epoch, func.count(), size).group_by(no_epoch)):
        kind = "evidence" if evidence else "batches"
        room.rows[kind], room.content[kind] = int(rows), int(content)
    room.newest = int(con.execute(select(func.max(d.position)).where(d.kind == "message")).scalar_one() or 0)
    return room


def _there(con: Connection, of: _OfBatch) -> bool:
    d = dead_letters.c
    query = select(d.position).where(d.group == of.key.node.group, d.node == of.key.node.node, d.epoch == of.key.epoch)
    query = query.where(d.number == of.key.number, d.device == of.device, d.kind == of.kind, d.digest == of.digest)
    return con.execute(query.limit(1)).first() is not None


def _leave_out(con: Connection, of: _OfBatch, letters: int) -> None:
    add_figure(con, of.key.node, LEFT_OUT + of.kind, letters)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")
