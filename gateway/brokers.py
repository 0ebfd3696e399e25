"""Whose turn it is among the brokers, and how long to wait before it. Pure.

Source: Sparkplug B 3.0, "Multiple MQTT Server Topologies": an edge node goes through its list until it finds the
broker at which its primary host is online. All brokers are asked in turn without a pause; after a whole round
comes one, with full jitter, so that the gateways of a site do not come back in step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.config.convert import Broker
from gateway.resend import delay_s
from wire.errors import UplinkDown, UplinkRefused

LONGEST_BACK_OFF_S = 60.0  # after a refusal, which a person has to mend
# After a broker that is away: 1,000 gateways then knock 130 times a second, which no broker feels, and a restart of ten
# seconds does not cost a minute (with 60 s here, 52 s were seen).
LONGEST_RETRY_S = 15.0
_HOST_RETRY_S = 1.0


class HostGone(UplinkDown):
    """The primary host is not at this broker: leave, and look for it at the next, or here again."""


class Turns:
    """One broker is always the current one. troubles: why each was left, '' where births were said since."""

    def __init__(self, brokers: Sequence[Broker]) -> None:
        if not brokers:
            raise ValueError("there is no broker")
        self._brokers = tuple(brokers)
        self._at = 0
        self._round = 0
        self._tried: set[int] = set()
        self._closed_until_s = [0.0] * len(brokers)
        self.troubles = [""] * len(brokers)

    @property
    def current(self) -> Broker:
        return self._brokers[self._at]

    @property
    def trouble(self) -> str:
        """Why the current one was left the last time; '' since births were said there."""
        return self.troubles[self._at]

    @property
    def several(self) -> bool:
        return len(self._brokers) > 1

    def born(self) -> None:
        """Births were said at the current broker: whatever comes next begins anew."""
        self._round = 0
        self._tried.clear()
        self.troubles[self._at] = ""

    def failed(self, fault: UplinkDown, jitter: float, now_s: float) -> float:
        """The current one is left; seconds to wait before the next, which is the current one then."""
        count = len(self._brokers)
        self.troubles[self._at] = str(fault)
        self._tried.add(self._at)
        if isinstance(fault, UplinkRefused):
            self._closed_until_s[self._at] = now_s + LONGEST_BACK_OFF_S
        turn = [(self._at + step) % count for step in range(1, count + 1)]
        willing = [i for i in turn if self._closed_until_s[i] <= now_s]
        if not willing:
            self._at = min(turn, key=lambda i: self._closed_until_s[i])
            self._tried.clear()
            return self._closed_until_s[self._at] - now_s
        fresh = [i for i in willing if i not in self._tried]
        self._at = (fresh or willing)[0]
        if fresh:
            return 0.0
        wait_s = delay_s(self._round, jitter, LONGEST_RETRY_S)
        self._round += 1
        self._tried.clear()
        return min(wait_s, _HOST_RETRY_S) if isinstance(fault, HostGone) and not self.several else wait_s

    def status(self) -> list[dict[str, Any]]:
        """Every broker in its order, for `gateway status`."""
        return [
            {"broker": str(broker), "current": i == self._at, "trouble": self.troubles[i]}
            for i, broker in enumerate(self._brokers)
        ]
