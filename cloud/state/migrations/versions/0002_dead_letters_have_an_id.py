"""A dead letter's number is a column: SQLite's own row number, which it was, is not there in other databases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

KEY = ("group", "node", "epoch", "number", "position", "digest")
REST = ("kind", "device", "tag", "ts_ms", "samples", "why", "content", "at_ms")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("dead_letters_pkey", "dead_letters")
        op.add_column("dead_letters", sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False))
        op.create_primary_key("dead_letters_pkey", "dead_letters", ["id"])
        op.create_unique_constraint("dead_letters_once", "dead_letters", list(KEY))
        return
    op.rename_table("dead_letters", "dead_letters_before")
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("group", "node", "epoch")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("number", "position")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("digest", "kind", "device", "tag")),
        sa.Column("ts_ms", sa.BigInteger),
        sa.Column("samples", sa.Integer, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint(*KEY, name="dead_letters_once"),
    )
    columns = ", ".join(f'"{name}"' for name in (*KEY, *REST))
    op.execute(f"INSERT INTO dead_letters (id, {columns}) SELECT rowid, {columns} FROM dead_letters_before")  # noqa: S608
    op.drop_table("dead_letters_before")
