"""Arithmetic over tags: `flow * ('pump-2/pressure' - 1) / 36`. Our own small reading of it, nothing is run. Pure.

A tag is a name, or stands in quotes where its name is none of Python's ('power/active', 'meter-2/power'). Known are
+ - * / ** %, comparisons (also chained), and or not, x if condition else y, and min max abs sqrt round. Whole numbers
are calculated exactly, but for / ** and sqrt.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence

from wire.errors import ConfigError

Number = bool | int | float
_Step = Callable[[Sequence[Number]], Number]

_LONGEST = 500  # characters; so no expression is deeper than Python can go
_BINARY: Mapping[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    # As floats: 9 ** 9 ** 9 of whole numbers would never end.
    ast.Pow: lambda a, b: _power(a, b),
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Number], Number]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Number, Number], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
# name -> function, least and most arguments
_FUNCTIONS: Mapping[str, tuple[Callable[..., Number], int, int]] = {
    "min": (min, 2, 20),
    "max": (max, 2, 20),
    "abs": (abs, 1, 1),
    "sqrt": (math.sqrt, 1, 1),
    "round": (lambda x, digits=0: _rounded(x, digits), 1, 2),
}


class Expression:
    """One expression, read once. names: the tags that it needs, in the order in which they stand in it."""

    def __init__(self, text: str) -> None:
        """Raises ConfigError with what is not understood."""
        self.text = text
        self.names: tuple[str, ...] = ()
        if len(text) > _LONGEST:
            raise ConfigError(f"an expression has at most {_LONGEST} characters, this one has {len(text)}")
        try:
            tree = ast.parse(text.strip(), mode="eval")
            self._step = self._read(tree.body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
            raise ConfigError(f"not an expression: {getattr(fault, 'msg', '') or 'too deep'}") from fault
        if not self.names:
            raise ConfigError("needs at least one tag; a constant needs no gateway")

    def value(self, inputs: Sequence[Number]) -> Number:
        """inputs: a finite number for each of names.

        Raises ZeroDivisionError, OverflowError (more than a float holds) or ValueError (a root of a negative number).
        """
        return self._step(inputs)

    def _read(self, node: ast.expr) -> _Step:
        match node:
            case ast.Constant(value=str() as name):
                return self._tag(name)
            case ast.Name(id=name):
                return self._tag(name)
            case ast.Constant(value=bool() | int() | float() as number):
                return lambda inputs: number
            case ast.BinOp(left, op, right) if type(op) in _BINARY:
                return _two(_BINARY[type(op)], self._read(left), self._read(right))
            case ast.UnaryOp(op, operand) if type(op) in _UNARY:
                return _one(_UNARY[type(op)], self._read(operand))
            case ast.Compare(left, ops, others) if all(type(op) in _COMPARE for op in ops):
                return _chain([_COMPARE[type(op)] for op in ops], [self._read(n) for n in (left, *others)])
            case ast.BoolOp(op, values):
                return _logic(any if isinstance(op, ast.Or) else all, [self._read(n) for n in values])
            case ast.IfExp(test, body, orelse):
                return _choice(self._read(test), self._read(body), self._read(orelse))
            case ast.Call(ast.Name(id=name), arguments, []) if name in _FUNCTIONS:
                function, least, most = _FUNCTIONS[name]
                if not least <= len(arguments) <= most:
                    many = f"{least} to {most} numbers" if least < most else f"{least} number"
                    raise ConfigError(f"{name} takes {many}, not {len(arguments)}")
                return _call(function, [self._read(n) for n in arguments])
        known = f"possible are + - * / ** %, comparisons, and or not, if else, {', '.join(_FUNCTIONS)}"
        raise ConfigError(f"{ast.unparse(node)!r} is not allowed in an expression; {known}")

    def _tag(self, name: str) -> _Step:
        if name not in self.names:
            self.names = (*self.names, name)
        place = self.names.index(name)
        return lambda inputs: inputs[place]


def _power(a: Number, b: Number) -> float:
    if a == 0 and b < 0:
        raise ZeroDivisionError
    return math.pow(a, b)


def _rounded(x: Number, digits: Number) -> Number:
    """digits beyond what a float holds change nothing."""
    return round(x, int(min(max(digits, -310), 310))) if digits else round(x)


def _one(do: Callable[[Number], Number], a: _Step) -> _Step:
    return lambda inputs: do(a(inputs))


def _two(do: Callable[[Number, Number], Number], a: _Step, b: _Step) -> _Step:
    return lambda inputs: do(a(inputs), b(inputs))


def _chain(does: Sequence[Callable[[Number, Number], bool]], steps: Sequence[_Step]) -> _Step:
    def holds(inputs: Sequence[Number]) -> bool:
        a = steps[0](inputs)
        for do, step in zip(does, steps[1:], strict=True):
            b = step(inputs)
            if not do(a, b):
                return False  # what follows is not calculated, as in Python: it may divide by zero
            a = b
        return True

    return holds


def _logic(do: Callable[[Iterable[bool]], bool], steps: Sequence[_Step]) -> _Step:
    """`x != 0 and y / x > 2` does not divide where x is 0."""
    return lambda inputs: do(bool(step(inputs)) for step in steps)


def _choice(test: _Step, body: _Step, orelse: _Step) -> _Step:
    return lambda inputs: body(inputs) if test(inputs) else orelse(inputs)


def _call(function: Callable[..., Number], steps: Sequence[_Step]) -> _Step:
    return lambda inputs: function(*(step(inputs) for step in steps))
