"""Since when something is in its state, and when it last failed: seen by looking, told by `gateway status`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.status import LineStatus, UnitStatus


@dataclass(slots=True)
class Past:
    """UTC epoch milliseconds. failed_ms: None while there was no fault since the start."""

    state: str
    since_ms: int
    faults: int = 0
    failed_ms: int | None = None


Key = tuple[str, ...]


class History:
    """Look about once a second: stamps are as exact as that."""

    def __init__(self) -> None:
        self._past: dict[Key, Past] = {}

    def look(self, uplink: str, lines: Mapping[str, LineStatus], now_ms: int) -> None:
        """uplink: its state."""
        seen: dict[Key, tuple[str, int]] = {(): (uplink, 0)}
        seen |= {(name,): (line.state, _line_faults(line)) for name, line in lines.items()}
        for name, line in lines.items():
            seen |= {(name, device): (unit.state, _faults(unit)) for device, unit in line.units.items()}
        for key, (state, faults) in seen.items():
            past = self._past.get(key)
            if past is None:
                self._past[key] = Past(state, now_ms, faults, now_ms if faults else None)
                continue
            if past.state != state:
                past.state, past.since_ms = state, now_ms
            if faults > past.faults:
                past.failed_ms = now_ms
            past.faults = faults
        for key in self._past.keys() - seen.keys():
            del self._past[key]

    def of(self, *key: str) -> dict[str, int | None]:
        """{since_ms, last_error_ms} of the uplink (no key), a line, or a device on a line."""
        past = self._past.get(key)
        return {"since_ms": past.since_ms if past else None, "last_error_ms": past.failed_ms if past else None}


def _faults(unit: UnitStatus) -> int:
    return unit.timeouts + unit.refused + unit.garbled + unit.unparsed


def _line_faults(line: LineStatus) -> int:
    return line.timeouts + line.refused + line.garbled + line.late_rejected + line.reconnects
