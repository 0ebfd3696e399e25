"""Dead letters: what could not be stored, kept where a person can read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.dialects.sqlite import insert

from cloud.state.db import StateDb
from cloud.state.schema import dead_letters
from cloud.store.port import BatchKey
from wire.ids import NodeId

MOST_MESSAGES = 10_000
"""Malformed messages kept; later ones are only counted. They are evidence, not data that somebody waits for."""
MOST_BYTES = 64 * 1024  # of one letter's content


class Letter(NamedTuple):
    """One dead letter. kind: 'sample' (one value), 'conflict' (a whole batch) or 'message' (not understood at all).

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


@dataclass(slots=True)
class DeadLetters:
    """The table. A letter that comes again (a batch that was sent again) is kept once."""

    _db: StateDb
    _messages: int | None = field(default=None)

    async def keep(self, letters: Sequence[Letter], now_ms: int) -> None:
        """Durable when it returns. Raises StoreDown."""
        rows = [
            {
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
            for x in letters
        ]
        if rows:
            await self._db.run(lambda con: con.execute(insert(dead_letters).on_conflict_do_nothing(), rows))

    async def keep_message(self, node: NodeId, device: str, why: str, content: bytes, now_ms: int) -> None:
        """A message that does not follow the protocol, while there is room for evidence."""
        if self._messages is None:
            query = select(func.count()).where(dead_letters.c.kind == "message")
            self._messages = int(await self._db.run(lambda con: con.execute(query).scalar_one()))
        if self._messages >= MOST_MESSAGES:
            return
        self._messages += 1
        letter = Letter("message", BatchKey(node, "", now_ms), device, self._messages, why, content, samples=0)
        await self.keep([letter], now_ms)

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

    async def newest(self, limit: int = 100) -> list[dict[str, object]]:
        """For people: newest first, with the beginning of what it held."""
        query = select(dead_letters).order_by(dead_letters.c.at_ms.desc()).limit(limit)
        rows = await self._db.run(lambda con: con.execute(query).mappings().all())
        return [{**r, "content": bytes(r["content"])[:200].decode("utf-8", "backslashreplace")} for r in rows]
