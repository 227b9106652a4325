"""A jail runner joins the detector and the judge of one jail, and tells others what they must know."""

from collections import Counter
from dataclasses import replace

import pytest
from annotations import FILTERS
from running import chunk

from sipguard.config.filters import read_filter
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.log_detectors import SharedDetectors
from sipguard.model import Failure, Filter, Jail
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.wire import SCAN
from sipguard.state.changes import Changes

SUCCESS = (
    '[2026-11-21 20:18:00] SECURITY[4250] res_security_log.c: SecurityEvent="SuccessfulAuth",'
    'EventTV="2026-11-21T20:18:00.123+0000",Severity="Informational",Service="PJSIP",EventVersion="1",AccountID="1000",'
    'SessionID="f6",LocalAddress="IPV4/UDP/192.0.2.10/5060",RemoteAddress="IPV4/UDP/198.51.100.20/5060",UsingPassword="1"\n'
)
NOTICE = "[2026-11-21 20:17:59] NOTICE[4242] loader.c: 200 modules will be loaded.\n"


def told_of(text):
    """The addresses that a jail calls registered after reading this log."""
    registered = []
    runner = JailRunner(
        Jail("asterisk", read_filter("asterisk", [FILTERS])),
        ignore=IgnoreList([]),
        clock=lambda: 1795292280.0,
        decide=lambda _ban: None,
        reinforce=lambda _jail, _address: None,
        registered=registered.extend,
    )
    runner.take(chunk(text.encode()), Changes())
    return registered


def test_a_login_is_told_to_the_feeds():
    """In a log of security events alone nobody but Asterisk can have written it."""
    assert told_of(SUCCESS) == ["198.51.100.20"]


def test_a_login_in_a_mixed_log_is_told_to_nobody():
    """There an attacker could have written it, to be taken for a customer."""
    assert told_of(NOTICE + SUCCESS) == []


FREESWITCH = "2026-11-21 20:17:59.{0}00000 98.53% [WARNING] sofia_reg.c:{1} 203.0.113.66\n"
UNKNOWN = FREESWITCH.format("{0}", "3210 Can't find user [1000@192.0.2.10] from")
REFUSED = FREESWITCH.format(
    "{0}", "1787 SIP auth failure (REGISTER) on sofia profile 'internal' for [1000@192.0.2.10] from ip"
)


@pytest.mark.parametrize("position", range(5))
def test_a_restart_in_the_midst_of_an_attempt(position):
    """Its second line, read by another run, is told of the first: two attempts are two, in each jail that reads the log."""
    lines = [kind.format(n) for n, kind in enumerate((UNKNOWN, REFUSED, UNKNOWN, REFUSED))]
    attempts = Counter()
    for read, before in (lines[:position], []), (lines[position:], lines[:position]):
        shared, changes = SharedDetectors(lambda: 1795292280.0), Changes()
        runners = [
            JailRunner(
                Jail(name, read_filter("freeswitch", [FILTERS])),
                ignore=IgnoreList([]),
                clock=lambda: 1795292280.0,
                decide=lambda _ban: None,
                reinforce=lambda _jail, _address: None,
                detectors=shared,
            )
            for name in ("first", "second")
        ]
        told, released = {}, {}
        for runner in runners:
            runner.take(chunk("".join(read).encode(), before="".join(before).encode()), changes, told)
        for runner in runners:
            runner.take(chunk(b"", idle=60.0), changes, released)
        attempts.update(one.jail for one in changes.attempts)
    assert attempts == {"first": 2, "second": 2}


def test_calls_to_nowhere_are_forgotten_in_time():
    """The addresses of most are forged: nobody keeps them beyond findtime, and what a client sets holds for them as well."""
    now, decided = [1_000_000.0], []
    jail = Jail("sip", Filter("sip", ()), source="wire", mode="scan", maxretry=3, findtime=600.0)
    runner = JailRunner(jail, ignore=IgnoreList(()), clock=lambda: now[0], decide=decided.append, reinforce=print)
    scan = Failure("192.0.2.66", None, tags={SCAN: ""}, evidence="unproven")
    runner.take_events([scan], Changes())
    now[0] += 601
    runner.prune(now[0], Changes())
    assert len(runner.judge.scans) == 0
    runner.reconfigure(replace(jail, maxretry=2))
    runner.take_events([scan, scan], Changes())
    assert len(decided) == 1
