"""The tables of the host's SQL state."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()


def _node() -> tuple[Column[str], Column[str]]:
    return Column("group", Text, primary_key=True), Column("node", Text, primary_key=True)


def _batch() -> tuple[Column[str], Column[str], Column[str], Column[int]]:
    return (
        *_node(),
        Column("epoch", Text, primary_key=True),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
    )


# What could not be stored. One row a sample (position in its batch), a batch (position -1) or a message ('' epoch).
dead_letters = Table(
    "dead_letters",
    metadata,
    *_batch(),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # sample | conflict | message
    Column("device", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Column("ts_ms", BigInteger),
    Column("samples", Integer, nullable=False),
    Column("why", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

# Node records: gap, drop, epoch_closed. position: its place in the batch.
records = Table(
    "records",
    metadata,
    *_batch(),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

# The newest counters of each epoch, as the gateway said them. closed: final, from its epoch_closed record.
counters = Table(
    "counters",
    metadata,
    *_node(),
    Column("epoch", Text, primary_key=True),
    Column("content", Text, nullable=False),
    Column("closed", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

births = Table(
    "births",
    metadata,
    *_node(),
    Column("device", Text, primary_key=True),
    Column("content", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

# What is known of an edge node beside its births: since when it is there or gone, when it was heard, its aliases.
nodes = Table(
    "nodes",
    metadata,
    *_node(),
    Column("content", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

# Counts of events per edge node that outlive the process: 'duplicates', 'duplicates/<device>', ...
figures = Table(
    "figures",
    metadata,
    *_node(),
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Which samples of a batch were found stored by another batch, decided before the first write of the batch, so that
# a write that is repeated after a crash does not meet its own samples.
collisions = Table("collisions", metadata, *_batch(), Column("content", Text, nullable=False))

# UTC days that something was written to since they were archived last; day: days since 1970-01-01.
archive_days = Table(
    "archive_days",
    metadata,
    Column("group", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
)

# The ledger, where the database of samples has no transactions (InfluxDB).
ledger = Table(
    "ledger",
    metadata,
    *_batch(),
    Column("device", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("samples", Integer, nullable=False),
    Column("dead", Integer, nullable=False),
    Column("collided", Integer, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Index("ledger_device", "group", "node", "device", "epoch"),
)
