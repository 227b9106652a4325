"""Attempts a second, out of counters."""

import pytest

from sipguard.top.rates import Rates


def overview(now, failures, bans=0, since=1.0, logs=("a.log",)):
    """What the daemon tells of one jail."""
    totals = {"failures": failures, "bans": bans}
    return {"now": now, "since": since, "jails": [{"name": "one", "logs": dict.fromkeys(logs), "totals": totals}]}


def test_a_rate_is_that_of_the_last_ten_seconds():
    """What was counted before the first look is not new."""
    rates = Rates()
    for second in range(30):
        rates.look(overview(100.0 + second, 1000 + 5 * second, second // 10))
    assert rates.a_second(129.0) == (5.0, pytest.approx(0.1))


def test_counters_that_begin_anew_are_not_negative():
    """A jail that was made again, and a daemon that was started again."""
    rates = Rates()
    rates.look(overview(100.0, 1000))
    rates.look(overview(101.0, 3))
    assert rates.a_second(101.0)[0] == pytest.approx(0.3)
    rates.look(overview(102.0, 900, since=2.0))
    assert rates.a_second(102.0)[0] == pytest.approx(0.3)


def test_the_picture_has_a_bar_for_each_part_of_a_minute():
    """The newest is the last; it is never higher than the highest."""
    rates = Rates()
    for second in range(60):
        rates.look(overview(100.0 + second, max(0, second - 50) * 10))
    bars = rates.bars(159.0, 12)
    assert len(bars) == 12
    assert bars[:10] == "▁" * 10
    assert bars[-1] == "█"
