"""Formulas of ban times: what Python would work out, without running anything."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.formula import Formula

GOOD = [
    ("ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor", 600 * 8 * 2),
    ("ban.Time * math.exp(float(ban.Count+1)*banFactor)/math.exp(1*banFactor)", 600 * math.exp(8) / math.exp(2)),
    ("[60, 600, 3600][min(ban.Count, 2)]", 3600),
    ("max(ban.Time, 1e3) + ban.Count // 2 - ban.Count % 2", 1000),
    ("ban.Count ** 2 if 1 < ban.Count <= 3 and not False else 0", 9),
    ("math.pi and pow(2, 10) or 5", 1024),
    ("ban.Time * 2 ** 0.5", 600 * 2**0.5),
]


@pytest.mark.parametrize(("text", "value"), GOOD, ids=[text for text, _ in GOOD])
def test_value(text, value):
    """A third offender, ten minutes, factor 2."""
    assert Formula(text)(600, 3, 2) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "ban.__class__",
        "ban.Time.real",
        "(lambda: 1)()",
        "[x for x in (1, 2)]",
        "'a' * 9",
        "f'{ban.Time}'",
        "math.__loader__",
        "math.factorial(10**6)",
        "open",
        "max",
        "ban",
        "x := 1",
        "2 @ 3",
        "1 in (1, 2)",
        "int('7')",
        "min(*[1, 2])",
        "max(1, 2, key=abs)",
        "1j",
        "",
        "(",
        "1" * 600,
        "ban.Time; 1",
    ],
)
def test_refused(text):
    """Anything but arithmetic is refused before it is ever worked out."""
    with pytest.raises(ValueError, match=r".+"):
        Formula(text)


@pytest.mark.parametrize(
    "text", ["9**9**9**9", "1 << 10**9", "(1 << 1000) * (1 << 1000)", "10**400 * 1.0", "pow(9, 10**9)"]
)
def test_too_large(text):
    """Numbers without bound are stopped at once."""
    begun = time.process_time()
    with pytest.raises(OverflowError):
        Formula(text)(600, 3, 1)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    "text", ["1 / 0", "(1, 2)", "[1][5]", "(-8) ** 0.5", "math.sqrt(-1)", "round(5, -10**9)", "1 << -1"]
)
def test_no_number(text):
    """What has no value is a ValueError."""
    with pytest.raises(ValueError, match=r".+"):
        Formula(text)(600, 3, 1)


WORDS = [
    "ban.Time",
    "ban.Count",
    "banFactor",
    "math.exp",
    "max",
    "(",
    ")",
    "[",
    "]",
    ",",
    "1",
    "0",
    "9e9",
    "**",
    "*",
    "<<",
    "-",
]


@given(st.one_of(st.text(max_size=30), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)))
def test_any_text(text):
    """Whatever is written: a number, a ValueError or an OverflowError."""
    try:
        value = Formula(text)(600, 3, 1)
    except (ValueError, OverflowError):
        return
    assert isinstance(value, float)
