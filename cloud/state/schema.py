"""The tables of the host's SQL state."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeDecorator

metadata = MetaData()


class Words(TypeDecorator[str]):
    """A text. PostgreSQL's cannot hold the character 0, which a hostile message may: its sign is kept in its place."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value.replace("\0", "␀") if value is not None and dialect.name == "postgresql" else value


def insert(table: Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    """An insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`, as both dialects spell them."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def _node() -> tuple[Column[str], Column[str]]:
    return Column("group", Words, primary_key=True), Column("node", Words, primary_key=True)


def _batch() -> tuple[Column[str], Column[str], Column[str], Column[int]]:
    return (
        *_node(),
        Column("epoch", Words, primary_key=True),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
    )


# What could not be stored. One row a sample (position in its batch), a batch (position -1) or a message ('' epoch).
dead_letters = Table(
    "dead_letters",
    metadata,
    # A person names a letter by it.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    *(Column(name, Words, nullable=False) for name in ("group", "node", "epoch")),
    *(Column(name, BigInteger, nullable=False) for name in ("number", "position")),
    Column("digest", Words, nullable=False),
    Column("kind", Words, nullable=False),  # sample | conflict | message
    Column("device", Words, nullable=False),
    Column("tag", Words, nullable=False),
    Column("ts_ms", BigInteger),
    Column("samples", Integer, nullable=False),
    Column("why", Words, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("group", "node", "epoch", "number", "position", "digest", name="dead_letters_once"),
)

# Node records: gap, drop, epoch_closed. position: its place in the batch.
records = Table(
    "records",
    metadata,
    *_batch(),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("kind", Words, nullable=False),
    Column("content", Words, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

# The newest counters of each epoch, as the gateway said them. closed: final, from its epoch_closed record.
counters = Table(
    "counters",
    metadata,
    *_node(),
    Column("epoch", Words, primary_key=True),
    Column("content", Words, nullable=False),
    Column("closed", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

births = Table(
    "births",
    metadata,
    *_node(),
    Column("device", Words, primary_key=True),
    Column("content", Words, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

# What is known of an edge node beside its births: since when it is there or gone, when it was heard, its aliases.
nodes = Table(
    "nodes",
    metadata,
    *_node(),
    Column("content", Words, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

# Counts of events per edge node that outlive the process: 'duplicates', 'duplicates/<device>', ...
figures = Table(
    "figures",
    metadata,
    *_node(),
    Column("name", Words, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Which samples of a batch were found stored by another batch, decided before the first write of the batch, so that
# a write that is repeated after a crash does not meet its own samples. restored: so many of them stood there because
# the archive gave them back, and this batch accounts for them.
collisions = Table(
    "collisions",
    metadata,
    *_batch(),
    Column("content", Words, nullable=False),
    Column("restored", Integer, nullable=False, server_default="0"),
)

# Devices' UTC days that were restored from the archive. rows: those that no batch of the ledger accounts for.
restored_days = Table(
    "restored_days",
    metadata,
    *_node(),
    Column("device", Words, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("rows", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False, server_default="0"),  # when it was restored last
)

# Rows that retention took out of a database of samples without transactions (InfluxDB), per class of tags.
removed_days = Table(
    "removed_days",
    metadata,
    *_node(),
    Column("device", Words, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("name", Words, primary_key=True),
    Column("rows", BigInteger, nullable=False),
)

# What is being taken out of such a database, or put back, right now: counted before, so that what a killed process did
# of it can be counted afterwards. kind: 'remove' | 'return'. content: class, tags and times of a removal.
removals = Table(
    "removals",
    metadata,
    *_node(),
    Column("device", Words, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("kind", Words, nullable=False),
    Column("content", Words, nullable=False),
    Column("before", BigInteger, nullable=False),
)

# UTC days that something was written to since they were archived last; day: days since 1970-01-01.
archive_days = Table(
    "archive_days",
    metadata,
    Column("group", Words, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
)

# Hours of devices whose roll-ups are not (all) right yet; hour: hours since 1970-01-01.
rollup_hours = Table(
    "rollup_hours",
    metadata,
    *_node(),
    Column("device", Words, primary_key=True),
    Column("hour", Integer, primary_key=True, autoincrement=False),
)

# The same for whole UTC days of a site: of a database from before there were roll-ups, or where hours are too many.
rollup_days = Table(
    "rollup_days",
    metadata,
    Column("group", Words, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
)

# The ledger, where the database of samples has no transactions (InfluxDB).
ledger = Table(
    "ledger",
    metadata,
    *_batch(),
    Column("device", Words, nullable=False),
    Column("digest", Words, nullable=False),
    Column("samples", Integer, nullable=False),
    Column("dead", Integer, nullable=False),
    Column("collided", Integer, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Index("ledger_device", "group", "node", "device", "epoch"),
)

# Which one of several hosts is active, per host id. token: grows by one with each change. Times: the database's clock.
lease = Table(
    "lease",
    metadata,
    Column("host_id", Words, primary_key=True),
    Column("holder", Words, nullable=False),  # its name, for people
    Column("instance", Words, nullable=False),  # the process
    Column("token", BigInteger, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)
