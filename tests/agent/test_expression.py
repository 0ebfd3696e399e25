"""Expressions: what Python would calculate, and nothing else that Python would do."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.expression import Expression
from wire.errors import ConfigError


def value(text: str, **inputs: Any) -> Any:
    expression = Expression(text)
    return expression.value([inputs[name] for name in expression.names])


numbers = st.integers(-100, 100) | st.floats(-1e3, 1e3)
OPERATORS = ["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!="]
atoms = st.sampled_from(["a", "b", "c", "2", "0.5", "10"])


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(lambda t: f"({' '.join(t)})"),
        st.tuples(st.sampled_from(["-", "+", "not "]), inner).map(lambda t: f"({t[0]}{t[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(st.sampled_from(["abs", "sqrt", "round"]), inner).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"bool(({t[0]}) {t[1]} ({t[2]}))"),
    )


@given(st.recursive(atoms, nested, max_leaves=12), numbers, numbers, numbers)
def test_a_value_is_what_python_calculates(text: str, a: Any, b: Any, c: Any) -> None:
    """Against the interpreter itself; ** is ours (floats only) and has a test of its own."""
    ours, known = text.replace("bool(", "("), {"sqrt": math.sqrt, "a": a, "b": b, "c": c}
    text = f"a * 0 + ({text})"
    try:
        wanted = eval(text, {}, known)
    except (ZeroDivisionError, OverflowError, ValueError) as fault:
        with pytest.raises(type(fault)):
            value(f"a * 0 + ({ours})", a=a, b=b, c=c)
        return
    found = value(f"a * 0 + ({ours})", a=a, b=b, c=c)
    assert found == wanted or (math.isnan(found) and math.isnan(wanted))


def test_whole_numbers_stay_exact_and_tags_may_stand_in_quotes() -> None:
    big = 2**63 - 1
    assert value("total + 1 - 'meter-2/power/total'", **{"total": big, "meter-2/power/total": big}) == 1
    assert Expression("'x/y' + b + 'x/y'").names == ("x/y", "b")
    assert value("1 < a <= 3", a=3) is True and value("1 < a < 3", a=3) is False
    assert value("round(a, 1)", a=2.345) == 2.3 and value("round(a)", a=2.6) == 3
    assert value("a ** 0.5", a=9) == 3.0 and value("2 ** a", a=10) == 1024.0
    assert value("round(a, 10 ** 300)", a=1.5) == 1.5 and value("round(a, -(10 ** 9))", a=7) == 0


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("1 / a", ZeroDivisionError),
        ("1 % a", ZeroDivisionError),
        ("a ** -1", ZeroDivisionError),
        ("sqrt(a - 1)", ValueError),
        ("(a - 8) ** (1 / 3)", ValueError),
        ("9 ** 9 ** (9 + a)", OverflowError),
    ],
)
def test_what_has_no_value_says_why(text: str, fault: type[Exception]) -> None:
    with pytest.raises(fault):
        value(text, a=0)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')", "a.b", "a[0]", "[a]", "(a, b)", "lambda: a", "f'{a}'", "a if b", "a := 1",
        "eval('a')", "abs(a, key=b)", "abs(*a)", "open(a)", "a @ b", "a // b", "a | b", "~a", "a is b", "a in b",
        "None", "...", "b'a'", "1j * a", "", "1 + 1", "a +", "sqrt()", "min(a)", "a; b",
        "(" * 300 + "a" + ")" * 199, "-" * 499 + "a",
        "a" * 501, "a\x00", "yield a", "await a", "{a}", "[x for x in a]",
    ],
)  # fmt: skip
def test_nothing_else_is_understood(text: str) -> None:
    try:
        Expression(text)
    except ConfigError as fault:
        assert str(fault)
    else:
        assert text.startswith("-"), "only a deep one may still do"
