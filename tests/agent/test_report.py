"""Report by exception: changes are told, the rest is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.report import Reporter
from tests.agent.points import point
from wire.block import Block, Quality, Reason
from wire.tag import TagTable


class Talk:
    """A reporter over points, fed with one value per point."""

    def __init__(self, *points: Any) -> None:
        self.tags = TagTable([p.tag for p in points])
        self.reporter = Reporter(points, self.tags)
        self.now_ms = 0

    def told(self, *values: Any, after_ms: int = 1000) -> dict[str, Any]:
        """What is told; a value of a Reason is BAD."""
        self.now_ms += after_ms
        n = len(values)
        numbers, quality, reason = np.full(n, np.nan), np.full(n, 192, np.uint8), np.zeros(n, np.uint8)
        others: dict[int, Any] = {}
        for i, v in enumerate(values):
            if isinstance(v, Reason):
                quality[i], reason[i] = Quality.BAD, v
            elif isinstance(v, (bool, str)) or self.tags[i].datatype.name.endswith("INT64"):
                others[i] = v
            else:
                numbers[i] = v
        kept, held = self.reporter.worth_telling(Block(self.now_ms, self.tags, numbers, quality, reason, others))
        found = {} if kept is None else {s.name: s.reason if s.value is None else s.value for s in kept.samples()}
        assert len(found) + held == n
        return found


def test_without_deadband_everything_is_told() -> None:
    talk = Talk(point("a"), point("b"))
    assert [talk.told(1, 2), talk.told(1, 2)] == [{"a": 1, "b": 2}] * 2


def test_an_absolute_deadband_is_measured_from_what_was_last_told() -> None:
    talk = Talk(point("a", raw="float32", deadband=1.0), point("b", deadband=0.0))
    assert talk.told(10.0, 5) == {"a": 10.0, "b": 5}
    assert talk.told(10.75, 5) == {}
    assert talk.told(11.0, 6) == {"b": 6}
    assert talk.told(11.5, 6) == {"a": 11.5}


def test_a_per_cent_deadband_is_of_the_range_or_else_of_the_value() -> None:
    talk = Talk(point("of_range", deadband_percent=10.0, low=0.0, high=50.0), point("of_value", deadband_percent=10.0))
    talk.told(20, 20)
    assert talk.told(25, 22) == {}
    assert talk.told(26, 23) == {"of_range": 26, "of_value": 23}


def test_a_change_of_quality_or_reason_is_always_told() -> None:
    talk = Talk(point("a", deadband=100.0))
    assert talk.told(5) == {"a": 5}
    assert talk.told(Reason.TIMEOUT) == {"a": Reason.TIMEOUT}
    assert talk.told(Reason.TIMEOUT) == {}
    assert talk.told(Reason.REFUSED) == {"a": Reason.REFUSED}
    assert talk.told(5) == {"a": 5}


def test_the_longest_silence_is_kept() -> None:
    talk = Talk(point("a", deadband=100.0, max_silence_s=3.0))
    assert [bool(talk.told(5)) for _ in range(7)] == [True, False, False, True, False, False, True]


def test_booleans_strings_and_64_bit_integers_are_told_when_they_change() -> None:
    talk = Talk(
        point("on", "coil", 0, "bool", deadband=0.0),
        point("text", raw="string", length=4, deadband=0.0),
        point("total", raw="uint64", deadband=5.0),
    )
    assert talk.told(True, "x", 2**60) == {"on": True, "text": "x", "total": 2**60}
    assert talk.told(True, "x", 2**60 + 5) == {}
    assert talk.told(False, "y", 2**60 + 6) == {"on": False, "text": "y", "total": 2**60 + 6}


def test_the_shortest_silence_holds_changes_back_but_never_a_change_of_quality() -> None:
    talk = Talk(point("a", min_silence_s=3.0), point("b", min_silence_s=3.0, deadband=1.0))
    assert talk.told(1, 1) == {"a": 1, "b": 1}
    assert talk.told(2, 9) == {}
    assert talk.told(Reason.TIMEOUT, 9) == {"a": Reason.TIMEOUT}
    assert talk.told(Reason.TIMEOUT, 9) == {"b": 9}
    assert talk.told(3, 9) == {"a": 3}


def _model_band(spec: Any, last: float) -> float:
    if spec.deadband_percent is not None and spec.low is not None:
        return max(spec.deadband or 0.0, spec.deadband_percent / 100 * (spec.high - spec.low))
    return max(spec.deadband or 0.0, (spec.deadband_percent or 0.0) / 100 * abs(last))


@given(
    st.sampled_from([None, 0.0, 1.0, 4.0]),
    st.sampled_from([None, 0.0, 10.0]),
    st.booleans(),
    st.sampled_from([None, 2.0, 5.0]),
    st.sampled_from([None, 6.0, 20.0]),
    st.lists(
        st.tuples(st.one_of(st.integers(0, 50), st.sampled_from([Reason.TIMEOUT, Reason.REFUSED])), st.integers(1, 9)),
        max_size=60,
    ),
)
def test_a_reporter_does_what_a_plain_model_does(
    band: Any, percent: Any, ranged: bool, pause_s: Any, silence_s: Any, steps: list[tuple[Any, int]]
) -> None:
    rest: dict[str, Any] = {"low": 0.0, "high": 50.0} if ranged else {}
    rest |= {"deadband": band, "deadband_percent": percent, "min_silence_s": pause_s, "max_silence_s": silence_s}
    talk = Talk(point("a", **rest), point("free"))
    spec = point("a", **rest)
    last_value, last_code, last_s, now_s = None, None, 0, 0
    suppressed = 0
    for value, step_s in steps:
        now_s += step_s
        code = value if isinstance(value, Reason) else Reason.NONE
        changed = (band is None and percent is None) or (
            not isinstance(value, Reason)
            and (last_value is None or abs(value - last_value) > _model_band(spec, last_value))
        )
        tell = (
            code != last_code
            or (changed and now_s - last_s >= (pause_s or 0))
            or (silence_s is not None and now_s - last_s >= silence_s)
        )
        assert talk.told(value, 1, after_ms=1000 * step_s) == ({"a": value} if tell else {}) | {"free": 1}
        suppressed += not tell
        if tell:
            last_code, last_s = code, now_s
            last_value = last_value if isinstance(value, Reason) else value


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=50), st.floats(0, 20))
def test_nobody_is_ever_further_off_than_the_deadband(values: list[float], band: float) -> None:
    talk, last = Talk(point("a", raw="float32", deadband=band)), None
    for value in values:
        told = talk.told(value)
        last = told.get("a", last)
        assert last is not None and abs(last - value) <= band
