"""How long a database keeps what it is given: said in words, and compared with what is wanted."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)

DAY_MS = 86_400_000


def kept_for(retention_ms: int | None) -> str:
    """'keeps 7 days'. None: for ever."""
    if retention_ms is None:
        return "keeps everything"
    days = retention_ms / DAY_MS
    return f"keeps {days:g} day{'' if days == 1 else 's'}"


def judged(about: str, retention_ms: int | None, wanted_days: int | None, mend: str) -> None:
    """Says what a database's retention means; it is never changed: a shorter one would delete, a longer one fill disks.

    wanted_days: None for ever. mend: how a person lengthens it.
    """
    if retention_ms is None:
        if wanted_days is not None:
            log.warning(
                "the database keeps everything, not %d days: nothing of it is deleted", wanted_days,
                extra={"store": about, "mend": mend},
            )  # fmt: skip
    elif wanted_days is None:
        log.info("the database %s; older samples become dead letters", kept_for(retention_ms), extra={"store": about})
    elif retention_ms < wanted_days * DAY_MS:
        log.warning(
            "the database %s, not %d days: older samples become dead letters, stored ones are deleted by it",
            kept_for(retention_ms), wanted_days, extra={"store": about, "mend": mend},
        )  # fmt: skip
