"""Texts in bytes: every way to look for them finds the same lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.detection.search import Find, Scan


@given(
    texts=st.lists(
        st.sampled_from([b"ab", b"abc", b"b", b"[x] ", b"\x00", b"(a"]), min_size=1, max_size=4, unique=True
    ),
    pieces=st.lists(st.sampled_from([b"a", b"b", b"c", b"\n", b"[x] ", b"(", b"\x00", b"abc"]), max_size=60),
)
def test_both_find_the_same_lines(texts, pieces):
    """Hyperscan and `bytes.find`: each line that holds a text, and no other, in order."""
    pytest.importorskip("hyperscan", reason="the package hyperscan (the extra `fast`) is not installed")
    data = b"".join(pieces)
    wanted = [number for number, line in enumerate(data.split(b"\n")) if any(text in line for text in texts)]
    for search in (Find(), Scan()):
        search.prepare(texts)
        places = search.places(data)
        assert places == sorted(places)
        assert sorted({data.count(b"\n", 0, place) for place in places}) == wanted
