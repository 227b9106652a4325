"""Time spans as text: `1h 30m`, `1year-6mo`, `60*60`. Arithmetic is read, nothing is executed.

The one parser of spans, for files, commands and clients. Source: jail.conf(5), TIME ABBREVIATION FORMAT. What Fail2ban gives as a
float (`1mo`, `1.5m`) is a float here too.
"""

from __future__ import annotations

import math
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
    parser = _Parser(_tokens(text))
    result = parser.sum()
    if parser.tokens:
        raise SyntaxError("invalid syntax")
    return result


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
    return tokens[::-1]


class _Parser:
    """Sums of products of signed numbers. The tokens are in reverse order: the next one is the last."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.depth = 0

    def _next(self, *expected: str) -> str:
        return self.tokens.pop() if self.tokens and self.tokens[-1] in expected else ""

    def sum(self) -> Number:
        result = self._product()
        while operator := self._next("+", "-"):
            right = self._product()
            result = result + right if operator == "+" else result - right
        return result

    def _product(self) -> Number:
        result = self._signed()
        while operator := self._next("*", "/", "//", "%"):
            right = self._signed()
            match operator:
                case "*":
                    result = result * right
                case "/":
                    result = result / right
                case "//":
                    result = result // right
                case _:
                    result = result % right
        return result

    def _signed(self) -> Number:
        negative = False
        while sign := self._next("+", "-"):
            negative ^= sign == "-"
        value = self._atom()
        return -value if negative else value

    def _atom(self) -> Number:
        if self._next("("):
            value = self.sum()
            if not self._next(")"):
                raise SyntaxError("'(' was never closed")
            return value
        if not self.tokens or not (self.tokens[-1][0].isdigit() or self.tokens[-1][0] == "."):
            raise SyntaxError("invalid syntax")
        token = self.tokens.pop()
        if "." in token:
            return float(token)
        if token.startswith("0") and token.strip("0_"):
            raise SyntaxError("leading zeros in decimal integer literals are not permitted")
        return int(token)
