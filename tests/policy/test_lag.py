"""The times of lines that are off: which are a zone's, which are delay, and which are only read late."""

import logging

import pytest

from sipguard.model import Failure, Success
from sipguard.policy.lag import Lag

NOW = 1_795_292_280.0
HOUR = 3600.0


def ages(lag, behind, *, times=5, live=True, ended=True, step=1.0):
    """Seconds between now and the time of each event that can be weighed, after so many lines that are so late."""
    found = []
    for n in range(times):
        now = NOW + n * step
        lag.live, lag.ended = live, ended
        events = lag.correct([Failure("203.0.113.5", now - behind)], now)
        found += [round(now - event.time) for event in events]
    return found


@pytest.mark.parametrize("behind", [2 * HOUR, -2 * HOUR, 26 * HOUR, 0.25 * HOUR, 5.75 * HOUR, 2 * HOUR + 3])
def test_a_zone_is_learnt(behind, caplog):
    """From the third line on, and the first two count as well; the log says it once."""
    lag = Lag("/log", "learn", findtime=600)
    assert len(ages(lag, behind)) == 5
    assert lag.offset == round(behind / 900) * 900
    (told,) = caplog.records
    assert told.levelno == logging.WARNING
    assert "time zone" in told.getMessage()
    assert ages(lag, behind, times=1) == [round(behind - lag.offset)]


def test_lines_on_time_are_left_alone(caplog):
    """Up to a minute of delay is none."""
    lag = Lag("/log", "learn", findtime=600)
    assert ages(lag, 50) == [50] * 5
    assert (lag.offset, lag.odd, caplog.records) == (0, None, [])


def test_delay_is_no_zone(caplog):
    """20 minutes are no zone: the lines keep their time, and the log says why they do not count."""
    lag = Lag("/log", "learn", findtime=600)
    assert ages(lag, 1200) == [1200] * 5
    assert (lag.offset, lag.odd) == (0, 1200)
    (told,) = caplog.records
    assert "20 min old when they are written" in told.getMessage()


def test_what_is_read_late_teaches_nothing():
    """After a start or a rotation lines are hours old by right; with what is known already they are corrected."""
    lag = Lag("/log", "learn", findtime=600)
    assert ages(lag, 2 * HOUR, live=False) == [2 * HOUR] * 5
    ages(lag, 2 * HOUR)
    assert ages(lag, 5 * HOUR, live=False) == [3 * HOUR] * 5


def test_only_what_agrees_teaches():
    """Two of one zone and then others: nothing is learnt, nothing is lost, and all are as old as they say."""
    lag = Lag("/log", "learn", findtime=600)
    found = []
    for hours in (2, 2, 3, 3, 0, 2, 2, 0):
        found += ages(lag, hours * HOUR, times=1)
    assert sorted(found) == sorted(hours * HOUR for hours in (2, 2, 3, 3, 0, 2, 2, 0))
    assert lag.offset == 0
    ages(lag, 2 * HOUR, times=2)
    assert len(lag.release()) == 2
    assert not lag.release()


def test_a_zone_that_goes_is_unlearnt():
    """The container is mended, or summer ends: three lines later its times are right again."""
    lag = Lag("/log", "learn", findtime=600)
    ages(lag, 2 * HOUR)
    ages(lag, 0)
    assert lag.offset == 0
    assert ages(lag, 0) == [0] * 5


def test_fail2bans_way(caplog):
    """More than a minute off, in a log whose end was read: now. One word a day. Before the end was read: as it says."""
    lag = Lag("/log", "now", findtime=600)
    assert ages(lag, 1200, ended=False) == [1200] * 5
    assert ages(lag, 50) == [50] * 5
    for behind in (61, 1200, 2 * HOUR, 26 * HOUR, -3 * HOUR):
        assert ages(lag, behind, live=False) == [0] * 5
    assert len(caplog.records) == 1


def test_other_events_and_no_time():
    """A login is corrected as a failure is; what has no time stays so."""
    lag = Lag("/log", "learn", findtime=600)
    ages(lag, 2 * HOUR)
    (login,) = lag.correct([Success("203.0.113.5", NOW - 2 * HOUR)], NOW)
    assert login.time == NOW
    (dateless,) = lag.correct([Failure("203.0.113.5", None)], NOW)
    assert dateless.time is None
