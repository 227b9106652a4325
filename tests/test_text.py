"""What strangers write, shown."""

import pytest

from sipguard.text import in_words, printable


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


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("4 failures within 600 s", "4 failures within 10 minutes"),
        ("1 failure within 60 s", "1 failure within 1 minute"),
        ("3 failures within 90 s", "3 failures within 90 seconds"),
        ("5 failures within 3600 s", "5 failures within 1 hour"),
        ("9 calls to nowhere within 172800 s", "9 calls to nowhere within 2 days"),
        ("5 failures within 0.5 s", "5 failures within 0.5 s"),
        ("5 failures within 0 s", "5 failures within 0 s"),
        ("said: 5 failures within 600 s", "said: 5 failures within 600 s"),
    ],
)
def test_reasons_in_words(reason, words):
    """What sipguard gives as a reason; what somebody wrote stays."""
    assert in_words(reason) == words
