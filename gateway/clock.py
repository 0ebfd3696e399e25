"""The machine's clocks: the wall clock, which may be wrong or step, and the time since the boot, which only runs on."""

from __future__ import annotations

import ctypes
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

# adjtimex(2): the kernel counts as synchronised until nobody has corrected it for long (maxerror reaches 16 s).
_UNSYNCHRONISED = 0x40  # STA_UNSYNC
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """The beginning of struct timex (adjtimex(2)); the rest is room for the kernel to write to."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


class KernelClock(NamedTuple):
    """state: 'synchronised', 'not synchronised', or 'unknown' where the kernel does not say.

    max_error_s: how wrong the kernel thinks that it may be; None when nobody keeps the clock.
    """

    state: str
    max_error_s: float | None


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def kernel_clock() -> KernelClock:
    """Asks the kernel (adjtimex); whichever NTP program runs tells it."""
    found = _Timex()
    try:
        state: int = _libc().adjtimex(ctypes.byref(found))
    except (OSError, AttributeError):
        state = -1
    if state < 0:
        return KernelClock("unknown", None)
    if state == _TIME_ERROR or found.status & _UNSYNCHRONISED:
        return KernelClock("not synchronised", None)
    return KernelClock("synchronised", found.maxerror / 1e6)


def now_ms() -> int:
    """UTC epoch milliseconds as the wall clock says. May step: samples are stamped by gateway.timekeeper."""
    return time.time_ns() // 1_000_000


class Clocks(Protocol):
    """What a machine knows of time."""

    def boot_id(self) -> str:
        """Another one after every boot of the machine."""
        ...

    def boot_ms(self) -> int:
        """Milliseconds since the boot, those of suspension included. Never steps."""
        ...

    def wall_ms(self) -> int:
        """UTC epoch milliseconds; may be wrong, and may step."""
        ...

    def synchronised(self) -> bool:
        """True when something (NTP, PTP, GPS) keeps the wall clock right."""
        ...

    def keeps_time(self) -> bool:
        """False for a board whose wall clock does not run on while it is switched off."""
        ...


class MachineClocks:
    """The clocks of this Linux machine. root: where /sys and /proc are."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def boot_id(self) -> str:
        return (self._root / "proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def boot_ms(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def wall_ms(self) -> int:
        return now_ms()

    def synchronised(self) -> bool:
        return kernel_clock().state == "synchronised"

    def keeps_time(self) -> bool:
        """A board (it has a device tree) without a clock chip begins with the time of its last stop, or with 1970."""
        board = (self._root / "proc/device-tree/model").exists()
        return not board or any((self._root / "sys/class/rtc").glob("rtc*"))
