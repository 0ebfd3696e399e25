"""Words for systemd over NOTIFY_SOCKET (sd_notify(3)): ready, reloading, stopping, status, and the watchdog's feed."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)


class Notifier:
    """address: '' when nobody listens; '@...' is an abstract socket. watchdog_s: None when systemd wants no feed."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self._address, self.watchdog_s = address, watchdog_s
        self._deaf = False

    @staticmethod
    def of(environment: Mapping[str, str], pid: int) -> Notifier:
        """What systemd told this process by its environment (sd_watchdog_enabled(3))."""
        address = environment.get("NOTIFY_SOCKET", "")
        usec = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", "") in ("", str(pid))
        watchdog_s = int(usec) / 1e6 if meant and usec.isdecimal() and int(usec) else None
        return Notifier(address, watchdog_s)

    def ready(self, status: str) -> None:
        self.say("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        self.say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self.say("STOPPING=1", "STATUS=stops")

    def status(self, text: str) -> None:
        self.say(f"STATUS={text}")

    def feed(self) -> None:
        self.say("WATCHDOG=1")

    def say(self, *words: str) -> None:
        """One datagram. Never blocks; a listener that is gone is told once."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        lines = "\n".join(word.replace("\n", " ") for word in words)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto(lines.encode(), address)
        except OSError as fault:
            if not self._deaf:
                log.warning("systemd does not hear", extra={"socket": self._address, "error": str(fault)})
            self._deaf = True
        else:
            self._deaf = False
