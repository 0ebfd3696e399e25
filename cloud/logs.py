"""How the host's log reads: an event, then its fields."""

from __future__ import annotations

import json
import logging

_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class EventAndFields(logging.Formatter):
    """`2026-01-31 12:00:00 WARNING broker is not available error="refused" next_try_s=1.5`"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        fields = {k: v for k, v in vars(record).items() if k not in _USUAL}
        told = "".join(f" {k}={json.dumps(v, ensure_ascii=False, default=str)}" for k, v in fields.items())
        return super().format(record) + told


def start(verbose: bool) -> None:
    """Log lines to stderr. The libraries' own lines only when they warn."""
    handler = logging.StreamHandler()
    handler.setFormatter(EventAndFields())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("cloud").setLevel(logging.DEBUG if verbose else logging.INFO)
    # aiomqtt logs what it also raises.
    logging.getLogger("mqtt").setLevel(logging.CRITICAL)
