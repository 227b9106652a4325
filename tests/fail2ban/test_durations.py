"""Time spans: the same numbers as Fail2ban's, and no execution."""

from __future__ import annotations

import contextlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.durations import LONGEST, seconds

SPANS = [
    ("600", 600),
    ("10m", 600),
    ("1h 30m", 5400),
    ("1h30m", 5400),
    ("1d12h", 129_600),
    ("0d 1h 30m", 5400),
    ("1hour+30min", 5400),
    ("1year-6mo", 15_778_800.0),
    ("6 months", 15_778_800.0),
    ("1mo", 2_629_800.0),
    ("1.5m", 90.0),
    ("1w", 604_800),
    ("2 weeks", 1_209_600),
    ("60*60", 3600),
    ("2*(60+1)", 122),
    ("7//2", 3),
    ("7/2", 3.5),
    ("7%4", 3),
    ("-1", -1),
    ("--5", 5),
    ("+5", 5),
    ("1/2h", 1800.0),
    (".5h", 1800.0),
    ("1h//2", 1800),
    ("3600%7", 2),
    ("1_000", 1000),
    ("1_0.5", 10.5),
    ("5.", 5.0),
    ("1H 2M 3S", 3723),
    (600, 600),
    (1.5, 1.5),
]


@pytest.mark.parametrize(("text", "expected"), SPANS, ids=[str(one[0]) for one in SPANS])
def test_spans(text, expected):
    """Values and their kinds: `get` prints an integer as one."""
    assert seconds(text) == expected
    assert type(seconds(text)) is type(expected)


WRONG = [
    ("abc", NameError),
    ("10 bananas", NameError),
    ("__import__('os')", NameError),
    ("", SyntaxError),
    ("1+", SyntaxError),
    ("(1", SyntaxError),
    ("1)", SyntaxError),
    ("'x'", SyntaxError),
    ("1/0", ZeroDivisionError),
    ("007", SyntaxError),
    ("1__0", NameError),
    ("9**9**9", SyntaxError),
    ("1" * (LONGEST + 1), ValueError),
    ("(" * 150, SyntaxError),
]


@pytest.mark.parametrize(("text", "kind"), WRONG, ids=[one[0][:20] or "nothing" for one in WRONG])
def test_wrong(text, kind):
    """The kind of error that Fail2ban's client would be told of."""
    with pytest.raises(kind):
        seconds(text)


@given(st.text("0123456789.+-*/%() dhmswy_ex", max_size=40))
def test_any_text(text):
    """A number, or one of the errors that clients are told of."""
    with contextlib.suppress(ValueError, NameError, SyntaxError, ZeroDivisionError, OverflowError):
        assert isinstance(seconds(text), int | float)


def test_as_the_installed_one(debian_client):
    """Fail2ban's own client gives the same."""
    for text, _ in SPANS[::4] + SPANS[15:23]:
        done = subprocess.run([debian_client, "--str2sec", str(text)], capture_output=True, text=True, check=True)
        assert done.stdout == f"{seconds(text)}\n"
