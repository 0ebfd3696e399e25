"""The tables as 0.1.0 made them, without revision. A state of that time has them already, or an older one some."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _number(name: str, kind: type[sa.Integer] = sa.BigInteger) -> sa.Column[int]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _big(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _small(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _node() -> list[sa.Column[str]]:
    return [_key("group"), _key("node")]


def _batch() -> list[sa.Column[str] | sa.Column[int]]:
    return [*_node(), _key("epoch"), _number("number")]


def upgrade() -> None:
    op.create_table(
        "dead_letters", *_batch(), _number("position"), _key("digest"),
        _text("kind"), _text("device"), _text("tag"), _big("ts_ms", nullable=True), _small("samples"), _text("why"),
        sa.Column("content", sa.LargeBinary, nullable=False), _big("at_ms"),
        if_not_exists=True,
    )  # fmt: skip
    op.create_table(
        "records", *_batch(), _number("position", sa.Integer),
        _text("kind"), _text("content"), _big("at_ms"), if_not_exists=True,
    )  # fmt: skip
    op.create_table(
        "counters", *_node(), _key("epoch"), _text("content"), _small("closed"), _big("at_ms"), if_not_exists=True
    )
    op.create_table("births", *_node(), _key("device"), _text("content"), _big("at_ms"), if_not_exists=True)
    op.create_table("nodes", *_node(), _text("content"), _big("at_ms"), if_not_exists=True)
    op.create_table("figures", *_node(), _key("name"), _big("value"), if_not_exists=True)
    op.create_table("collisions", *_batch(), _text("content"), if_not_exists=True)
    op.create_table(
        "ledger", *_batch(), _text("device"), _text("digest"), _small("samples"), _small("dead"), _small("collided"),
        _big("first_ms"), _big("last_ms"), if_not_exists=True,
    )  # fmt: skip
    op.create_index("ledger_device", "ledger", ["group", "node", "device", "epoch"], if_not_exists=True)
