"""How a scorer stands with its asset: does it run, is there an alarm, what was learnt; and how that is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent.scorer import Scorer
from models.baseline import Baseline
from wire.errors import ModelError

Utc = Callable[[int], int | None]


def standing(scorer: Scorer, utc_ms: Utc) -> dict[str, Any]:
    """Only what there is: running (what the tag says), suspended (why and since when), missing (the inputs
    without which it is judged), baseline, and its alarm.

    Times are UTC epoch milliseconds; None while the time is unknown.
    """
    found: dict[str, Any] = {}
    watch, since_ms = scorer.watch, None if scorer.since_ms is None else utc_ms(scorer.since_ms)
    if watch is not None:
        state = {None: "unknown", True: "runs", False: "stopped"}[watch.running]
        tag_since_ms = None if watch.since_ms is None else utc_ms(watch.since_ms)
        tag = f"{watch.spec.device}/{watch.spec.tag}"
        found["running"] = {"state": state, "tag": tag, "bad": watch.bad, "since_ms": tag_since_ms}
    if scorer.running.suspended:
        found["suspended"] = {"why": _why(scorer), "since_ms": since_ms}
    elif scorer.missing:
        found["missing"] = list(scorer.missing)
    if scorer.running.baseline is not None:
        found["baseline"] = _baseline(scorer, scorer.running.baseline)
        if scorer.running.alarm.raised and scorer.since_ms is not None and scorer.newest_ms is not None:
            found["alarm"] = {"since_ms": since_ms, "for_s": (scorer.newest_ms - scorer.since_ms) / 1000}
    return found


def _why(scorer: Scorer) -> str:
    if scorer.maintained:
        return "maintenance"
    states = {None: "unknown", True: "settling", False: "not running"}
    return states[None if scorer.watch is None else scorer.watch.running]


def _baseline(scorer: Scorer, baseline: Baseline) -> dict[str, Any]:
    rows, needed = baseline.learnt_rows
    if scorer.running.suspended:
        state = "suspended"
    elif baseline.learning:
        state = "learning"
    elif scorer.running.alarm.raised:
        state = "frozen"
    else:
        state = "relearning" if scorer.running.alarm.settling else "follows"
    inputs = scorer.model.manifest.inputs
    units = {each.name: each.unit for each in inputs}
    return {
        "state": state,
        "learnt_rows": rows,
        "own_rows": needed,
        "recalibrations": baseline.recalibrations,
        "refused_rows": baseline.refused_rows,
        "drift": {each.name: float(far) for each, far in zip(inputs, baseline.drift(), strict=True)},
        "notices": [
            {"kind": each.kind, "tag": each.tag, "amount": each.amount, "unit": units[each.tag]}
            for each in baseline.notices()
        ],
    }


def check_acceptable(scorer: Scorer) -> None:
    """Raises ModelError where there is no present level that a person could accept."""
    asset, baseline = scorer.asset, scorer.running.baseline
    if scorer.running.suspended:
        raise ModelError(f"asset {asset} is not judged now ({_why(scorer)}): accept its level when it runs")
    if baseline is None:
        raise ModelError(f"the model of asset {asset} has no managed baseline: train another one for this level")
    if baseline.learning:
        rows, needed = baseline.learnt_rows
        raise ModelError(f"asset {asset} still learns its own normal ({rows} of {needed} rows): wait for that")
    if scorer.newest_ms is None:
        raise ModelError(f"asset {asset} has given no row yet: there is no level to accept")


def accept(scorer: Scorer) -> None:
    """A person says that the present level is normal. Raises ModelError where there is none."""
    check_acceptable(scorer)
    scorer.running.accept()
    scorer.since_ms = None


def learnt(scorer: Scorer) -> dict[str, Any] | None:
    """What must outlive a restart; None where nothing is learnt."""
    baseline = scorer.running.baseline
    if baseline is None:
        return None
    return {"model": scorer.seal, "inputs": [list(key) for key in scorer.inputs], "baseline": baseline.saved()}


def restore(scorer: Scorer, kept: Mapping[str, Any]) -> bool:
    """Whether it was learnt with this model from these tags, and goes on from there. Raises ValueError."""
    baseline = scorer.running.baseline
    try:
        same = kept["model"] == scorer.seal and kept["inputs"] == [list(key) for key in scorer.inputs]
        if baseline is None or not same:
            return False
        baseline.restore(kept["baseline"])
    except (KeyError, TypeError) as fault:
        raise ValueError(f"what was kept of asset {scorer.asset} is damaged: {fault!r}") from fault
    return True
