"""Jails that read a log alike: it is searched once for all of them, and each counts for itself."""

import gc
from dataclasses import replace

import pytest
from annotations import FILTERS
from running import chunk, failure

from sipguard.config.filters import read_filter
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.log_detectors import SharedDetectors
from sipguard.detection.detector import Detector
from sipguard.model import Jail
from sipguard.policy.ignore import IgnoreList
from sipguard.state.changes import Changes

NOW = 1_795_294_800.0
LINES = (failure("203.0.113.66", when=NOW) * 3).encode()


@pytest.fixture
def asked(monkeypatch):
    """The paths of the detectors that were asked, in order."""
    found = []
    events = Detector.events
    monkeypatch.setattr(Detector, "events", lambda self, data: (found.append(self), events(self, data))[1])
    return found


def runners(*jails):
    """Of one daemon."""
    shared, bans = SharedDetectors(lambda: NOW), []
    made = [
        JailRunner(
            jail, ignore=IgnoreList(()), clock=lambda: NOW, decide=bans.append, reinforce=print, detectors=shared
        )
        for jail in jails
    ]
    return made, bans


def read(made, path="/log", data=LINES):
    """One chunk, and what is held back of it."""
    told, released = {}, {}
    for runner in made:
        runner.take(chunk(data, path), Changes(), told)
    for runner in made:
        runner.take(chunk(b"", path, idle=1.0), Changes(), released)


def jail(name, **options):
    """A jail for FreeSWITCH."""
    return Jail(name, read_filter("freeswitch", [FILTERS]), findtime=600, timezone="UTC", **options)


def test_equal_jails_share_one_search(asked):
    """Each with its own maxretry."""
    made, bans = runners(jail("one", maxretry=3), jail("two", maxretry=2), jail("three", maxretry=9))
    read(made)
    assert len(asked) == 1
    assert sorted(ban.jail for ban in bans) == ["one", "two"]
    assert [runner.totals.failures for runner in made] == [3, 3, 3]
    assert [runner.counts.failures for runner in made] == [3, 3, 3]


@pytest.mark.parametrize(
    "other",
    [
        {"timezone": "Europe/Berlin"},
        {"encoding": "latin-1"},
        {"filter": read_filter("freeswitch[mode=scan]", [FILTERS])},
    ],
    ids=str,
)
def test_jails_that_read_otherwise_do_not(asked, other):
    """What they would be told is not the same."""
    made, _ = runners(jail("one"), replace(jail("two"), **other))
    read(made)
    assert len(asked) == 2


def test_each_log_has_its_own(asked):
    """One is not told of the other's lines."""
    made, _ = runners(jail("one"))
    read(made, "/log")
    read(made, "/other")
    assert len(set(asked)) == 2


def test_who_comes_later_has_counted_nothing_yet():
    """A jail that a reload brings shares the detector from then on."""
    shared = SharedDetectors(lambda: NOW)
    first, second = (
        JailRunner(
            jail(name), ignore=IgnoreList(()), clock=lambda: NOW, decide=print, reinforce=print, detectors=shared
        )
        for name in ("one", "two")
    )
    read([first])
    read([first, second])
    assert (first.counts.failures, second.counts.failures) == (6, 3)
    first.leave(())
    assert (first.counts.failures, second.counts.failures) == (6, 3)


def test_one_in_which_something_went_wrong_is_left_by_all(monkeypatch):
    """Each of its jails says so, and has another for the next chunk."""
    made, _ = runners(jail("one"), jail("two"))
    read(made)
    broken = made[0].detectors.of("/log")
    assert broken is made[1].detectors.of("/log")
    monkeypatch.setattr(broken, "events", lambda _data: 1 / 0)
    read(made)
    assert all(runner.problem for runner in made)
    read(made)
    assert not any(runner.problem for runner in made)
    assert [runner.totals.failures for runner in made] == [6, 6]
    assert made[0].detectors.of("/log") is made[1].detectors.of("/log")


def test_nobody_keeps_what_no_jail_has():
    """The detectors go with their logs."""
    made, _ = runners(jail("one"), jail("two"))
    read(made)
    for runner in made:
        runner.leave(())
    gc.collect()
    kept = sum(isinstance(one, Detector) for one in gc.get_objects())
    read(made)
    assert sum(isinstance(one, Detector) for one in gc.get_objects()) == kept + 1
