"""The bound on backtracking: what may go without a time limit, and what a regex needs in every text that it matches."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.detection.encodings import is_ascii_based
from sipguard.detection.literals import needs, single


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
