"""Texts in bytes: every way to look for them finds the same lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.detection.candidates import Find, Search

TEXTS = st.lists(
    st.sampled_from([b"ab", b"abc", b"b", b"[x] ", b"\x00", b"(a", b"ca", b"\xff"]), min_size=1, max_size=8, unique=True
)
PIECES = st.sampled_from([b"a", b"b", b"c", b"\n", b"\n", b"[x] ", b"(", b"\x00", b"abc", b"{", b"A", b"\xff"])


@given(texts=TEXTS, pieces=st.lists(PIECES, max_size=60), folded=st.booleans(), json=st.booleans())
@pytest.mark.parametrize("finder", [Find, Search])
def test_each_finds_its_lines(finder, texts, pieces, folded, json):
    """Each line that holds a text, or begins with a brace where that is asked, and no other, in order, from any line on."""
    data = b"".join(pieces) + b"\n"
    lines = data.split(b"\n")[:-1]
    texts = [text.lower() for text in texts] if folded else texts
    search = finder()
    search.prepare(texts, folded=folded, json=json)
    begins, wanted, begin = [], [], 0
    for line in lines:
        begins.append(begin)
        if any(text in (line.lower() if folded else line) for text in texts) or (json and line.startswith(b"{")):
            wanted.append(begin)
        begin += len(line) + 1
    next_line = search.lines(data)
    for begin in begins:
        assert next_line(begin) == min([place for place in wanted if place >= begin], default=len(data))
