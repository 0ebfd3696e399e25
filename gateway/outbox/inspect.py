"""The status of an outbox whose gateway does not run. Call only as its sole owner."""

from __future__ import annotations

import sqlite3
from typing import Any

from gateway.clock import now_ms
from gateway.config.convert import Site
from gateway.outbox import boots, ledger, start
from gateway.outbox.aside import set_aside_files
from gateway.outbox.database import GARBLED, used_bytes
from wire.errors import ConfigError


def stored_status(site: Site) -> dict[str, Any]:
    """The same shape as a running gateway's. Raises ConfigError when there is no outbox, or none that can be read."""
    path = site.outbox.path
    if not path.exists():
        raise ConfigError(f"no gateway runs and there is no outbox at {path}: it has never run here")
    db = sqlite3.connect(path)
    try:
        row = db.execute("SELECT epoch FROM epoch ORDER BY id DESC LIMIT 1").fetchone()
        (pending,) = db.execute("SELECT count(*) FROM unconfirmed").fetchone()
        oldest = db.execute("SELECT last_ms FROM batch WHERE id = (SELECT min(id) FROM unconfirmed)").fetchone()
        oldest_ms = oldest[0] if oldest is not None else None
        return {
            "group": site.node.group,
            "gateway": site.node.node,
            "epoch": row[0] if row is not None else "",
            "pid": None,
            "uptime_s": 0.0,
            "versions": {},
            "uplink": {"state": "not running", "broker": str(site.brokers[0])},
            "outbox": {
                "pending_batches": pending,
                "bytes": used_bytes(db),
                "oldest_ms": oldest_ms,
                "oldest_age_s": max(0.0, (now_ms() - oldest_ms) / 1000) if oldest_ms is not None else 0.0,
                "commits": 0,
                "commit_ms_p99": 0.0,
                "set_aside": set_aside_files(path),
            },
            "clock": {"state": "", "problem": "", **(boots.listed(db) if _has_boots(db) else {})},
            "devices": ledger.totals(db),
            "gaps": [
                {"line": g.line, "last_poll_ms": g.last_poll_ms, "first_new_ms": g.first_new_ms, "reason": g.reason}
                for g in start.read_gaps(db)
            ],
            "lines": {},
            "scoring": {},
        }
    except (sqlite3.DatabaseError, *GARBLED) as fault:
        raise ConfigError(f"the outbox {path} cannot be read: {fault}") from fault
    finally:
        db.close()


def _has_boots(db: sqlite3.Connection) -> bool:
    """False for a file that an older program wrote: looking does not change it."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'boot'").fetchone() is not None
