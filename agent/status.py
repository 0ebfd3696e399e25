"""What a line has been through: mutable counters that a status page reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

LineState = Literal["closed", "open", "backing-off"]
UnitState = Literal["unknown", "answering", "silent", "dead"]


@dataclass(slots=True)
class UnitStatus:
    """Counters of one device since start. last_error: text of the last fault, '' when there was none.

    illegal: addresses that the device was found to refuse, as text; suspected: refused once so far; healed: how many
    of them answered again.
    """

    state: UnitState = "unknown"
    polls: int = 0
    answers: int = 0
    timeouts: int = 0
    refused: int = 0
    garbled: int = 0
    unparsed: int = 0
    last_answer_ms: int | None = None
    illegal: list[str] = field(default_factory=list)
    suspected: list[str] = field(default_factory=list)
    healed: int = 0
    last_error: str = ""


@dataclass(slots=True)
class LineStatus:
    """Counters of one line since start. overruns: polls that were skipped because the one before took too long."""

    name: str = ""
    state: LineState = "closed"
    polls: int = 0
    answers: int = 0
    timeouts: int = 0
    refused: int = 0
    garbled: int = 0
    late_rejected: int = 0
    overruns: int = 0
    reconnects: int = 0
    last_error: str = ""
    units: dict[str, UnitStatus] = field(default_factory=dict)

    def unit(self, device: str) -> UnitStatus:
        """The counters of a device; made at first use."""
        return self.units.setdefault(device, UnitStatus())
