"""Time spans as text: `1h 30m`, `1year-6mo`, `60*60`. Arithmetic is read, nothing is executed.

The one parser of spans, for files, commands and clients. Source: jail.conf(5), TIME ABBREVIATION FORMAT. What Fail2ban gives as a
float (`1mo`, `1.5m`) is a float here too.
"""

from __future__ import annotations

import ast
import math
import operator
import re

from sipguard.model import Ban

LONGEST = 200
"""Characters of a span."""

_YEAR = "31557600.0"
_UNITS = (
    ("days?|da|dd?", "86400"),
    ("weeks?|wee?|ww?", "604800"),
    ("months?|mon?", "2629800.0"),
    ("years?|yea?|yy?", _YEAR),
    ("seconds?|sec?|ss?", "1"),
    ("minutes?|min?|mm?", "60"),
    ("hours?|hou?|hh?", "3600"),
)
_WORDS = [(re.compile(rf"(?i)(?<=[\d\s])(?:{words})\b"), f"*{size}") for words, size in _UNITS]
_GLUED = re.compile(r"(?i)(?<=[a-z])(\d)")
_APART = re.compile(r"(\d)\s+(?=\d)")
_NUMBER = r"\d+(?:_\d+)*"
_TOKEN = re.compile(
    rf"\s*(?:({_NUMBER}(?:\.(?:{_NUMBER})?)?|\.{_NUMBER})|([a-z_]\w*)|(//|[-+*/%()]))", re.IGNORECASE | re.ASCII
)

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}

Number = int | float


def seconds(value: str | float) -> Number:
    """Seconds of a span. Raises `ValueError`, `NameError` for a word that is no unit, `ZeroDivisionError`."""
    if isinstance(value, int | float):
        return value
    if len(value) > LONGEST:
        raise ValueError("a time span is too long")
    text = _GLUED.sub(r" \1", value)
    for word, factor in _WORDS:
        text = word.sub(factor, text)
    text = _APART.sub(r"\1+", text)
    return _worked_out(ast.parse(" ".join(_tokens(text)), mode="eval").body)


def whole_seconds(ban: Ban) -> int:
    """How long a ban lasts, as Fail2ban's clients and its database have it; -1 for good."""
    return -1 if math.isinf(ban.until) else int(round(ban.until - ban.since, 3))


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise SyntaxError("invalid syntax")
        if match[2]:
            raise NameError(f"name {match[2]!r} is not defined")
        tokens.append(match.group().strip())
        at = match.end()
    return tokens


def _worked_out(node: ast.expr) -> Number:
    """The value of a sum of products of signed numbers."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() as sign, operand=operand):
            value = _worked_out(operand)
            return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right):
            result: Number = _OPERATORS[type(op)](_worked_out(left), _worked_out(right))
            return result
    raise SyntaxError("invalid syntax")
