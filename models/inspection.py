"""What a model file says of itself, for people and for programs: one that scores, or one of remaining life."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models import manifest as manifests
from models.alarm_logic import AlarmRule
from models.baseline import BaselineRule
from models.life import LifeManifest
from models.manifest import LIFE_KEY, FalseAlarms, Input, Manifest, Training, duration


def read(path: Path) -> Manifest | LifeManifest:
    """The manifest of either kind. Raises ModelError for a missing, foreign, truncated or damaged file."""
    return parse(manifests.content_of(path), str(path))


def parse(content: bytes, where: str) -> Manifest | LifeManifest:
    """As read, from the bytes of a file; where: its name, for messages. Raises ModelError."""
    pairs, graph = manifests.parts(content, where)
    kind = LifeManifest if LIFE_KEY in pairs else Manifest
    return kind.from_metadata(pairs, graph, where)


def as_json(said: Manifest | LifeManifest) -> dict[str, Any]:
    """kind: `life` or `score`; and every field of the manifest."""
    return {"kind": "life" if isinstance(said, LifeManifest) else "score", **asdict(said)}


def lines(said: Manifest | LifeManifest, path: Path) -> Iterator[str]:
    yield f"{said.name} version {said.version} ({path})"
    yield from _life(said) if isinstance(said, LifeManifest) else _score(said)
    yield f"  trained on    {said.training.source}"
    yield from _training(said.training)
    yield f"  signature     {said.signature or 'none'}"
    if isinstance(said, Manifest):
        yield from _named("missing tag", missing(said))
    else:
        yield "  missing tag   keeps its last value"


def held_out(rate: FalseAlarms) -> str:
    due = rate.held_out_rows / rate.rows
    return f"held out: {rate.held_out_alarms} false alarms in {rate.held_out_rows} normal rows ({due:.1f} were due)"


def alarm(rule: AlarmRule) -> Iterator[str]:
    """When an alarm begins and ends, a sentence a part."""
    yield (
        f"after {rule.raise_rows} rows, at least {rule.hold_rows}, "
        f"ends after {rule.release_rows} rows below {rule.clear_ratio:g} of the threshold"
    )
    if rule.peak_ratio:
        yield f"or, of each tag, below {rule.peak_ratio:g} of the most that it showed in the alarm"
    if rule.settle_rows:
        yield f"for {rule.settle_rows} rows after it only what is above {rule.settle_ratio:g} of its peak counts"


def baseline(rule: BaselineRule) -> Iterator[str]:
    """How the centre may move, a sentence a part."""
    yield f"follows in {rule.follow_rows:g} rows, by at most {rule.reach:g} spreads; told from {rule.drift_notice:g} on"
    if rule.slow:
        yield f"{', '.join(rule.slow)} in {rule.slow_follow_rows or rule.follow_rows:g} rows"
    if rule.settle_follow_rows:
        yield f"while an alarm settles in {rule.settle_follow_rows:g} rows"
    if rule.spread_rows:
        yield f"the spread in {rule.spread_rows:g} rows, to {rule.spread_most:g} times the model's at the most"
    if rule.own_rows:
        yield f"an asset first learns its own centre from {rule.own_rows} rows, within {rule.own_reach:g} spreads"


def missing(said: Manifest) -> Iterator[str]:
    """What becomes of a row with a hole, a sentence a part."""
    rule = said.missing
    if rule is None or said.takes_missing:
        yield "left out, and said" if said.takes_missing else "no score"
        return
    able = [(each.name, factor) for each, factor in zip(said.inputs, rule.factors, strict=True) if factor]
    yield f"left out, and said: up to {rule.most} of {', '.join(name for name, _ in able)}"
    yield f"threshold then {', '.join(f'{said.threshold * factor:.4g} without {name}' for name, factor in able)}"
    if needed := [name for name in said.input_names if name not in dict(able)]:
        yield f"no score without {', '.join(needed)}"


def _score(said: Manifest) -> Iterator[str]:
    yield f"  detector      {said.detector}; a row every {said.period_s:g} s; warm-up {said.warm_up_rows} rows"
    yield from _inputs(said.inputs)
    rate = said.false_alarms
    yield f"  threshold     {said.threshold:g} for {rate.statement} ({duration(rate.rows * said.period_s)})"
    yield f"                {rate.method}"
    yield f"                {held_out(rate)}"
    for point in rate.curve:
        yield f"  or            {point.threshold:g} for one in {duration(point.rows * said.period_s)}"
    yield from _named("alarm", alarm(said.alarm))
    yield from _named("baseline", ["stands still"] if said.baseline is None else baseline(said.baseline))


def _life(said: LifeManifest) -> Iterator[str]:
    unit, checked = said.life_unit, said.held_out
    yield f"  detector      none: remaining life in {unit}; one row is one of them; warm-up {said.warm_up_rows} rows"
    yield from _inputs(said.inputs)
    for name, why in said.ignored.items():
        yield f"  ignored       {name}: {why}"
    yield (
        f"  estimate      up to {said.cap:g} {unit}, which means `at least so much`; regimes {said.regimes}; "
        f"the longest life seen had {said.longest:g}"
    )
    yield (
        f"  held out      {checked.units} machines at {checked.cuts} points: off by {checked.rmse:.3g} {unit} (RMSE), "
        f"score {checked.score:.3g} per 100"
    )
    yield (
        f"                the {100 * said.level:g} % interval held in {100 * checked.coverage:.1f} %, "
        f"{checked.width:.3g} {unit} wide; for lives up to {said.horizon:g}"
    )
    for tried in said.caps:
        yield f"  cap           {tried.cap:g}: off by {tried.rmse:.3g}, score {tried.score:.3g} per 100"


def _named(name: str, parts: Iterator[str] | list[str]) -> Iterator[str]:
    for i, part in enumerate(parts):
        yield f"  {'' if i else name:<13} {part}"


def _inputs(inputs: tuple[Input, ...]) -> Iterator[str]:
    for each in inputs:
        follows = f"; follows {', '.join(each.follows)}" if each.follows else ""
        yield (
            f"  input         {each.name} [{each.unit or '1'}]: usually {each.centre:.6g}, "
            f"spread {each.spread:.4g}{follows}"
        )


def _training(training: Training) -> Iterator[str]:
    yield f"                {training.window}, {training.rows} rows, SHA-256 {training.sha256}"
