"""Brings the state to the newest schema: Alembic's revisions, all in one transaction."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from wire.errors import ConfigError

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent / "migrations"
LEASE = "0003"
"""The revision that made the lease: what a host needs before it may change anything else."""
_LOCK = 7_236_455_001  # of PostgreSQL, for hosts that start together; any number that nobody else uses
_one_at_a_time = threading.Lock()  # Alembic's `op` and `context` belong to the whole process


def revisions() -> list[str]:
    """Every revision, oldest first: the numbers that their files begin with."""
    return sorted(path.name[:4] for path in (FOLDER / "versions").glob("[0-9]*.py"))


def revision(connection: Connection) -> str | None:
    """None: there is no state yet, or one from before revisions were written down."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def migrate(connection: Connection, to: str = "head") -> None:
    """At least to that revision. Raises ConfigError when a newer program wrote the state.

    A state without revision is an empty one, or one of 0.1.0: the first revision makes only what is missing.
    """
    known = revisions()
    wanted = known[-1] if to == "head" else to
    if connection.dialect.name == "postgresql":
        if _reached(revision(connection), wanted, known):
            return  # nobody is to wait for a lock that is not needed
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    before = revision(connection)
    if _reached(before, wanted, known):
        return
    # A host that finds its state as it should be, which is nearly every one, need not load Alembic.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, wanted)
    log.info("state is brought to a newer schema", extra={"from": before or "none", "to": wanted})


def _reached(current: str | None, wanted: str, known: list[str]) -> bool:
    if current is not None and current not in known:
        raise ConfigError(
            f"the state has schema {current}, this program knows {known[-1]}: a newer Gaugeline wrote it; "
            "install that one again, or name another --state"
        )
    return current is not None and known.index(current) >= known.index(wanted)
