"""`replay` of hostile records: who wrote them is counted, and the address that they name is not."""

from __future__ import annotations

import pytest
import regex
from annotations import ROOT
from test_sip_replay import counted, replay

from sipguard.detection.expressions import expression
from sipguard.detection.record_rule import in_bytes

NAMED = "192.0.2.99"
"""It never sent a packet."""
RIGHT = {
    "fold": ("freeswitch", {"203.0.113.70": 5, "203.0.113.71": 3, "203.0.113.72": 3}),
    "asterisk-security": ("asterisk", {"203.0.113.77": 6, "203.0.113.78": 6, "203.0.113.79": 6}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_who_wrote_them_is_counted(name):
    """Folded guesses ban nobody else; six characters in a Call-ID, and a control byte, hide no guess."""
    jail, right = RIGHT[name]
    rows, _ = replay(jail, ROOT / "fixtures" / "records" / f"{name}.log")
    assert NAMED not in rows
    assert counted(rows) == right


class Halting:
    """In place of a pattern: one of all its searches meets a machine that stands still, on which its time runs out."""

    searches = halted = 0

    def __init__(self, pattern):
        self._pattern = pattern

    def __getattr__(self, name):
        return getattr(self._pattern, name)

    def _before(self, timeout):
        Halting.searches += timeout is not None
        if timeout is not None and Halting.searches == Halting.halted:
            raise TimeoutError

    def search(self, *arguments, timeout=None):
        self._before(timeout)
        return self._pattern.search(*arguments, timeout=timeout)

    def match(self, *arguments, timeout=None):
        self._before(timeout)
        return self._pattern.match(*arguments, timeout=timeout)

    def finditer(self, *arguments, timeout=None):
        self._before(timeout)
        yield from self._pattern.finditer(*arguments, timeout=timeout)


@pytest.fixture
def halting(monkeypatch):
    """Whatever is compiled from now on is `Halting`."""
    compiled = regex.compile
    with monkeypatch.context() as patched:
        patched.setattr(regex, "compile", lambda *arguments, **options: Halting(compiled(*arguments, **options)))
        for cache in (expression, in_bytes):
            cache.cache_clear()
        yield
    Halting.halted = 0
    for cache in (expression, in_bytes):
        cache.cache_clear()


@pytest.mark.parametrize("name", RIGHT)
def test_a_machine_that_stands_still_hides_and_frames_nobody(name, halting):
    """Whichever search it is whose time has run out for no fault of its own."""
    jail, right = RIGHT[name]
    number = tried = 1
    while number <= tried:
        Halting.searches, Halting.halted = 0, number
        rows, _ = replay(jail, ROOT / "fixtures" / "records" / f"{name}.log")
        assert counted(rows) == right, f"halted in search {number} of {tried}"
        number, tried = number + 1, max(tried, Halting.searches)
    assert tried > 10
