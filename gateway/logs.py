"""Log lines as an event plus fields, on stderr: `2026-01-31T12:00:00Z WARNING gateway.uplink uplink down error=...`."""

from __future__ import annotations

import json
import logging
import sys
import time

# What every LogRecord has; all else was given as a field.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class EventFormatter(logging.Formatter):
    """One line a record; a value with spaces or quotes is written as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = [f"{k}={_shown(v)}" for k, v in vars(record).items() if k not in _OWN]
        line = f"{stamp}.{int(record.msecs):03d}Z {record.levelname} {record.name} {record.getMessage()}"
        line = " ".join([line, *fields])
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(c in text for c in ' "=\n\t') else text


def log_to_stderr(level: int) -> None:
    """Called once, by the command line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EventFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # They tell of every connection attempt; the uplink and the lines tell once per change.
    for loud in ("pymodbus", "gateway.mqtt", "asyncio"):
        logging.getLogger(loud).setLevel(logging.ERROR)
