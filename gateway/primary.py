"""Whether the primary host is there, from its STATE messages. Pure. Source: Sparkplug B 3.0, section 6.4.23 and 5.3."""

from __future__ import annotations

import json

from wire.errors import PayloadError


class PrimaryHost:
    """online: births may be said. away: this session has heard that the host is offline.

    An offline STATE older than the online one is a late will, and is ignored. host '': there is none to wait for.
    behind: online was said with a time before the last STATE, and is not believed in this session (its clock may have
    been set back): what the broker retains counts in the next one.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.online = not host
        self.away = self.behind = False
        self._since_ms: int | None = None  # of the last online
        self._newest_ms: int | None = None  # of the last STATE

    def begin(self) -> None:
        """A new session knows nothing until it has heard the retained STATE."""
        self.online = not self.host
        self.away = self.behind = False
        self._since_ms = self._newest_ms = None

    def hear(self, payload: bytes) -> bool:
        """Takes a STATE message; True when online changed. Raises PayloadError when it is none."""
        try:
            raw = json.loads(payload)
            online, ts_ms = raw["online"], raw["timestamp"]
        except (ValueError, KeyError, TypeError, RecursionError) as fault:
            raise PayloadError(f"not a STATE: {payload[:100]!r}") from fault
        if not isinstance(online, bool) or not isinstance(ts_ms, int):
            raise PayloadError(f"not a STATE: {payload[:100]!r}")
        known_ms = self._newest_ms if online else self._since_ms
        if known_ms is not None and ts_ms < known_ms:
            self.behind = online and not self.online
            return False
        self._newest_ms = ts_ms
        if online:
            self._since_ms = ts_ms
        changed = online != self.online
        self.online, self.away = online, not online
        return changed
