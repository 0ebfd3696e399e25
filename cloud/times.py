"""Times as people type them: ISO 8601, or how long ago. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from wire.errors import ConfigError


class WrongCall(ConfigError):
    """What was typed cannot be meant: exit code 2, as argparse has it."""


_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_AGO = re.compile(r"^-(\d{1,9})([smhdw])$")
HELP = (
    "ISO 8601 (2026-05-01, 2026-05-01T06:30, 2026-05-01T06:30Z; without zone: this machine's), -2h (s, m, h, d, w), now"
)


def moment_ms(text: str, now_ms: int) -> int:
    """UTC epoch ms. Raises WrongCall."""
    if text == "now":
        return now_ms
    ago = _AGO.match(text)
    if ago:
        return max(0, now_ms - int(ago[1]) * _UNITS_MS[ago[2]])
    try:
        found = int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError) as fault:
        raise WrongCall(f"time {text!r}: write it as {HELP}") from fault
    if found < 0:
        raise WrongCall(f"time {text!r} is before 1970")
    return found


def shielded(argv: Sequence[str]) -> list[str]:
    """-2h is a time and not an option: argparse takes it for a value when it does not begin with a dash."""
    return [f"{_SHIELD}{word}" if _AGO.match(word) else word for word in argv]


def unshielded(text: str) -> str:
    return text.removeprefix(_SHIELD)


_SHIELD = "\0"
