"""Days that were restored from the archive, and for how many of their rows a batch accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "restored_days",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("group", "node", "device")),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
    )
    op.add_column("collisions", sa.Column("restored", sa.Integer, nullable=False, server_default="0"))
