"""What a campaign has shown: a row a family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.campaign.family import Family
from benchmarks.campaign.ledger import Round
from benchmarks.campaign.runner import CLOSING

COLUMNS = ("rounds", "failed", "samples", "lost", "doubled", "longest_gap_ms", "drops_recorded", "seconds")


def rows(families: Sequence[Family], rounds: Sequence[Round]) -> dict[str, dict[str, Any]]:
    """family -> its figures; one that was not run says why."""
    found: dict[str, dict[str, Any]] = {}
    for name in (*(family.name for family in families), CLOSING):
        mine = [r for r in rounds if r.family == name]
        why = next((why for f in families if f.name == name and (why := f.unable())), "")
        if not mine and (why or name != CLOSING):
            found[name] = {"not_run": why or "not of the short form, or stopped before its turn"}
        elif mine:
            found[name] = _row(mine)
    return found


def _row(mine: Sequence[Round]) -> dict[str, Any]:
    verdicts = [r.verdict for r in mine]
    return {
        "rounds": len(mine),
        "failed": sum(not r.good for r in mine),
        "samples": sum(v.samples for v in verdicts),
        "lost": sum(v.lost for v in verdicts),
        "doubled": sum(v.doubled for v in verdicts),
        "longest_gap_ms": max(v.gap_ms for v in verdicts),
        "drops_recorded": sum(v.drops for v in verdicts),
        "seconds": round(sum(r.seconds for r in mine), 1),
    }


def text(found: dict[str, dict[str, Any]]) -> str:
    width = max(len(name) for name in found)
    lines = [" " * width + "".join(f"{column.replace('_', ' '):>16}" for column in COLUMNS)]
    for name, row in found.items():
        if "not_run" in row:
            lines.append(f"{name:<{width}}  not run: {row['not_run']}")
        else:
            lines.append(f"{name:<{width}}" + "".join(f"{row[column]:>16,}" for column in COLUMNS))
    return "\n".join(lines)
