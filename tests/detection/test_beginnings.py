"""What is concluded from how a line begins holds for every line that begins so."""

from __future__ import annotations

import re

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from sipguard.detection.beginnings import (
    behind,
    is_digit_blind,
    optional_groups,
)
from sipguard.detection.expressions import Expression


@pytest.mark.parametrize(
    ("source", "lead", "expected"),
    [
        pytest.param(r"^\[\] (a)\1", "[", r"\] (a)\1", id="a bracket"),
        pytest.param(r"^ab?c", "", "ab?c", id="nothing before the date"),
        pytest.param(r"^\[?a", "[", None, id="a bracket that need not be there"),
        pytest.param(r"^\[{2}a", "[", None, id="two brackets"),
        pytest.param(r"^a|b", "", None, id="either"),
        pytest.param(r"^\[a|b", "[", None, id="either, behind a bracket"),
        pytest.param(r"ab", "", None, id="anywhere"),
        pytest.param(r"^xa", "[", None, id="another beginning"),
        pytest.param(r"^\ba", "", None, id="asks what stands before"),
        pytest.param(r"^(?<=x)a", "", None, id="looks back"),
        pytest.param(r"^(?:x|(?<=x))a", "", None, id="looks back in a branch"),
        pytest.param(r"^a(?:b?)(?<=ba)a", "", None, id="looks back too far"),
        pytest.param(r"^a(?<=a)b\b", "", r"a(?<=a)b\b", id="looks back within itself"),
        pytest.param(r"^(?:^a|b)", "", None, id="begins twice"),
        pytest.param(r"^a(?=b^)", "", None, id="begins within"),
        pytest.param(r"(?i)^ab", "", None, id="without regard to case"),
    ],
)
def test_behind(source, lead, expected):
    """What is left of a regex behind the beginning; None where it is not that."""
    assert behind(source, lead) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"^\d{4}-[0-9a-f]+ \w\S.[^x]", True),
        (r"(?:\x1b\[[\d;]*m)*(?=\d)", True),
        (r"a1", False),
        (r"[1-9]", False),
        (r"[^0]", False),
        (r"(\d)\1", False),
        (r"(?:a|b(?=[5x]))", False),
    ],
)
def test_is_digit_blind(source, expected):
    """Whether one digit is as good as another."""
    assert is_digit_blind(source) is expected


def test_optional_groups():
    """Those in branches, in repeats and in what must not follow."""
    source = r"(?P<a>x)(?P<b>y)?(?:(?P<c>z)|(?P<d>w))(?:(?P<e>v))(?!(?P<f>u))(?P<g>(?P<h>t))"
    assert optional_groups(source) == ("b", "c", "d", "f")


PIECE = st.sampled_from(
    ["a", "b", "1", "[", "]", " ", "\n", r"\d", r"\w", r"\b", r"\B", "$", ".", ".*", "[ab]*", "(?!$)", "(?=b)", "(?!a)", "(?<=a)",
     "(?<!b)", "(?:a|b1)", "(?:b|$)", "(?P<x>a?)", r"\[?", "|", r"(?:\d*a)?", r"\Z"]
)  # fmt: skip
TEXT = st.text("ab1[] 2\n", max_size=6)


def compiled(source):
    """The regex; None where it is none."""
    try:
        return Expression(source)
    except ValueError:
        return None


@examples(300)
@given(pieces=st.lists(PIECE, min_size=1, max_size=5), anchored=st.booleans(), head=TEXT, rest=TEXT)
def test_conclusions_hold(pieces, anchored, head, rest):
    """Nothing that follows, and no other digit, changes what was concluded."""
    expression = compiled(("^" if anchored else "") + "".join(pieces))
    if expression is None:
        return
    found = expression.plain(head + rest) is not None
    if expression.is_found_behind(head):
        assert found
    if expression.is_never_behind(head):
        assert not found
    if is_digit_blind(expression.source):
        assert (expression.plain((head + rest).replace("1", "7")) is not None) is found


@pytest.mark.filterwarnings("ignore:Possible nested set")
@examples(300)
@given(pieces=st.lists(PIECE, min_size=1, max_size=5), lead=st.sampled_from(["", "[", "a"]), date=TEXT, rest=TEXT)
def test_behind_is_the_same_regex(pieces, lead, date, rest):
    """It matches behind a date as the whole regex matches the line without the date."""
    source = "^" + re.escape(lead) + "".join(pieces)
    if compiled(source) is None or (left := behind(source, lead)) is None:
        return
    whole = re.compile(source).search(lead + rest)
    part = re.compile(left).match(lead + date + rest, len(lead + date))
    assert (whole is None) is (part is None)
    if whole is not None and part is not None:
        assert whole.groups() == part.groups()
        assert len(lead) + part.end() - part.start() == whole.end()
