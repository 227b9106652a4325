"""Dates that are read again: what is known of the last line gives what a fresh look at the line would give."""

from __future__ import annotations

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from sipguard.detection.certain import AmbiguousDateError, CertainDates
from sipguard.detection.datefields import zone_of
from sipguard.detection.dates import DateFinder
from sipguard.detection.steps import looks_ahead, width_behind

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
        return again, dates.time_of(None)
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
    """Seconds, fractions and what stands far behind may differ; nothing else may."""
    clock = lambda: NOW  # noqa: E731
    finder = DateFinder(r"^%Y-%m-%d %H:%M:%S\.%f\s", clock=clock, zone=zone_of("UTC"), time_limit=5)
    dates = CertainDates(finder, clock)
    assert dates.find("2026-11-21 20:00:01.402258 98.53% [WARNING]")
    first = dates.when
    assert dates.again("2026-11-21 20:00:07.000001 12.00% [INFO]") == (0, 27)
    assert dates.when == first + 6
    for other in ("2026-11-21 20:01:01.402258 ", "2026-11-21 20:00:01.40225 ", "2026-11-21 20:00:61.402258 ", "2026"):
        assert dates.again(other) is None, other


@pytest.mark.parametrize(
    ("source", "ahead"),
    [
        ("abc", 0),
        ("abc$", 2),
        (r"a(?=\b|\W|$)", 3),
        ("a(?:b(?!cde))?", 3),
        (r"(?P<x>[-/])a(?P=x)", 0),
        ("a(?=.*b)", 1 << 20),
    ],
)
def test_looks_ahead(source, ahead):
    """How far behind its match a regex asks."""
    assert looks_ahead(source) >= ahead
    assert ahead > 100 or looks_ahead(source) == ahead


@pytest.mark.parametrize(
    ("source", "width"),
    [
        (r"^((?P<d>\d+) (?P<f>\d+)\s)", 1),
        (r"(?P<f>\d+)", 0),
        (r"(?P<f>\d+)(?: z)?", None),
        (r"(?:(?P<f>\d+) )?x", None),
        ("abc", None),
    ],
)
def test_width_behind(source, width):
    """What follows a group always has one length, or it is not told."""
    assert width_behind(source, "f") == width
