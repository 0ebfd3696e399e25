"""Which time it is, as far as that is known: time since boot plus an offset that the wall clock, NTP or the host gives.

The agent works in time since boot plus a constant, so that no step of the wall clock disturbs periods, deadbands or
models. `stamp` turns its times into UTC. While the offset is unknown there is no stamp.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

from gateway.clock import Clocks
from gateway.host_time import HostTime
from gateway.time_news import FAR_MS, How, Known, News, Step

log = logging.getLogger(__name__)

Trust = Literal["auto", "plausible", "host", "ntp"]

EARLIEST_MS = 1_735_689_600_000
"""2025-01-01: before this program. An earlier wall clock was never set."""
LATEST_MS = 4_102_444_800_000
"""2100-01-01: what hosts take no stamps beyond."""
STEP_MS = 100
"""NTP slews what is less (ntpd below 128 ms, systemd-timesyncd below 400 ms, chrony by `makestep`); more is a step."""
SLACK_MS = 10_000
"""How far behind the newest stamp a plausible wall clock may be: it was corrected a little before a start."""
SURE_MS = 1_000
"""The host's time is good enough for GOOD when it is off by less; LOOSE_MS is the most that is used at all."""
LOOSE_MS = 30_000
_AGREE_MS = 60_000  # two clocks that say the same this far back: neither of them is alone
_PATIENCE_MS = 30_000  # how long a better answer of the host is waited for


@dataclass(frozen=True, slots=True)
class _Segment:
    from_ms: int  # since boot
    offset_ms: int
    certain: bool


class Timekeeper:
    """Begin before use. All in one thread, but now_ms, which any may ask."""

    def __init__(self, clocks: Clocks, trust: Trust) -> None:
        self._clocks = clocks
        self.boot_id = clocks.boot_id()
        self.trust: Trust = trust
        self._least = trust if trust != "auto" else "plausible" if clocks.keeps_time() else "host"
        self._host = HostTime()
        self._host_since_ms: int | None = None
        self._newest_ms = 0
        self._candidate_ms: int | None = None
        self._segments: list[_Segment] = []
        self._news: list[News] = []
        self.how: How | None = None
        self.synchronised = False
        self.steps = 0
        self.refused_ms: int | None = None  # the wall clock that is not believed
        boot_ms, wall_ms = self._read()
        self._constant = wall_ms - boot_ms

    def begin(self, newest_ms: int, anchor: Known | None) -> None:
        """newest_ms: of all stamps ever committed, 0 for none. anchor: what was known earlier in this same boot."""
        self._newest_ms = newest_ms
        boot_ms, wall_ms = self._read()
        if anchor is not None:
            # The time since boot was not lost, whatever the wall clock says. Where that is sane, somebody has set it.
            agrees = abs(wall_ms - boot_ms - anchor.offset_ms) < STEP_MS
            trusted = self._least == "plausible" and EARLIEST_MS <= wall_ms < LATEST_MS
            how: How = "host" if anchor.how == "host" else "plausible" if trusted else "ntp" if agrees else "boot"
            self._learn(boot_ms, anchor.offset_ms, how, anchor.certain)
        self._candidate_ms = wall_ms - boot_ms  # what it says at the start is believed at once
        self.look()
        if self.known:
            self._constant = self._segments[-1].offset_ms
        else:
            self._constant = max(self._constant, newest_ms + 1 - boot_ms)
            log.warning("time is unknown, samples wait for it", extra={"wall_ms": wall_ms, "newest_ms": newest_ms})

    @property
    def known(self) -> bool:
        return bool(self._segments)

    @property
    def wants_host(self) -> bool:
        """True while an answer of the host would help."""
        return not self.known or not self._segments[-1].certain

    def agent_ms(self) -> int:
        """The agent's clock: never steps. Equals UTC where the wall clock was right at the start."""
        boot_ms, wall_ms = self._clocks.boot_ms(), self._clocks.wall_ms()
        if self.how in ("ntp", "plausible") and abs(wall_ms - boot_ms - self._segments[-1].offset_ms) > 1:
            self._follow()
        return boot_ms + self._constant

    def now_ms(self) -> int:
        """UTC epoch milliseconds, provisional while the time is unknown. Hears of a step by the next look."""
        return self.utc_ms(self._clocks.boot_ms() + self._constant)

    def utc_ms(self, agent_ms: int) -> int:
        """A time of the agent in UTC, provisional while the time is unknown."""
        return self.stamp(agent_ms)[0] if self.known else agent_ms

    def boot_time(self, agent_ms: int) -> int:
        """The same in ms since boot."""
        return agent_ms - self._constant

    def stamp(self, agent_ms: int) -> tuple[int, bool]:
        """(UTC, whether it is certain) of a time of the agent. Only while known."""
        boot_ms = agent_ms - self._constant
        found = self._segments[0]
        for segment in reversed(self._segments):
            if boot_ms >= segment.from_ms:
                found = segment
                break
        return boot_ms + found.offset_ms, found.certain

    @property
    def sure(self) -> bool:
        """True when two agree on the time: the kernel and its NTP, or this machine's clock and the host's.

        On a machine whose own clock is not trusted the host alone.
        """
        if not self.known or not self._segments[-1].certain:
            return False
        host = self._host.offset(self._clocks.boot_ms())
        agrees = host is not None and abs(host[0] - self._segments[-1].offset_ms) + host[1] <= _AGREE_MS
        return agrees or (self.synchronised and self.how == "ntp")

    def begin_anew(self, newest_ms: int, floor_ms: int) -> None:
        """newest_ms, the newest stamp, was never right: stamps begin anew above floor_ms. Only while sure."""
        boot_ms = self._clocks.boot_ms()
        step = Step(self.boot_id, newest_ms, boot_ms + self._segments[-1].offset_ms, self.how or "boot", floor_ms)
        self._newest_ms = step.to_ms
        self._news.append(step)
        log.warning(
            "newest stamp was never right, stamps begin anew", extra={"from_ms": newest_ms, "to_ms": step.to_ms}
        )

    def news(self) -> list[News]:
        """What happened since it was asked last, in order."""
        found, self._news = self._news, []
        return found

    def look(self) -> None:
        """Asks the clocks; at least once a second."""
        boot_ms, wall_ms = self._read()
        self.synchronised = self._clocks.synchronised()
        sane = EARLIEST_MS <= wall_ms < LATEST_MS
        if self.how in ("ntp", "plausible"):
            self._follow()
            if self.how in ("ntp", "plausible"):
                self.how = "ntp" if self.synchronised or self._least != "plausible" else "plausible"
            return
        if sane and self.synchronised:
            self._learn(boot_ms, wall_ms - boot_ms, "ntp", True)
        elif self._least == "plausible" and sane and self._plausible(wall_ms) and self._agrees(wall_ms - boot_ms):
            self._learn(boot_ms, wall_ms - boot_ms, "plausible", True)
        else:
            self._by_host(boot_ms)

    def _plausible(self, wall_ms: int) -> bool:
        """A sane wall clock is believed when it is not behind what was stamped before this boot."""
        return self.how == "boot" or wall_ms >= self._newest_ms - SLACK_MS

    def _agrees(self, offset_ms: int) -> bool:
        """Becoming sane is believed when it lasts: the clock said the same at the look before."""
        before, self._candidate_ms = self._candidate_ms, offset_ms
        return before is not None and abs(offset_ms - before) < STEP_MS

    def host_said(self, host_ms: int, age_s: float) -> None:
        """A required host stamped an answer to what was published age_s ago."""
        if not EARLIEST_MS <= host_ms < LATEST_MS:
            return
        if host_ms < self._newest_ms - SLACK_MS and not self._two_say(host_ms):
            return
        boot_ms = self._clocks.boot_ms()
        self._host.heard(host_ms, boot_ms - round(age_s * 1000), boot_ms)
        if self._host_since_ms is None:
            self._host_since_ms = boot_ms
        self.look()

    def _two_say(self, host_ms: int) -> bool:
        """Host and wall clock are far behind the newest stamp: then it is the stamp that is wrong."""
        return host_ms < self._newest_ms - FAR_MS and abs(self._clocks.wall_ms() - host_ms) <= _AGREE_MS

    def _by_host(self, boot_ms: int) -> None:
        found = self._host.offset(boot_ms)
        if found is None or self._least == "ntp" or self._host_since_ms is None:
            return
        offset_ms, off_by_ms = found
        patient = boot_ms - self._host_since_ms < _PATIENCE_MS
        if not self.known and (off_by_ms > LOOSE_MS or (off_by_ms > SURE_MS and patient)):
            return
        certain = off_by_ms <= SURE_MS
        if self.known:
            last = self._segments[-1]
            offset_ms = self._host.nearest(last.offset_ms, boot_ms)
            if offset_ms == last.offset_ms and certain <= last.certain:
                return
            certain = certain or last.certain
        self._learn(boot_ms, offset_ms, "host", certain)

    def _follow(self) -> None:
        """The wall clock was corrected: by little, then quietly; by more, then it is a step, and told."""
        boot_ms, wall_ms = self._read()
        last = self._segments[-1].offset_ms
        by_ms = wall_ms - boot_ms - last
        if abs(by_ms) <= 1:
            self.refused_ms = None
            return
        if not EARLIEST_MS <= wall_ms < LATEST_MS:
            # Nobody sets a clock to 1970 on purpose. The time since boot is still right.
            if self.refused_ms is None:
                log.error("wall clock is not believed, time since boot is", extra={"wall_ms": wall_ms})
            self.refused_ms, self.how = wall_ms, "boot"
            return
        self._learn(boot_ms, wall_ms - boot_ms, self.how or "plausible", True)

    def _learn(self, boot_ms: int, offset_ms: int, how: How, certain: bool) -> None:
        before = self._segments[-1] if self._segments else None
        self.how = how
        if how != "boot":
            self.refused_ms = None
        self._segments = [*self._segments[-15:], _Segment(boot_ms, offset_ms, certain)]
        if before is None and self._newest_ms > boot_ms + offset_ms + FAR_MS and self.sure:
            self.begin_anew(self._newest_ms, offset_ms - 1)  # what waits for its stamp was taken in this boot
        self._news.append(Known(self.boot_id, offset_ms, how, certain))
        if before is None:
            log.info("time is known", extra={"how": how, "certain": certain})
        elif abs(offset_ms - before.offset_ms) >= STEP_MS:
            self.steps += 1
            step = Step(self.boot_id, boot_ms + before.offset_ms, boot_ms + offset_ms, how)
            self._news.append(step)
            log.warning("clock stepped", extra={"by_ms": step.to_ms - step.from_ms, "how": how})

    def _read(self) -> tuple[int, int]:
        """(since boot, wall) of one instant: the best of three, in case this thread was put aside between the two."""
        best = (0, 0, 0)
        for attempt in range(3):
            before, wall_ms = self._clocks.boot_ms(), self._clocks.wall_ms()
            took = self._clocks.boot_ms() - before
            if attempt == 0 or took < best[0]:
                best = (took, before, wall_ms)
            if took <= 1:
                break
        return best[1], best[2]

    def status(self) -> dict[str, Any]:
        """The machine's part of `clock` in the status."""
        boot_ms, wall_ms = self._read()
        host = self._host.offset(boot_ms)
        offset = self._segments[-1].offset_ms if self.known else None
        return {
            "state": "known" if self.known else "unknown",
            "how": self.how or "",
            "trust": self.trust,
            "synchronised": self.synchronised,
            "certain": self.known and self._segments[-1].certain,
            "boot": self.boot_id,
            "steps": self.steps,
            "wall_ms": wall_ms,
            "host_differs_ms": None if host is None or offset is None else host[0] - offset,
            "problem": self._problem(wall_ms),
        }

    def _problem(self, wall_ms: int) -> str:
        if self.refused_ms is not None:
            return "the wall clock is not believed; set it (date -s) or start NTP"
        if self.known:
            return ""
        if self._least != "plausible":
            way = "start NTP, or set clock: {trust: plausible} in site.yaml"
            way = way if self._least == "ntp" else f"{way}, or connect to a host that confirms"
            return f"the wall clock is not trusted; {way}"
        cause = "it is before 2025"
        if EARLIEST_MS <= wall_ms < self._newest_ms:
            cause = f"it is {(self._newest_ms - wall_ms) / 1000:.0f} s behind the newest sample"
        return (
            f"the wall clock is not believed: {cause}; set it (date -s), start NTP, or connect to a host that confirms"
        )
