"""A clock that was set: what is behind lies as far behind as before, wherever policy keeps a time."""

import pytest

from sipguard.model import Challenge, Failure, Filter, Jail, Success
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.judge import Judge, Outcome
from sipguard.policy.wire import SCAN

ADDRESS = "203.0.113.66"
HOUR = 3600.0


def judge(now, **options):
    """One of a jail whose filter knows attempts, users and challenges."""
    filter_ = Filter("x", (r"^x <ADDR>$",), options={"attempt_window": "2", "successregex": "x", **options})
    jail = Jail("x", filter_, maxretry=2, findtime=600.0, maxusers=2)
    return Judge(jail, IgnoreList(()), clock=lambda: now[0], banned=())


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_every_time_moves(step):
    """Counts, copies of one request, logins that excuse, and challenges that nobody answers."""
    now = [1_000_000.0]
    one = judge(now)
    probe = {"session": "a", "once": "1", "probe": ""}
    assert one.consider(Failure(ADDRESS, now[0], tags=probe)).outcome is Outcome.COUNTED
    one.welcome(Success("203.0.113.7", now[0], user="1000"))
    one.challenge(Challenge("203.0.113.8", now[0], user="1000"))
    now[0] += step
    one.shift(step)
    answer = {"session": "a", "answer": "wrong"}
    assert one.consider(Failure(ADDRESS, now[0] + 1, tags=answer)).outcome is Outcome.REPEATED
    assert one.window.count(ADDRESS, now[0]) == 1
    assert one._logins.knows("203.0.113.7", now[0] + 1)
    assert one.overdue() == []
    now[0] += 3
    assert [failure.host for failure in one.overdue()] == ["203.0.113.8"]


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_calls_to_nowhere(step):
    """They count on."""
    now = [1_000_000.0]
    one = Judge(
        Jail("sip", Filter("sip", ()), source="wire", mode="scan", maxretry=2),
        IgnoreList(()),
        clock=lambda: now[0],
        banned=(),
    )
    scan = Failure(ADDRESS, None, tags={SCAN: ""}, evidence="unproven")
    assert one.consider(scan).outcome is Outcome.COUNTED
    now[0] += step
    one.shift(step)
    assert one.consider(scan).outcome is Outcome.BAN
