"""What retention removed, what of it is under way, and when a day was restored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    def device_day() -> Iterator[sa.Column[Any]]:
        yield from (sa.Column(name, sa.Text, primary_key=True) for name in ("group", "node", "device"))
        yield sa.Column("day", sa.Integer, primary_key=True, autoincrement=False)

    op.create_table(
        "removed_days",
        *device_day(),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("rows", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "removals",
        *device_day(),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("before", sa.BigInteger, nullable=False),
    )
    op.add_column("restored_days", sa.Column("at_ms", sa.BigInteger, nullable=False, server_default="0"))
