"""Dates that are read again: what is known of the last line gives what a fresh look at the line would give."""

from __future__ import annotations

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from sipguard.detection.certain_dates import AmbiguousDateError, CertainDates
from sipguard.detection.datefields import zone_of
from sipguard.detection.dates import DateFinder

NOW = 1795300000.0
PATTERNS = [
    None,
    "{^LN-BEG}",
    r"^%%Y-%%m-%%d %%H:%%M:%%S\.%%f\s".replace("%%", "%"),
    r"^(?:x )?(%Y-%m-%d %H:%M:%S(?:\.%f)?\s)\n^%Y-%m-%d %H:%M:%S\.%f%z\s".replace("\\n", "\n"),
    r"^%b %d %H:%M:%S(?: %ExY)?",
    r"^%H:%M:%S",
    r"^%Y-%m-%d %H:%M:%S(?= \[ok\])",
]
PIECE = st.sampled_from(
    ["2026-11-21 ", "2026-11-22 ", "Nov 21 ", "[", "] ", "20:00:", "20:01:", "00", "01", "59", "60", "7", ".", ".402258",
     ".4022", " ", " +0200 ", " 2026 ", " 1999 ", "x ", " [ok]", " [WARNING] a", "\u0665\u0665", "98.53% ", ""]
)  # fmt: skip


def look(dates, line):
    """What is cut out and when that is; or that it cannot be told."""
    again = dates.again(line)
    if again is not None:
        return again[:2], again[2]
    try:
        match = dates.find(line)
    except AmbiguousDateError:
        return "ambiguous"
    return None if match is None else (match.span(1), dates.time_of(match))


@examples(12)
@given(lines=st.lists(st.lists(PIECE, max_size=8).map("".join), min_size=2, max_size=8))
@pytest.mark.parametrize("pattern", PATTERNS)
def test_as_a_fresh_look(pattern, lines):
    """Lines alike and unlike, one after another, by one that remembers and by one for each line that does not."""

    def fresh():
        clock = lambda: NOW  # noqa: E731
        return CertainDates(DateFinder(pattern, clock=clock, zone=zone_of("UTC"), time_limit=5), clock)

    remembers = fresh()
    for line in [again for each in lines for again in (each, each)]:
        assert look(remembers, line) == look(fresh(), line), line


def test_it_remembers():
    """What stands behind may differ, and so may the date, if no other pattern finds one and it is in the same place."""
    clock = lambda: NOW  # noqa: E731
    finder = DateFinder(r"^%Y-%m-%d %H:%M:%S\.%f\s", clock=clock, zone=zone_of("UTC"), time_limit=5)
    dates = CertainDates(finder, clock)
    assert dates.find("2026-11-21 20:00:01.402258 98.53% [WARNING]")
    first = dates.when
    assert dates.again("2026-11-21 20:00:07.000001 12.00% [INFO]")[:2] == (0, 27)
    assert dates.when == first + 6
    assert dates.again("2026-11-21 20:01:01.4022 ")[:2] == (0, 25)
    assert dates.when == first + 60
    for other in (
        "2026-11-31 20:01:01.402258 ",
        " 2026-11-21 20:00:01.402258 ",
        "2026-11-21 20:00:01.40225\u0665 ",
        "2026",
    ):
        assert dates.again(other) is None, other


def test_what_it_remembers_ends_with_the_hour():
    """A date without a year means another one when the clock has gone on."""
    now = [NOW]
    finder = DateFinder(r"^%b %d %H:%M:%S", clock=lambda: now[0], zone=zone_of("UTC"), time_limit=5)
    dates = CertainDates(finder, lambda: now[0])
    line = "Nov 23 10:00:00 x"
    assert dates.find(line)
    assert dates.again(line)
    first = dates.when
    now[0] += 300 * 86_400
    assert dates.again(line)
    assert dates.when == first + 365 * 86_400
    now[0] += 300 * 86_400
    assert dates.again(line)
    assert dates.when == first + 730 * 86_400
