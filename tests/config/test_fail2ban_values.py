"""The values in a Fail2ban tree: jail.conf(5), `TIME ABBREVIATION FORMAT` and the rest."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.fail2ban.config.values import number, seconds, words

TIMES = [
    ("600", 600),
    ("10m", 600),
    ("1d12h", 129_600),
    ("1d 12h", 129_600),
    ("1 day 2 hours 3min 4s", 93_784),
    ("1y-6mo", 15_778_800),
    ("6 months", 15_778_800),
    ("1hour+30min", 5400),
    ("60*60", 3600),
    ("2W", 1_209_600),
    ("1.5h", 5400),
    ("-1", math.inf),
    ("0", 0),
    ("1/2h", 1800),
    (".5h", 1800),
    ("1h//2", 1800),
    ("3600%7", 2),
    ("+5", 5),
    ("1_000", 1000),
]


@pytest.mark.parametrize(("text", "value"), TIMES, ids=[text for text, _value in TIMES])
def test_seconds(text, value):
    """Times in all their forms; below zero is for ever."""
    assert seconds(text) == value


@pytest.mark.parametrize(
    "text", ["", "soon", "10x", "5 5m)", "(1h)(2h)", "__import__('os')", "1/0", "9**9", "9" * 500, "(" * 150, "'a'*3"]
)
def test_no_time(text):
    """What is no time is a ValueError, and no code is run."""
    with pytest.raises(ValueError, match="invalid duration"):
        seconds(text)


@given(st.one_of(st.text(max_size=30), st.text("0123456789 dhmsy+-*/().", max_size=20)))
def test_any_text_is_a_time_or_a_value_error(text):
    """Nothing else is raised."""
    try:
        value = seconds(text)
    except ValueError:
        value = 0.0
    assert value >= 0


def test_number():
    """A factor may be written as arithmetic."""
    assert number("1.5 * 2") == 3.0


def test_words():
    """Blanks, commas and new lines separate."""
    assert words(" a, b\nc ,") == ("a", "b", "c")
    assert words(" ,\n") == ()
