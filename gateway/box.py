"""Figures of the box: this process' CPU, memory and files, and the board's temperature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil

_THERMAL = Path("/sys/class/thermal")


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
