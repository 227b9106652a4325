"""Formulas of ban times, as Fail2ban's `bantime.formula` has them: a Python expression that is worked out, never executed.

The text comes from a file that may be writable for more people than may run code as root, and from control panels.
So it is walked as a syntax tree of arithmetic: names are `ban.Time`, `ban.Count`, `banFactor` and the functions of
`math`; nothing else can be reached, and no number can grow without bound.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

LONGEST = 500
"""Characters of a formula."""
_MOST_BITS = 1024
"""Of a whole number on the way: far more than any time needs, and worked out in no time."""

Value = Any
"""int, float, bool, or a tuple of these."""
Resolver = Mapping[str, float]

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "min": min, "max": max, "int": int, "float": float, "abs": abs, "round": round, "pow": pow, "bool": bool,
}  # fmt: skip
# Those whose effort grows beyond their arguments' size are left out.
_MATH = {name: one for name, one in vars(math).items() if callable(one) and name not in {"factorial", "comb", "perm"}}
_MATH_NUMBERS = {f"math.{name}": value for name, value in vars(math).items() if isinstance(value, float)}


class Formula:
    """One formula, checked. Raises ValueError with what in it is not arithmetic."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise ValueError(f"is longer than {LONGEST} characters")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
            _check(self._tree)
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError("is not a Python expression") from error

    def __call__(self, time: float, count: int, factor: float) -> float:
        """Seconds for a ban of `time` seconds when `count` bans came before.

        Raises ValueError when there is no such number, OverflowError when it is too large.
        """
        names = {"ban.Time": time, "ban.Count": count, "banFactor": factor, **_MATH_NUMBERS}
        try:
            value = _evaluate(self._tree, names)
        except (ZeroDivisionError, TypeError, LookupError, RecursionError) as error:
            raise ValueError(f"has no value after {count} earlier bans: {error}") from error
        if isinstance(value, tuple | complex) or math.isnan(value):
            raise ValueError(f"gives no number after {count} earlier bans")
        return float(value)


def _check(node: ast.AST) -> None:
    """Raise ValueError unless there is nothing here, and below, but arithmetic."""
    if isinstance(node, ast.Name | ast.Attribute):
        name = ast.unparse(node)
        if name not in ("ban.Time", "ban.Count", "banFactor") and name not in _MATH_NUMBERS:
            raise ValueError(f"names {name[:40]!a}; known are ban.Time, ban.Count, banFactor and what math has")
        return
    if isinstance(node, ast.Call):
        if node.keywords or _function(node.func) is None:
            raise ValueError(f"calls {ast.unparse(node.func)[:40]!a}, which is not a function of numbers")
        below: Iterable[ast.AST] = node.args
    else:
        if isinstance(node, ast.Constant) and type(node.value) not in (int, float, bool):
            raise ValueError(f"holds {ast.unparse(node)[:40]!a}, which is no number")
        if isinstance(node, ast.expr) and type(node) not in _RULES:
            raise ValueError(f"holds {ast.unparse(node)[:40]!a}, which is no arithmetic")
        if isinstance(node, ast.operator | ast.cmpop) and type(node) not in (*_BINARY, *_COMPARE):
            raise ValueError(f"has the operator {type(node).__name__}, which is no arithmetic")
        below = ast.iter_child_nodes(node)
    for child in below:
        _check(child)


def _function(node: ast.expr) -> Callable[..., Any] | None:
    if isinstance(node, ast.Name):
        return _FUNCTIONS.get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "math":
        return _MATH.get(node.attr)
    return None


def _evaluate(node: ast.expr, names: Resolver) -> Value:
    return _RULES[type(node)](node, names)


def _unary(node: ast.UnaryOp, names: Resolver) -> Value:
    return _bounded(_UNARY[type(node.op)](_evaluate(node.operand, names)))


def _binary(node: ast.BinOp, names: Resolver) -> Value:
    left, right = _evaluate(node.left, names), _evaluate(node.right, names)
    if isinstance(left, tuple) or isinstance(right, tuple):
        raise TypeError("lists have no arithmetic")
    if isinstance(node.op, ast.LShift) and right > _MOST_BITS:
        raise OverflowError
    if isinstance(node.op, ast.Pow):
        return _power(left, right)
    return _bounded(_BINARY[type(node.op)](left, right))


def _either(node: ast.BoolOp, names: Resolver) -> Value:
    wanted = isinstance(node.op, ast.Or)
    value: Value = None
    for one in node.values:
        value = _evaluate(one, names)
        if bool(value) is wanted:
            break
    return value


def _compare(node: ast.Compare, names: Resolver) -> bool:
    left = _evaluate(node.left, names)
    for op, other in zip(node.ops, node.comparators, strict=True):
        right = _evaluate(other, names)
        if not _COMPARE[type(op)](left, right):
            return False
        left = right
    return True


def _called(node: ast.Call, names: Resolver) -> Value:
    function = _function(node.func)
    assert function is not None  # noqa: S101 - `_check` has seen it
    arguments = [_evaluate(one, names) for one in node.args]
    if function is pow and len(arguments) == 2:
        return _power(*arguments)
    if function in (pow, round) and len(arguments) > 1:
        raise TypeError(f"{function.__name__} with so many numbers")
    return _bounded(function(*arguments))


_RULES: Mapping[type[ast.expr], Callable[[Any, Resolver], Value]] = {
    ast.Constant: lambda node, _: _bounded(node.value),
    ast.Name: lambda node, names: names[ast.unparse(node)],
    ast.Attribute: lambda node, names: names[ast.unparse(node)],
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.BoolOp: _either,
    ast.Compare: _compare,
    ast.IfExp: lambda node, names: _evaluate(node.body if _evaluate(node.test, names) else node.orelse, names),
    ast.Tuple: lambda node, names: tuple(_evaluate(one, names) for one in node.elts),
    ast.List: lambda node, names: tuple(_evaluate(one, names) for one in node.elts),
    ast.Subscript: lambda node, names: _evaluate(node.value, names)[_evaluate(node.slice, names)],
    ast.Call: _called,
}


def _power(base: Value, exponent: Value) -> Value:
    """In floats as soon as the whole numbers would be long."""
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) <= _MOST_BITS:
        return _bounded(base**exponent)
    return float(base) ** float(exponent)


def _bounded(value: Value) -> Value:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise OverflowError
    return value
