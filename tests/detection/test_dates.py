"""Dates: every directive, the usual formats, what is left out, zones, and which of several patterns wins."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.detection.datefields import offset_minutes, zone_of
from sipguard.detection.dateformats import date_format, plausible_years
from sipguard.detection.dates import DateFinder
from sipguard.errors import ConfigError

NOW = datetime(2026, 11, 21, 20, 18, tzinfo=UTC).timestamp()


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def finder(pattern=None, zone="UTC", clock=None):
    return DateFinder(pattern, clock=clock or Clock(), zone=zone_of(zone), time_limit=0.2)


def read(dates, line):
    """The text that is cut out, and the date as UTC text."""
    match = dates.find(line)
    if match is None:
        return None
    when = dates.time_of(match)
    return match[1], None if when is None else datetime.fromtimestamp(when, UTC).isoformat()


DIRECTIVES = [
    ("%Y-%m-%d", "2025-3-07", "2025-03-07T00:00:00"),
    ("%ExY-%Exm-%Exd", "2025-03-07", "2025-03-07T00:00:00"),
    ("%ExY-%Exm-%Exd", "2025-3-07", None),
    ("%ExY", "1999", None),
    ("%y%m%d", "250307", "2025-03-07T00:00:00"),
    ("%Exy%Exm%Exd", "250307", "2025-03-07T00:00:00"),
    ("%Y %b %d", "2025 MAR  7", "2025-03-07T00:00:00"),
    ("%Y %B %d", "2025 march 7", "2025-03-07T00:00:00"),
    ("%a %Y-%m-%d", "Fri 2025-03-07", "2025-03-07T00:00:00"),
    ("%A %Y-%m-%d", "Friday 2025-03-07", "2025-03-07T00:00:00"),
    ("%Y-%j", "2025-066", "2025-03-07T00:00:00"),
    ("%Y %U %w", "2025 09 5", "2025-03-07T00:00:00"),
    ("%Y %W %a", "2025 09 Fri", "2025-03-07T00:00:00"),
    ("%Y-%m-%d %H:%M:%S", "2025-03-07 23:59:01", "2025-03-07T23:59:01"),
    ("%Y-%m-%d %ExH:%ExM:%ExS", "2025-03-07 9:59:01", None),
    ("%Y-%m-%d%k:%M", "2025-03-07 9:59", "2025-03-07T09:59:00"),
    ("%Y-%m-%d%Exk:%M", "2025-03-07 9:59", "2025-03-07T09:59:00"),
    ("%Y-%m-%d%l:%M %p", "2025-03-07 9:59 pm", "2025-03-07T21:59:00"),
    ("%Y-%m-%d%Exl:%M %p", "2025-03-07 9:59 AM", "2025-03-07T09:59:00"),
    ("%Y-%m-%d %I:%M %p", "2025-03-07 12:00 am", "2025-03-07T00:00:00"),
    ("%Y-%m-%d %I:%M %p", "2025-03-07 12:00 pm", "2025-03-07T12:00:00"),
    ("%Y-%m-%d %S.%f", "2025-03-07 01.999999", "2025-03-07T00:00:01"),
    ("%c", "Fri Mar  7 23:59:01 2025", "2025-03-07T23:59:01"),
    ("%x %X", "03/07/25 23:59:01", "2025-03-07T23:59:01"),
    ("%Y-%m-%d %H %z", "2025-03-07 12 +0130", "2025-03-07T10:30:00"),
    ("%Y-%m-%d %H %z", "2025-03-07 12 -01:30", "2025-03-07T13:30:00"),
    ("%Y-%m-%d %H %z", "2025-03-07 12 -02", "2025-03-07T14:00:00"),
    ("%Y-%m-%d %H%z", "2025-03-07 12Z", "2025-03-07T12:00:00"),
    ("%Y-%m-%d %H %Z", "2025-03-07 12 CET", "2025-03-07T11:00:00"),
    ("%Y-%m-%d %H %Exz", "2025-03-07 12 CET+0100", "2025-03-07T10:00:00"),
    ("%Y-%m-%d %H %ExZ", "2025-03-07 12 B", "2025-03-07T10:00:00"),
    ("100%% %Y-%m-%d", "100% 2025-03-07", "2025-03-07T00:00:00"),
    ("^<{DATE}>", "<2025-03-07 01:02:03>", "2025-03-07T01:02:03"),
    ("EPOCH", "1741305600 x", "2025-03-07T00:00:00"),
    ("EPOCH", "[1741305600] x", "2025-03-07T00:00:00"),
    ("Epoch", "audit(1741305600.123:45)", "2025-03-07T00:00:00.123000"),
    ("{^LN-BEG}Epoch", "1741305600.5 x", "2025-03-07T00:00:00"),
    ("{^LN-BEG}Epoch", "1741305600.500 x", "2025-03-07T00:00:00.500000"),
    ("LEPOCH", "1741305600500 x", "2025-03-07T00:00:00.500000"),
    ("LEPOCH", "1741305600500000 x", "2025-03-07T00:00:00.500000"),
    ("^t={EPOCH},", "t=1741305600, x", "2025-03-07T00:00:00"),
    ("^t={LEPOCH},", "t=1741305600500, x", "2025-03-07T00:00:00.500000"),
    (r"^\[({EPOCH})\] x", "[1741305600] x", "2025-03-07T00:00:00"),
    (r"(?P<x>a) {EPOCH}", "a 1741305600", "2025-03-07T00:00:00"),
    ("{^LN-BEG}{DATE}", "1741305600 x", "2025-03-07T00:00:00"),
    ("^{DATE}", "@4000000067ca37000000000a x", "2025-03-07T00:00:00"),
    ("<{DATE}>", "<1741305600>", None),
    (r"(at\(?x) %Y-%m-%d", "at(x 2025-03-07", "2025-03-07T00:00:00"),
    ("TAI64N", "@4000000067ca37000000000a x", "2025-03-07T00:00:00"),
    ("{UNB}%Y%m%d", "a20250307b", "2025-03-07T00:00:00"),
    ("%Y%m%d", "a20250307b", None),
    ("**%Y%m%d**", "a20250307b", "2025-03-07T00:00:00"),
    ("{^LN-BEG}%Y%m%d", "[20250307] b", "2025-03-07T00:00:00"),
    ("{^LN-BEG}%Y%m%d", "ab 20250307 b", None),
    ("{*WD-BEG}%Y%m%d", "ab 20250307 b", "2025-03-07T00:00:00"),
    ("^%Y%m%d", "20250307 b", "2025-03-07T00:00:00"),
]


@pytest.mark.parametrize(
    ("pattern", "line", "expected"), DIRECTIVES, ids=[f"{case[0]} {case[1]}".replace("::", ":") for case in DIRECTIVES]
)
def test_directive(pattern, line, expected):
    """Each directive reads what it should, and nothing else."""
    found = read(finder(pattern), line)
    assert (found and found[1]) == (expected and expected + "+00:00")


USUAL = [
    ("2026-11-21 21:23:40.822263 [W]", "2026-11-21 21:23:40.822263", "2026-11-21T21:23:40"),
    (
        "0d0e1f2a-1111-2222-3333-444455556666 2026-11-21 21:23:40.822263 [W]",
        "2026-11-21 21:23:40.822263",
        "2026-11-21T21:23:40",
    ),
    ("[Nov 21 10:20:30] NOTICE", "Nov 21 10:20:30", "2026-11-21T10:20:30"),
    ("[2026-01-15 10:20:30.123] x", "2026-01-15 10:20:30.123", "2026-01-15T10:20:30"),
    ("Nov  1 21:23:40 pbx x", "Nov  1 21:23:40", "2026-11-01T21:23:40"),
    ("2026-11-21T21:23:40.836744+00:00 pbx", "2026-11-21T21:23:40.836744+00:00", "2026-11-21T21:23:40"),
    ('{"timestamp":"2026-01-15 10:20:30","x":1}', "2026-01-15 10:20:30", "2026-01-15T10:20:30"),
    ('EventTV="2026-01-15T10:20:30.123+0100"', "2026-01-15T10:20:30.123+0100", "2026-01-15T09:20:30"),
    ("Sun Jan 23 21:59:59.011 2005 x", "Sun Jan 23 21:59:59.011 2005", "2005-01-23T21:59:59"),
    ("Sun Jan 23 2005 21:59:59.011 x", "Sun Jan 23 2005 21:59:59.011", "2005-01-23T21:59:59"),
    ("23/01/2005 21:59:59 x", "23/01/2005 21:59:59", "2005-01-23T21:59:59"),
    ("23/01/05 21:59:59 x", "23/01/05 21:59:59", "2005-01-23T21:59:59"),
    ("[31/Oct/2006:09:22:55 -0100] x", "31/Oct/2006:09:22:55 -0100", "2006-10-31T10:22:55"),
    ("05/20/2008:01:57:39 x", "05/20/2008:01:57:39", "2008-05-20T01:57:39"),
    ("01-27-2012 16:22:44.252 x", "01-27-2012 16:22:44.252", "2012-01-27T16:22:44"),
    ("1741305600 x", "1741305600", "2025-03-07T00:00:00"),
    ("<09/16/08@05:03:30> x", "<09/16/08@05:03:30>", "2008-09-16T05:03:30"),
    ("130322 11:46:11 x", "130322 11:46:11", "2013-03-22T11:46:11"),
    ("Jul 06, 2013 3:37:29 PM x", "Jul 06, 2013 3:37:29 PM", "2013-07-06T15:37:29"),
    ("Apr-27-13 02:33:06 x", "Apr-27-13 02:33:06", "2013-04-27T02:33:06"),
    ("20050123T215959 x", "20050123T215959", "2005-01-23T21:59:59"),
    ("20050123-21:59:59 x", "20050123-21:59:59", "2005-01-23T21:59:59"),
    ("PDT Apr 16 21:05:29 x", "PDT Apr 16 21:05:29", "2026-04-17T04:05:29"),
    ("+02:00 Jan 23 21:59:59 2005", "+02:00 Jan 23 21:59:59 2005", "2005-01-23T19:59:59"),
    ("@4000000067ca37000000000a x", "@4000000067ca37000000000a", "2025-03-07T00:00:00"),
    ("20:17:59 x", "20:17:59", "2026-11-21T20:17:59"),
]


@pytest.mark.parametrize(("line", "text", "expected"), USUAL, ids=[case[1] for case in USUAL])
def test_usual_format(line, text, expected):
    """The date detector knows the formats of common logs, and cuts out the date alone."""
    assert read(finder(), line) == (text, expected + "+00:00")
    assert read(finder("{DEFAULT}"), line) == (text, expected + "+00:00")


LEFT_OUT = [
    ("day-ahead", "Nov 22 20:17:59", "2026-11-22T20:17:59"),
    ("more-than-a-day-ahead", "Nov 22 20:18:01", "2025-11-22T20:18:01"),
    ("last-year", "Dec 31 23:59:59", "2025-12-31T23:59:59"),
    ("leap-day", "Feb 29 12:00:00", None),
    ("february-30", "2026-02-30 12:00:00", None),
    ("second-61", "2026-02-03 12:00:61", None),
    ("today", "20:18:00 x", "2026-11-21T20:18:00"),
    ("yesterday", "20:18:01 x", "2026-11-20T20:18:01"),
]


@pytest.mark.parametrize(("line", "expected"), [case[1:] for case in LEFT_OUT], ids=[case[0] for case in LEFT_OUT])
def test_left_out(line, expected):
    """Without a year it is this or the last one; without a day, today or yesterday; what is no date has no time."""
    found = read(finder(), line)
    assert found is not None
    assert found[1] == (None if expected is None else expected + "+00:00")


def test_cached_answer_follows_the_clock():
    """The same text means another year, or another day, once the clock has moved on (or back)."""
    clock = Clock()
    dates = finder(clock=clock)
    assert read(dates, "Nov 23 00:00:00 x") == ("Nov 23 00:00:00", "2025-11-23T00:00:00+00:00")
    clock.now = datetime(2026, 11, 22, 0, 0, 1, tzinfo=UTC).timestamp()
    assert read(dates, "Nov 23 00:00:00 x") == ("Nov 23 00:00:00", "2026-11-23T00:00:00+00:00")
    clock.now = NOW
    assert read(dates, "Nov 23 00:00:00 x") == ("Nov 23 00:00:00", "2025-11-23T00:00:00+00:00")
    clock.now = datetime(2028, 1, 1, 1, 0, 0, tzinfo=UTC).timestamp()
    assert read(dates, "Nov 23 00:00:00 x") == ("Nov 23 00:00:00", "2027-11-23T00:00:00+00:00")


def test_fraction_does_not_matter_to_the_cache():
    """Lines of one second give one time, whatever their fraction; another second gives another."""
    dates = finder()
    texts = ["2026-11-21 21:23:40.1 x", "2026-11-21 21:23:40.822263 x", "2026-11-21 21:23:41.822263 x"]
    assert [read(dates, text)[1][17:19] for text in texts] == ["40", "40", "41"]


ZONES = [
    ("UTC", "2026-07-01T12:00:00"),
    ("UTC+0200", "2026-07-01T10:00:00"),
    ("GMT-0100", "2026-07-01T13:00:00"),
    ("-05:30", "2026-07-01T17:30:00"),
    ("CEST", "2026-07-01T10:00:00"),
    ("Europe/Zurich", "2026-07-01T10:00:00"),
]


@pytest.mark.parametrize(("zone", "expected"), ZONES, ids=[zone for zone, _ in ZONES])
def test_default_zone(zone, expected):
    """A date without zone is in the zone that is configured; one in the line wins."""
    assert read(finder(zone=zone), "2026-07-01 12:00:00 x")[1] == expected + "+00:00"
    assert read(finder(zone=zone), "2026-07-01 12:00:00Z x")[1] == "2026-07-01T12:00:00+00:00"


def test_zone_that_the_pattern_does_not_read(zurich):
    """Without %z in the pattern, a zone in the line is no part of the date; the machine's zone counts."""
    dates = finder("%Y-%m-%d %H:%M:%S", zone=None)
    assert read(dates, "2026-07-01 12:00:00 +0000 x") == ("2026-07-01 12:00:00", "2026-07-01T10:00:00+00:00")


@pytest.mark.parametrize("zone", ["Nowhere/City", "../etc/passwd", "UTC+99", "XYZ"])
def test_unknown_zone(zone):
    """A zone that does not exist is refused, with an example of one that does."""
    with pytest.raises(ConfigError, match="Europe/Zurich"):
        zone_of(zone)


@pytest.mark.parametrize(
    ("zone", "minutes"),
    [
        ("Z", 0),
        ("+02", 120),
        ("-0430", -270),
        ("NPT", 345),
        ("UTC+02:00", 120),
        ("utc", None),
        ("", None),
        ("QQQ", None),
    ],
)
def test_offset(zone, minutes):
    """Offsets and abbreviations, in upper case alone."""
    assert offset_minutes(zone) == minutes


@pytest.mark.parametrize(
    ("year", "taken", "refused"), [(2026, "2000 2025 2029", "1999 2030"), (2027, "2000 2030 2039", "2040")]
)
def test_plausible_years(year, taken, refused):
    """%ExY takes the decades from 2000 to three years ahead."""
    dates = plausible_years(year)
    pattern = date_format("{UNB}" + dates).pattern
    assert all(pattern.fullmatch(text) for text in taken.split())
    assert not any(pattern.fullmatch(text) for text in refused.split())


def test_date_in_the_message_does_not_win():
    """The date at the beginning counts, also when the message holds another in a format that is tried earlier."""
    dates = finder()
    line = "Nov 21 20:00:00 pbx said 2020-01-01 00:00:00"
    assert [read(dates, line)[0] for _ in range(30)] == ["Nov 21 20:00:00"] * 30


def test_same_place_wins_again():
    """Among patterns that are not anchored, the one that won last at this place is kept."""
    dates = finder()
    line = "host prog: {} said 2020-01-01 00:00:00"
    assert read(dates, line.format("Nov 21 20:00:00"))[0] == "Nov 21 20:00:00"
    assert read(dates, line.format("Nov 21 20:00:01"))[0] == "Nov 21 20:00:01"


def test_none_matches_everywhere():
    """{NONE} finds an empty date."""
    assert finder("{NONE}").find("no date").span(1) == (0, 0)
    assert finder("{NONE}").find("").span(1) == (0, 0)


@pytest.mark.parametrize(
    ("pattern", "cut"),
    [
        ("^t={EPOCH} x", "t=1741305600 x"),
        ("^t=({EPOCH}) x", "1741305600"),
        (r"^(\[{EPOCH}\]) x", "[1741305600]"),
        ("^(t|u)={EPOCH}", "t"),
    ],
)
def test_what_is_cut_out(pattern, cut):
    """The first group of the pattern, or all of it where there is none."""
    dates = finder(pattern)
    for line in ("t=1741305600 x", "[1741305600] x"):
        if match := dates.find(line):
            assert (match[1], dates.time_of(match)) == (cut, 1_741_305_600)
            return
    raise AssertionError("no date")


def test_several_patterns():
    """Several lines of datepattern are tried in turn."""
    dates = finder("%Y/%m/%d\n {NONE}\n")
    assert read(dates, "2025/03/07 x")[0] == "2025/03/07"
    assert dates.find("x").span(1) == (0, 0)


@pytest.mark.parametrize("pattern", ["%Q", "100%", "(%Y", "%Y %Y", "%Ex"])
def test_wrong_pattern(pattern):
    """A directive that does not exist, a lone percent sign and a wrong regex are refused."""
    with pytest.raises(ValueError, match=r"directive|unterminated|redefinition"):
        date_format(pattern)


@given(
    st.lists(
        st.text(max_size=60) | st.from_regex(r"\w? ?[0-9]{1,4}[-/ :][0-9a-zA-Z]{2,3}[-/ :]\d+ \d\d:\d\d:\d\d"),
        max_size=8,
    )
)
def test_no_line_raises(lines):
    """Whatever is logged, a date is found or not."""
    dates = finder()
    for line in lines:
        match = dates.find(line)
        if match is not None:
            assert dates.time_of(match) is None or dates.time_of(match) == dates.time_of(match)
