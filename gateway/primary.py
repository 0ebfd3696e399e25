"""Whether the primary host is there, from its STATE messages. Pure. Source: Sparkplug B 3.0, section 6.4.23 and 5.3."""

from __future__ import annotations

import json

from wire.errors import PayloadError


class PrimaryHost:
    """online: births may be said. away: this session has heard that the host is offline.

    An offline STATE older than the online one is a late will, and is ignored. host '': there is none to wait for.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.online = not host
        self.away = False
        self._since_ms = 0

    def begin(self) -> None:
        """A new session knows nothing until it has heard the retained STATE."""
        self.online = not self.host
        self.away = False

    def hear(self, payload: bytes) -> bool:
        """Takes a STATE message; True when online changed. Raises PayloadError when it is none."""
        try:
            raw = json.loads(payload)
            online, ts_ms = raw["online"], raw["timestamp"]
        except (ValueError, KeyError, TypeError, RecursionError) as fault:
            raise PayloadError(f"not a STATE: {payload[:100]!r}") from fault
        if not isinstance(online, bool) or not isinstance(ts_ms, int):
            raise PayloadError(f"not a STATE: {payload[:100]!r}")
        if not online and ts_ms < self._since_ms:
            return False
        if online:
            self._since_ms = ts_ms
        changed = online != self.online
        self.online, self.away = online, not online
        return changed
