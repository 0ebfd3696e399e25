"""What devices were found to refuse, kept over restarts in a small JSON file beside the outbox."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.spec import Illegal

log = logging.getLogger(__name__)

_TABLES = ("coil", "discrete", "input", "holding")


def illegal_path(outbox: Path) -> Path:
    return outbox.with_name(outbox.name + ".illegal.json")


class IllegalFile:
    """The agent's Memory. A file that is lost or broken costs some refusals, no more: then it is learned anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Any] | None = None

    def illegal(self, device: str, place: str) -> Sequence[Illegal]:
        entry = self._all().get(device)
        if not isinstance(entry, dict) or entry.get("place") != place:
            return ()
        try:
            found = [Illegal(table, int(start), int(end)) for table, start, end in entry["illegal"]]
        except (KeyError, TypeError, ValueError):
            return ()
        return [i for i in found if i.table in _TABLES and 0 <= i.start <= i.end <= 65_536]

    def learned(self, device: str, place: str, illegal: Sequence[Illegal]) -> None:
        known = self._all()
        known[device] = {"place": place, "illegal": [[i.table, i.start, i.end] for i in illegal]}
        new = self._path.with_name(self._path.name + ".new")
        try:
            new.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            new.replace(self._path)
        except OSError as fault:
            log.warning("illegal addresses not kept", extra={"path": str(self._path), "error": fault.strerror})

    def _all(self) -> dict[str, Any]:
        if self._known is None:
            try:
                found = json.loads(self._path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                found = {}
            self._known = found if isinstance(found, dict) else {}
        return self._known
