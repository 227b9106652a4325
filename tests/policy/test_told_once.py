"""Log and events of one server: what both tell counts once, whatever the log's clock."""

from __future__ import annotations

import pytest

from sipguard.model import Failure, Filter
from sipguard.policy.lag import by_zones
from sipguard.policy.told_once import HELD, ToldOnce

NOW = 1_000_000.0
FILTER = Filter("demo", ("<HOST>",))
ONE, OTHER = "192.0.2.66", "192.0.2.67"


def told(address, time):
    """A failure."""
    return Failure(address, time)


@pytest.mark.parametrize("lag", [0.0, 3600.0, -7200.0, 900.0])
@pytest.mark.parametrize("since", [NOW - 60, NOW + 0.5])
def test_once_in_any_zone(lag, since):
    """Also in the second in which the events begin, whose lines may be of before."""
    one = ToldOnce(FILTER)
    one.begin(since)
    assert one.event_counts(told(ONE, NOW), NOW)
    assert not one.from_log(told(ONE, NOW - lag), NOW + 0.1, live=True)
    assert one.end(NOW + 1) == []


@pytest.mark.parametrize("time", [None, NOW + 5000, NOW + 3600, NOW])
def test_what_was_held_long_ago_does_not_count_at_the_end(time):
    """Of lines without a time, or with one to come: what was told days ago is no attack of now."""
    one = ToldOnce(FILTER)
    one.begin(NOW - 60)
    assert not one.from_log(told(ONE, time), NOW, live=True)
    late = NOW + 86_400
    assert not one.from_log(told(OTHER, late), late, live=True)
    assert [failure.host for failure in one.end(late + HELD - 1)] == [OTHER]


def test_an_old_line_that_is_read_late():
    """What a log has told before the events began counts, be it an hour old by its own clock."""
    one = ToldOnce(FILTER)
    one.begin(NOW - 60)
    assert one.from_log(told(ONE, NOW - 3600), NOW)
    assert one.from_log(told(ONE, NOW - 300), NOW, live=True)


@pytest.mark.parametrize(
    ("behind", "zone"), [(0, 0), (59, 0), (3600, 3600), (3655, 3600), (-5400, -5400), (400, 0), (30 * 3600, 0)]
)
def test_zones(behind, zone):
    """Multiples of a quarter of an hour, as far as zones are apart."""
    assert by_zones(NOW - behind, NOW) == zone
