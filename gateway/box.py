"""Figures of the box: this process' CPU, memory and files, the board's temperature, the state of the clock."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import psutil

_THERMAL = Path("/sys/class/thermal")
# adjtimex(2): the return value of a clock that nobody keeps right, and the bit that says the same.
_TIME_ERROR, _STA_UNSYNC = 5, 0x40


class _Timex(ctypes.Structure):
    """The beginning of struct timex; the rest is room that the kernel fills."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def clock() -> dict[str, Any]:
    """state: 'synchronised', 'not synchronised', or 'unknown' where the kernel does not say.

    max_error_s: how wrong the kernel thinks that it may be; None when nobody keeps the clock.
    """
    found = _Timex()
    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(found))
    except (OSError, AttributeError):
        state = -1
    if state < 0:
        return {"state": "unknown", "max_error_s": None}
    if state == _TIME_ERROR or found.status & _STA_UNSYNC:
        return {"state": "not synchronised", "max_error_s": None}
    return {"state": "synchronised", "max_error_s": found.maxerror / 1e6}


def temperatures(folder: Path = _THERMAL) -> dict[str, float]:
    """Thermal zone -> degrees Celsius; empty where the board has none. A zone that cannot be read is left out."""
    found = {}
    for zone in sorted(folder.glob("thermal_zone*")):
        try:
            celsius = int((zone / "temp").read_text()) / 1000
            kind = (zone / "type").read_text().strip()
        except (OSError, ValueError):
            continue
        found[f"{zone.name}/{kind}"] = celsius
    return found


class Box:
    """cpu_percent: between the last two looks of a caller that looks regularly; None before the second."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before: tuple[float, float] | None = None
        self.cpu_percent: float | None = None

    def cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def look(self, now_s: float) -> None:
        """Renews cpu_percent (of one core), of the time since the last look."""
        used = self.cpu_s()
        if self._before is not None and now_s > self._before[0]:
            self.cpu_percent = round(100 * (used - self._before[1]) / (now_s - self._before[0]), 1)
        self._before = (now_s, used)

    def figures(self) -> dict[str, Any]:
        with self._process.oneshot():
            return {
                "cpu_s": round(self.cpu_s(), 3),
                "cpu_percent": self.cpu_percent,
                "rss_bytes": self._process.memory_info().rss,
                "open_fds": self._process.num_fds(),
                "threads": self._process.num_threads(),
                "temperature_celsius": temperatures(),
            }
