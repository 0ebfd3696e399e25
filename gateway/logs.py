"""Log lines as an event plus fields, on stderr: `2026-01-31T12:00:00Z WARNING gateway.uplink uplink down error=...`.

As JSON one object a line. Where stderr is the journal each line begins with its level (sd-daemon(3)), which the journal
takes off again.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping

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


class JsonFormatter(logging.Formatter):
    """{time, level, logger, event, ...fields, traceback}; what JSON does not know is text."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {k: v for k, v in vars(record).items() if k not in _OWN and k not in line}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


FORMATS: Mapping[str, Callable[[], logging.Formatter]] = {"text": EventFormatter, "json": JsonFormatter}

# syslog(3): err, warning, info, debug.
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))


class JournalFormatter(logging.Formatter):
    """Another formatter's lines, each with its priority."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in self._inner.format(record).split("\n"))


def to_journal(stream: str, stderr: int) -> bool:
    """stream: JOURNAL_STREAM, the device and inode of the journal's end; stderr: a file descriptor."""
    try:
        found = os.fstat(stderr)
    except OSError:
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(c in text for c in ' "=\n\t') else text


def log_to_stderr(level: int, form: str = "text") -> None:
    """Called once, by the command line. form: one of FORMATS."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = FORMATS[form]()
    stream = os.environ.get("JOURNAL_STREAM", "")
    handler.setFormatter(JournalFormatter(formatter) if stream and to_journal(stream, 2) else formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # They tell of every connection attempt; the uplink and the lines tell once per change.
    for loud in ("pymodbus", "gateway.mqtt", "asyncio"):
        logging.getLogger(loud).setLevel(logging.ERROR)
