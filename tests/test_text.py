"""What strangers write, shown."""

import pytest

from sipguard.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("üñí", "üñí"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\r\t\0", "a\\nb\\r\\t\\x00"),
        ("\u202eltr", "\\u202eltr"),
        ("\udcff", "\\udcff"),
    ],
)
def test_printable(text, shown):
    """Nothing that a terminal could obey gets through."""
    assert printable(text) == shown


def test_cut():
    """A limit keeps an attacker's 100 KB off the screen."""
    assert printable("x" * 300, 200) == "x" * 200 + "…"
