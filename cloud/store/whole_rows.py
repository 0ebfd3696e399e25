"""Whole rows of a store, exact and sorted, as Arrow record batches: what archive, export and roll-ups read.

Sorted by edge node, device, tag and time. A reader holds at most MOST_ROWS rows at once, however long the time is: the
rows are counted per tag first, and fetched by groups of tags, or by parts of the time where one tag has more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from cloud.store.duck_file import DuckFile
from cloud.store.influx_client import InfluxServer
from cloud.store.line_protocol import NODE_ITSELF, USUAL
from wire.ids import NodeId

DAY_MS = 86_400_000
MOST_ROWS = 500_000
MOST_ANSWERED = 100_000
"""Rows of one answer of InfluxDB, which is JSON: about 10 MB."""
MOST_TAGS = 200  # in one question to InfluxDB: its addresses end at 1 MB
_MS = 1_000_000  # ns

_NAME = pa.dictionary(pa.int32(), pa.string())
ROWS = pa.schema(
    [
        ("group", _NAME),
        ("node", _NAME),
        ("device", _NAME),
        ("tag", _NAME),
        ("ts_ms", pa.int64()),
        ("datatype", pa.uint8()),
        ("quality", pa.uint8()),
        ("reason", pa.uint8()),
        ("value", pa.float64()),
        ("value_int", pa.int64()),
        ("value_text", pa.string()),
    ]
)
"""Datatype: Sparkplug code. value: null where BAD or a text. value_int: 64-bit integers exactly, unsigned ones in two's
complement. What columns.joined makes a value of again."""
_FACTS = ("ts_ms", "datatype", "quality", "reason", "value", "value_int", "value_text")


class Of(NamedTuple):
    """Whose rows: of a whole group (site), or of one node, device, tag of it."""

    group: str
    node: str | None = None
    device: str | None = None
    tag: str | None = None

    def fits(self, one: TagId) -> bool:
        return all(
            mine in (None, its) for mine, its in zip(self[1:], (one.node.node, one.device, one.tag), strict=True)
        )


class TagId(NamedTuple):
    node: NodeId
    device: str
    tag: str


class DayId(NamedTuple):
    """One UTC day of one group. day: days since 1970-01-01."""

    group: str
    day: int

    @property
    def from_ms(self) -> int:
        return self.day * DAY_MS

    @property
    def to_ms(self) -> int:
        return (self.day + 1) * DAY_MS

    @property
    def date(self) -> str:
        return str(np.datetime64(self.day, "D"))

    def __str__(self) -> str:
        return f"{self.group} {self.date}"


class Piece(NamedTuple):
    """What is fetched at once."""

    tags: list[TagId]
    from_ms: int
    to_ms: int


Count = Callable[[TagId, int, int], Awaitable[int]]


async def pieces(
    counts: Mapping[TagId, int], from_ms: int, to_ms: int, count: Count, most_rows: int, most_tags: int
) -> AsyncIterator[Piece]:
    """In the order of the rows. counts: rows of each tag in the time; count: of a part of it."""
    tags: list[TagId] = []
    rows = 0
    for tag, n in sorted(counts.items()):
        if tags and (rows + n > most_rows or len(tags) >= most_tags):
            yield Piece(tags, from_ms, to_ms)
            tags, rows = [], 0
        if n > most_rows:
            async for part in _halves(tag, n, from_ms, to_ms, count, most_rows):
                yield part
        else:
            tags.append(tag)
            rows += n
    if tags:
        yield Piece(tags, from_ms, to_ms)


async def _halves(tag: TagId, n: int, from_ms: int, to_ms: int, count: Count, most_rows: int) -> AsyncIterator[Piece]:
    if n == 0:
        return
    if n <= most_rows or to_ms - from_ms <= 1:
        yield Piece([tag], from_ms, to_ms)
        return
    middle = (from_ms + to_ms) // 2
    first = await count(tag, from_ms, middle)
    for begin, end, rows in ((from_ms, middle, first), (middle, to_ms, n - first)):
        async for part in _halves(tag, rows, begin, end, count, most_rows):
            yield part


def batch_of(tags: Sequence[TagId], rank: Any, facts: Mapping[str, Any]) -> pa.RecordBatch:
    """Sorted rows. tags: sorted; rank: shape (n,), the place of each row's tag among them; facts: the other columns."""
    order = np.lexsort((np.asarray(facts["ts_ms"]), rank))
    rank = np.asarray(rank, np.int32)[order]
    names = {
        "group": [t.node.group for t in tags],
        "node": [t.node.node for t in tags],
        "device": [t.device for t in tags],
        "tag": [t.tag for t in tags],
    }
    columns: list[Any] = []
    for texts in names.values():
        distinct = sorted(set(texts))
        place = {text: i for i, text in enumerate(distinct)}
        codes = np.array([place[text] for text in texts], np.int32)
        columns.append(pa.DictionaryArray.from_arrays(codes[rank], pa.array(distinct, pa.string())))
    rows = pa.array(order)
    for name in _FACTS:
        column = facts[name]
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        column = column if isinstance(column, pa.Array) else pa.array(column, ROWS.field(name).type)
        columns.append(column.cast(ROWS.field(name).type).take(rows))
    return pa.RecordBatch.from_arrays(columns, schema=ROWS)


async def duck_rows(file: DuckFile, of: Of, from_ms: int, to_ms: int) -> AsyncIterator[pa.RecordBatch]:
    """Raises StoreDown."""
    found = await file.read('SELECT id, node, device, tag FROM series WHERE "group" = ?', [of.group])
    ids: dict[TagId, list[int]] = {}  # a retyped tag has two series
    for i, node, device, tag in found:
        one = TagId(NodeId(of.group, node), device, tag)
        if of.fits(one):
            ids.setdefault(one, []).append(i)
    tag_of = {i: tag for tag, several in ids.items() for i in several}
    per_series = await file.read(
        "SELECT series, count(*) FROM samples WHERE ts_ms >= ? AND ts_ms < ?"
        " AND series IN (SELECT unnest(?::INTEGER[])) GROUP BY series",
        [from_ms, to_ms, list(tag_of)],
    )
    counts: dict[TagId, int] = {}
    for i, n in per_series:
        counts[tag_of[i]] = counts.get(tag_of[i], 0) + n

    async def count(tag: TagId, begin_ms: int, end_ms: int) -> int:
        ((n,),) = await file.read(
            "SELECT count(*) FROM samples WHERE ts_ms >= ? AND ts_ms < ? AND series IN (SELECT unnest(?::INTEGER[]))",
            [begin_ms, end_ms, ids[tag]],
        )
        return int(n)

    async for piece in pieces(counts, from_ms, to_ms, count, MOST_ROWS, len(ids) + 1):
        wanted = [i for tag in piece.tags for i in ids[tag]]
        table = await file.table(
            "SELECT series, ts_ms, quality, reason, value, value_int, value_text, datatype FROM samples"
            " JOIN series ON series = id WHERE ts_ms >= ? AND ts_ms < ? AND series IN (SELECT unnest(?::INTEGER[]))",
            [piece.from_ms, piece.to_ms, wanted],
        )
        rank_of = np.zeros(max(wanted) + 1, np.int32)
        for rank, tag in enumerate(piece.tags):
            rank_of[ids[tag]] = rank
        facts = {name: table.column(name) for name in _FACTS}
        yield batch_of(piece.tags, rank_of[table.column("series").to_numpy()], facts)


async def duck_days(file: DuckFile) -> dict[DayId, int]:
    """Rows of every day. Raises StoreDown."""
    rows = await file.read(
        'SELECT "group", day, sum(n) FROM (SELECT series, ts_ms // 86400000 AS day, count(*) AS n FROM samples'
        ' GROUP BY ALL) JOIN series ON series = id GROUP BY "group", day'
    )
    return {DayId(group, int(day)): int(n) for group, day, n in rows}


async def influx_rows(http: InfluxServer, of: Of, from_ms: int, to_ms: int) -> AsyncIterator[pa.RecordBatch]:
    """Raises StoreDown."""
    where, bound = _where(of, from_ms, to_ms)
    found = await http.query(
        f'SELECT count("quality") FROM "sample" WHERE {where} GROUP BY "node", "device", "tag"',  # noqa: S608 - texts of ours, values are bound
        bound,
    )
    counts = {
        TagId(NodeId(of.group, s.tags["node"]), _device(s.tags["device"]), s.tags["tag"]): int(s.rows[0][1])
        for s in found
    }

    async def count(tag: TagId, begin_ms: int, end_ms: int) -> int:
        where, bound = _where(Of(of.group, tag.node.node, tag.device, tag.tag), begin_ms, end_ms)
        answer = await http.query(f'SELECT count("quality") FROM "sample" WHERE {where}', bound)  # noqa: S608
        return int(answer[0].rows[0][1]) if answer else 0

    by_device: dict[tuple[NodeId, str], dict[TagId, int]] = {}
    for tag, n in counts.items():
        by_device.setdefault((tag.node, tag.device), {})[tag] = n
    for (node, device), of_device in sorted(by_device.items()):
        async for piece in pieces(of_device, from_ms, to_ms, count, MOST_ANSWERED, MOST_TAGS):
            where, bound = _where(Of(of.group, node.node, device), piece.from_ms, piece.to_ms)
            anyone = " OR ".join(f'"tag" = $t{i}' for i in range(len(piece.tags)))
            answer = await http.query(
                'SELECT "datatype", "quality", "reason", "value", "value_int", "value_text" FROM "sample"'  # noqa: S608
                f' WHERE {where} AND ({anyone}) GROUP BY "tag"',
                bound | {f"t{i}": tag.tag for i, tag in enumerate(piece.tags)},
            )
            yield _batch(piece.tags, {s.tags["tag"]: s.rows for s in answer})


def _batch(tags: list[TagId], rows: Mapping[str, list[Any]]) -> pa.RecordBatch:
    rank = np.repeat(np.arange(len(tags)), [len(rows.get(t.tag, ())) for t in tags])
    columns = zip(*(row for t in tags for row in rows.get(t.tag, ())), strict=True)
    facts = {name: list(column) for name, column in zip(_FACTS, columns, strict=True)} if len(rank) else {}
    if facts:  # JSON shows a large float as an integer; what is usual is left out of a line
        facts["value"] = [None if v is None else float(v) for v in facts["value"]]
        facts["datatype"] = [int(USUAL) if v is None else v for v in facts["datatype"]]
        facts["reason"] = [0 if v is None else v for v in facts["reason"]]
    return batch_of(tags, rank, facts or {name: [] for name in _FACTS})


async def influx_days(http: InfluxServer, now_ms: int) -> dict[DayId, int]:
    """Rows of every day up to a year from now. Raises StoreDown."""
    found = await http.query(
        'SELECT count("quality") FROM "sample" WHERE time >= 0 AND time < $to GROUP BY "group", time(1d) fill(none)',
        {"to": (now_ms + 366 * DAY_MS) * _MS},
    )
    return {DayId(s.tags["group"], int(ts) // DAY_MS): int(n) for s in found for ts, n in s.rows if n}


def _where(of: Of, from_ms: int, to_ms: int) -> tuple[str, dict[str, Any]]:
    bound: dict[str, Any] = {"group": of.group, "from": from_ms * _MS, "to": to_ms * _MS}
    text = '"group" = $group AND time >= $from AND time < $to'
    for name, value in (("node", of.node), ("device", of.device), ("tag", of.tag)):
        if value is not None:
            text += f' AND "{name}" = ${name}'
            bound[name] = (value or NODE_ITSELF) if name == "device" else value
    return text, bound


def _device(tag: str) -> str:
    return "" if tag == NODE_ITSELF else tag
