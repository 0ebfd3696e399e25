"""The table of requirements, and the checks that are registered for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from tests.sparkplug.recording import Recording

TABLE = Path(__file__).parent / "requirements.yaml"
PREFIX = "tck-id-"
PARTIES = ("edge", "host", "both", "none")


@dataclass(frozen=True)
class Requirement:
    """who: whom of us it concerns. state: 'met', 'partly', 'not' or 'none'; why: what is missing, or why it is none."""

    id: str
    who: str
    says: str
    state: str
    why: str = ""


def requirements() -> dict[str, Requirement]:
    found: dict[str, Requirement] = {}
    for name, row in YAML(typ="safe").load(TABLE.read_text()).items():
        who, says, *more = row
        states = dict(more[0]) if more else {"met": ""}
        ((state, why),) = states.items()
        found[name] = Requirement(name, who, says, "none" if state == "why" else state, str(why))
    return found


@dataclass(frozen=True)
class Check:
    """judge: raises AssertionError when the recording does not meet the requirement. spoil: makes it fail."""

    judge: Callable[[Recording], None]
    spoil: Callable[[Recording], Recording]


CHECKS: dict[str, Check] = {}


def check(
    *names: str, spoil: Callable[[Recording], Recording]
) -> Callable[[Callable[[Recording], None]], Callable[[Recording], None]]:
    """Registers a judge for these ids, given without 'tck-id-'."""

    def register(judge: Callable[[Recording], None]) -> Callable[[Recording], None]:
        for name in names:
            if PREFIX + name in CHECKS:
                raise ValueError(f"two tests for {PREFIX}{name}")
            CHECKS[PREFIX + name] = Check(judge, spoil)
        return judge

    return register
