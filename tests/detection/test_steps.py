"""The bound on backtracking: what may go without a time limit, and what a regex needs in every text that it matches."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.detection.literals import needs, single
from sipguard.detection.prefilter import is_ascii_based
from sipguard.detection.steps import safe_length


@pytest.mark.parametrize(
    ("source", "low", "high"),
    [
        pytest.param(r"^plain text$", 64_000, 64_000, id="plain"),
        pytest.param(r'^a "[^"]*" b$', 64_000, 64_000, id="what ends a repeat is not in it"),
        pytest.param(r"^x.*y$", 2000, 64_000, id="one repeat"),
        pytest.param(r"^x.*y.*z$", 500, 16_000, id="two repeats"),
        pytest.param(r".*a.*b.*c.*d", 0, 300, id="four repeats, anywhere"),
        pytest.param(r"^(a+)+$", 0, 0, id="nested"),
        pytest.param(r"^(?:a|a)*$", 0, 0, id="two ways at every step"),
        pytest.param(r"^(?:a?){40}b", 0, 0, id="forty choices"),
        pytest.param(r"^(?:\w+\s?)*$", 0, 0, id="words"),
        pytest.param(r"(?i)^plain", 0, 0, id="without regard to case"),
    ],
)
def test_safe_length(source, low, high):
    """Regexes that explode are given a limit at any length."""
    assert low <= safe_length(source) <= high


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("^abc def$", "abc def"),
        ("^(?P<x>abc) def", "abc def"),
        ("a(?:bcd)?efg", "efg"),
        ("(?:abcd|efgh)", ""),
        ("(?i)abcd", ""),
        (r"\d+abc\.c:\d+longer text", "longer text"),
        ("(?:abcdef)*x", ""),
        ("(?:abcdef){2}", "abcdef"),
        (r"abc\nlonger", "longer"),
        ("(?!abcdef)x", ""),
        ("äöüabc", "abc"),
    ],
)
def test_single(source, text):
    """The longest text that must be there."""
    assert single(needs(source)) == text


PARTS = st.sampled_from(
    ["abc", "(?:abc|de)", "x*", ".+", "[ab]", "(?i:key)", "(?:fgh)?", "(?=abc)", r"\d", "(?P<n>ijk)"]
)


@given(
    source=st.lists(PARTS, min_size=1, max_size=5, unique=True).map("".join),
    text=st.text("abcdefghijkKEYkey1x", max_size=30),
)
def test_what_matches_holds_what_is_needed(source, text):
    """No match without one text of each need."""
    if re.search(source, text):
        for need in needs(source):
            assert any(each.text in (text.lower() if each.folded else text) for each in need)


@pytest.mark.parametrize(
    ("encoding", "is_based"),
    [("utf-8", True), ("iso8859-1", True), ("cp1252", True), ("koi8-r", True), ("utf-16", False), ("cp037", False)],
)
def test_encodings(encoding, is_based):
    """Texts are looked for as bytes only where ASCII is ASCII."""
    assert is_ascii_based(encoding) is is_based
