"""The status of an outbox whose gateway does not run. Call only as its sole owner."""

from __future__ import annotations

import sqlite3
from typing import Any

from gateway.config.convert import Site
from gateway.outbox import boots, ledger, start
from gateway.outbox.policy import used_bytes
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
        return {
            "group": site.node.group,
            "gateway": site.node.node,
            "epoch": row[0] if row is not None else "",
            "pid": None,
            "uptime_s": 0.0,
            "versions": {},
            "uplink": {"state": "not running", "broker": str(site.broker)},
            "outbox": {"pending_batches": pending, "bytes": used_bytes(db), "commits": 0, "commit_ms_p99": 0.0},
            "clock": {"state": "", "problem": "", **(boots.listed(db) if _has_boots(db) else {})},
            "devices": ledger.totals(db),
            "gaps": [
                {"line": g.line, "last_poll_ms": g.last_poll_ms, "first_new_ms": g.first_new_ms, "reason": g.reason}
                for g in start.read_gaps(db)
            ],
            "lines": {},
            "scoring": {},
        }
    except sqlite3.DatabaseError as fault:
        raise ConfigError(f"the outbox {path} cannot be read: {fault}") from fault
    finally:
        db.close()


def _has_boots(db: sqlite3.Connection) -> bool:
    """False for a file that an older program wrote: looking does not change it."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'boot'").fetchone() is not None
