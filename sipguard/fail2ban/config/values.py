"""The values in Fail2ban's configuration: times, truth, lists. Each raises ValueError with a text for people."""

from __future__ import annotations

import ast
import operator
import re
from typing import TYPE_CHECKING

from sipguard.model import FOREVER

if TYPE_CHECKING:
    from collections.abc import Callable

_DAY = 86_400
_YEAR = 365.25 * _DAY
# jail.conf(5), `TIME ABBREVIATION FORMAT`: `m` is a minute, `mo` a month, and a month is a twelfth of a year.
_UNITS = (
    ("seconds?|sec?|ss?", 1),
    ("minutes?|min?|mm?", 60),
    ("hours?|hou?|hh?", 3600),
    ("days?|da|dd?", _DAY),
    ("weeks?|wee?|ww?", 7 * _DAY),
    ("months?|mon?", _YEAR / 12),
    ("years?|yea?|yy?", _YEAR),
)
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_MAX_EXPRESSION = 200
_TRUE = frozenset({"1", "on", "true", "yes"})


def seconds(text: str) -> float:
    """`10m`, `1d 12h`, `1y-6mo`, `60*60`, `-1`: seconds; below zero means for ever. Raises ValueError."""
    if len(text) > _MAX_EXPRESSION:
        raise ValueError(f"{text[:40]!a}… is too long for a time")
    expression = re.sub(r"\)\s*\(", ")+(", _QUANTITY.sub(_in_seconds, text.strip()))
    try:
        value = _evaluate(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text!a} is no time; write seconds, or for example 10m, 1h 30m, 1d") from error
    return FOREVER if value < 0 else value


def number(text: str) -> float:
    """A number, or an arithmetic expression of numbers, as `bantime.factor` may hold. Raises ValueError."""
    try:
        return _evaluate(ast.parse(text.strip()[:_MAX_EXPRESSION], mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text!a} is no number") from error


def _in_seconds(match: re.Match[str]) -> str:
    if not match[2]:
        return f"({match[1]})"
    for pattern, length in _UNITS:
        if re.fullmatch(pattern, match[2], re.IGNORECASE):
            return f"({match[1]}*{length})"
    raise ValueError(f"{match[2]!a} is no unit of time; use s, m, h, d, w, mo or y")


def _evaluate(node: ast.expr) -> float:
    """Arithmetic without names, calls or powers: the text comes from a file."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return float(node.value)  # type: ignore[arg-type]  # checked in the line above
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluate(node.left), _evaluate(node.right))
    raise ValueError("is no arithmetic of numbers")


def is_true(text: str) -> bool:
    """Fail2ban's truth: `1`, `on`, `true`, `yes` in any case; all else is false."""
    return text.lower() in _TRUE


def words(text: str) -> tuple[str, ...]:
    """What stands between blanks, commas and new lines."""
    return tuple(re.split(r"[\s,]+", text.strip(" ,\n\t"))) if text.strip(" ,\n\t") else ()
