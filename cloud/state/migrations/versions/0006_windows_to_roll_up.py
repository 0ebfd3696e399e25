"""Hours of devices, and days of sites, whose roll-ups are to be computed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "rollup_hours",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("group", "node", "device")),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
    )
    op.create_table(
        "rollup_days",
        sa.Column("group", sa.Text, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    )
