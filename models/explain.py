"""What a score says in words: which tag is to blame, in which direction, and what the others suggest it should be."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

from models.manifest import Input, Manifest
from models.runtime import Score

Language = Literal["en", "zh"]

# A tag with a smaller part of the score than this is not worth naming.
_NAMED_SHARE = 0.25
_NAMED_TAGS = 2
# Within so many robust standard deviations the value itself is common: the others make it strange.
_COMMON = 2.0
# A difference from what the others suggest counts from so many robust standard deviations on.
_APART = 1.0
# Units whose zero is a convention: a percentage of them says nothing.
_NO_RATIO = frozenset({"Cel", "[degF]", "[degRe]", "%", "[pH]"})
# Nor does one of a value this close to zero, in robust standard deviations.
_NEAR_ZERO = 3.0


class Direction(StrEnum):
    """What is wrong with one input: its value, or only its relation to the others."""

    HIGH = "too high"
    LOW = "too low"
    RELATION = "relation broken"
    MISSING = "missing"


class Part(NamedTuple):
    """One input's part of a score. share: 0 to 1, NaN where it is missing. value: as judged (smoothed), in its unit.

    expected: what the other inputs suggest, in its unit; None where the model does not say. usual, spread: of this
    asset, where its baseline follows it.
    """

    name: str
    unit: str
    share: float
    direction: Direction
    value: float
    expected: float | None
    usual: float
    spread: float


def parts(manifest: Manifest, score: Score) -> list[Part]:
    """Every input's part, the greatest first; those that are missing last."""
    found = [_part(manifest, score, i) for i in range(len(manifest.inputs))]
    return sorted(found, key=lambda part: (part.direction is Direction.MISSING, -part.share))


def blamed(manifest: Manifest, score: Score) -> list[Part]:
    """The parts worth naming: one or two. Empty where nothing was judged."""
    if score.warming or score.score != score.score:
        return []
    there = [part for part in parts(manifest, score) if part.direction is not Direction.MISSING]
    return [part for part in there[:_NAMED_TAGS] if part.share >= _NAMED_SHARE] or there[:1]


def sentence(manifest: Manifest, score: Score, language: Language = "en") -> str:
    """What an operator reads beside the score."""
    words = _WORDS[language]
    if score.warming:
        return words["warming"]
    if score.score != score.score:
        return words["not judged"]
    level = words["level"].format(score=f"{score.score:.3g}", threshold=f"{score.threshold:.3g}")
    gone = [part.name for part in parts(manifest, score) if part.direction is Direction.MISSING]
    without = words["without"].format(names=words["and"].join(gone)) if gone else ""
    if score.score < score.threshold:
        return words["usual"].format(level=level, held=words["held"] if score.anomaly else "", without=without)
    by_name = {each.name: each for each in manifest.inputs}
    said = [_blame(by_name[part.name], part, words) for part in blamed(manifest, score)]
    return words["unusual"].format(level=level, blame=words["both"].join(said), without=without)


def _part(manifest: Manifest, score: Score, i: int) -> Part:
    each, deviation, share = manifest.inputs[i], float(score.deviations[i]), float(score.shares[i])
    usual = each.centre if score.shift is None else each.centre + float(score.shift[i])
    widening = 1.0 if score.widening is None else float(score.widening[i])
    spread = each.spread * widening
    expected = None if score.expected is None else usual + (float(score.expected[i]) - each.centre) * widening
    if expected is not None and expected != expected:
        expected = None
    if deviation != deviation:
        direction = Direction.MISSING
    elif abs(deviation) < _COMMON:
        direction = Direction.RELATION
    else:
        direction = Direction.HIGH if deviation > 0 else Direction.LOW
    return Part(each.name, each.unit, share, direction, usual + deviation * spread, expected, usual, spread)


def _blame(each: Input, part: Part, words: dict[str, str]) -> str:
    share = words["part"].format(percent=f"{100 * part.share:.0f}")
    unit = f" {each.unit}" if each.unit not in ("", "1") else ""
    if part.expected is not None and each.follows and abs(part.value - part.expected) >= _APART * part.spread:
        way = words["higher"] if part.value > part.expected else words["lower"]
        text = words["apart"].format(
            name=part.name, by=_distance(each, part, unit), way=way, others=words["and"].join(each.follows)
        )
    elif part.direction is Direction.RELATION:
        text = words["relation"].format(name=part.name)
    else:
        way = words["high"] if part.direction is Direction.HIGH else words["low"]
        text = words["value"].format(name=part.name, way=way, usual=f"{part.usual:.4g}{unit}")
    return text + share


def _distance(each: Input, part: Part, unit: str) -> str:
    expected = part.expected if part.expected is not None else part.usual
    if each.unit in _NO_RATIO or abs(expected) < _NEAR_ZERO * part.spread:
        return f"{abs(part.value - expected):.3g}{unit}"
    percent = 100 * abs(part.value - expected) / abs(expected)
    return f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"


_WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "warming": "Warming up: too few rows yet to judge.",
        "not judged": "Not judged: a value is missing.",
        "level": "score {score}, threshold {threshold}",
        "usual": "As usual ({level}){held}{without}.",
        "held": "; the alarm is still held",
        "without": "; judged without {names}",
        "unusual": "Unusual ({level}): {blame}{without}.",
        "and": " and ",
        "both": " and ",
        "part": " ({percent} % of the score)",
        "apart": "{name} {by} {way} than {others} suggest",
        "higher": "higher",
        "lower": "lower",
        "relation": "{name} does not go with the other tags",
        "value": "{name} is too {way}, usually {usual}",
        "high": "high",
        "low": "low",
    },
    "zh": {
        "warming": "预热中：数据行数尚不足，无法判断。",
        "not judged": "未判断：缺少数值。",
        "level": "得分 {score}，阈值 {threshold}",
        "usual": "正常（{level}）{held}{without}。",
        "held": "；报警仍在保持",
        "without": "；判断时缺少 {names}",
        "unusual": "异常（{level}）：{blame}{without}。",
        "and": " 和 ",
        "both": "；",
        "part": "（占得分的 {percent} %）",
        "apart": "{name} 比根据 {others} 推算的值{way} {by}",
        "higher": "高",
        "lower": "低",
        "relation": "{name} 与其他测点不相符",
        "value": "{name} 过{way}，通常为 {usual}",
        "high": "高",
        "low": "低",
    },
}
