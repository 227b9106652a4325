"""A whole daemon that follows a log and is sent the packets of the same time."""

from __future__ import annotations

import contextlib
import gzip
import re
import signal
import sqlite3
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hep_daemon import Listening, recorded_and_moved
from limits import within
from running import failure
from sip_packets import uuid

from sipguard.cli.client import ask

FIXTURES = Path(__file__).parents[2] / "fixtures" / "wire"
SHORT = [sys.executable, str(Path(__file__).parent / "short_start.py")]
BANNED = {f"203.0.113.{last}" for last in (66, 67, 68, 69, 70, 71, 72, 74, 75, 78, 80, 30)} | {"2001:db8:113::66"}
_DATE = re.compile(r"2026-11-28 \d\d:\d\d:\d\d\.\d{6}")
ONE, SILENT, PHONE = "192.0.2.66", "198.51.100.7", "203.0.113.20"


@pytest.fixture
def examining(tmp_path):
    """Make a daemon whose jail `freeswitch` has a log and a wire."""
    made = []
    log = tmp_path / "freeswitch.log"
    log.touch()

    def make(*, short=True, **keys):
        options = {"prefix": SHORT} if short else {}
        made.append(Listening(tmp_path, name="freeswitch", logpath=str(log), options=options, **keys))
        return made[-1], log

    yield make
    for one in made:
        if one.daemon.process.poll() is None:
            one.daemon.stop()


def write(log, *lines):
    """As a server does."""
    with log.open("a") as file:
        file.writelines(lines)


def recorded_lines(shift):
    """The recorded log, with times that are moved by so much."""

    def moved(match):
        return f"{(datetime.fromisoformat(f'{match[0]}+00:00') + timedelta(seconds=shift)).astimezone():%F %T.%f}"

    text = gzip.decompress((FIXTURES / "freeswitch-1.11.log.gz").read_bytes()).decode()
    return [f"{line}\n" for line in _DATE.sub(moved, text).splitlines()]


def examined(daemon):
    """What `status` says of the examination."""
    return daemon.status("freeswitch")["corroboration"]


def counted(daemon):
    """Address → what counts."""
    return ask(daemon.socket, "status", jail="freeswitch", counted=0)["jails"][0]["counted"]


def stored(daemon, table, address):
    """How many rows of this address are on disk."""
    with contextlib.closing(sqlite3.connect(daemon.folder / "state" / "sipguard.db")) as database:
        return len(database.execute(f"SELECT 1 FROM {table} WHERE address = ?", (address,)).fetchall())


def sighted(wire, log):
    """Let the wire confirm the log three times."""
    wire.guess("192.0.2.99", times=3)
    write(log, *[failure("192.0.2.99")] * 3)
    wire.daemon.wait_for(lambda: examined(wire.daemon)["sighted"] == {str(log): True})


def play(wire, log, *, first):
    """The recorded conversation and its log."""
    packets, shift = recorded_and_moved()
    lines = recorded_lines(shift)
    if first == "log":
        write(log, *lines)
        wire.send(packets)
    else:
        wire.send(packets)
        write(log, *lines)


@pytest.mark.parametrize("first", ["log", "packets"])
def test_recorded_attack(examining, first):
    """Whichever comes first: each attempt once, .91 is not accused by its six lines, forged lines count for nobody."""
    wire, log = examining(maxretry=5)
    daemon = wire.daemon
    sighted(wire, log)
    play(wire, log, first=first)
    daemon.wait_for(lambda: daemon.banned("freeswitch") >= BANNED)
    daemon.wait_for(lambda: examined(daemon)["confirmed"] == 3 + 92)
    assert daemon.banned("freeswitch") == BANNED
    told = examined(daemon)
    assert (told["contradicted"], told["sighted"]) == (0, {str(log): True})
    assert daemon.status("freeswitch")["totals"]["contradicted"] == 0
    lender = wire.explained("203.0.113.78")
    assert {ban["evidence"] for ban in lender["bans"]} == {"lent"}
    assert {attempt["line"].partition(":")[0] for attempt in lender["attempts"]} == {"lent"}
    assert {ban["evidence"] for ban in wire.explained("203.0.113.66")["bans"]} == {"proven"}
    before = wire.explained("203.0.113.91")
    assert (before["bans"], before["attempts"]) == ([], [])
    write(log, *[failure(address) for address in (SILENT, PHONE) for _ in range(10)])
    daemon.wait_for(lambda: examined(daemon)["contradicted"] == 10)
    daemon.wait_for(lambda: examined(daemon)["unproven"] == 10)
    assert daemon.banned("freeswitch") == BANNED
    forged = wire.explained(SILENT)
    assert (forged["bans"], forged["attempts"], len(forged["doubts"])) == ([], [], 10)
    assert forged["doubts"][0]["line"].startswith("contradicted: ")
    assert daemon.logged().count("somebody writes into the log") == 1


def test_before_it_can_know(examining):
    """In the first five minutes a line bans as without the wire, at once, and the reason is said."""
    wire, log = examining(short=False)
    write(log, *[failure(SILENT)] * 5)
    wire.daemon.wait_for(lambda: wire.daemon.banned("freeswitch") == {SILENT})
    told = examined(wire.daemon)
    assert told["reported"] == 5
    assert set(told["reasons"]) == {"sipguard has just started"}
    assert {ban["evidence"] for ban in wire.explained(SILENT)["bans"]} == {"reported"}
    shown = wire.daemon.sipguard("status", "freeswitch").stdout
    assert "5 count as without the wire: sipguard has just started" in shown


def test_a_log_that_is_not_confirmed(examining):
    """Until the wire has confirmed three proven attempts nothing is held against a log."""
    wire, log = examining()
    write(log, *[failure(SILENT)] * 5)
    wire.daemon.wait_for(lambda: wire.daemon.banned("freeswitch") == {SILENT})
    assert examined(wire.daemon)["reasons"] == {"the wire has not confirmed this log yet": 5}


def test_switched_off(examining):
    """A jail that does not want it counts its lines, and the wire nothing."""
    wire, log = examining(corroborate=False)
    wire.guess(ONE, times=3)
    write(log, *[failure(ONE)] * 3)
    wire.daemon.wait_for(lambda: counted(wire.daemon) == {ONE: 3})
    assert examined(wire.daemon) is None


def test_attempts_without_a_line(examining):
    """What no log tells, the wire does: it counts in the jail of that server."""
    wire, _ = examining()
    wire.guess(ONE, times=5)
    wire.daemon.wait_for(lambda: wire.daemon.banned("freeswitch") == {ONE})
    assert wire.explained(ONE)["attempts"][0]["line"].startswith("proven: REGISTER as 1000 over udp")


def test_invented_nonces(examining):
    """Where nobody can be held back, guesses on invented nonces count by their lines, as without the wire: no more for free."""
    wire, log = examining()
    sighted(wire, log)
    wire.guess(ONE, times=5, nonce=uuid(999))
    write(log, *[failure(ONE)] * 5)
    wire.daemon.wait_for(lambda: wire.daemon.banned("freeswitch") == {ONE})
    assert examined(wire.daemon)["reasons"] == {"nobody can be held back here": 5}


@pytest.mark.timed
def test_a_burst_on_invented_nonces(examining):
    """A fast guesser does not gain the second in which an answer may wait for its challenge."""
    wire, log = examining()
    sighted(wire, log)
    begun = time.monotonic()
    wire.guess(ONE, times=20, nonce=uuid(999))
    write(log, *[failure(ONE)] * 20)
    wire.daemon.wait_for(lambda: wire.daemon.banned("freeswitch") == {ONE})
    assert time.monotonic() - begun < within(1.0)


class TestCrash:
    """kill -9 at any moment: no attempt is lost, none counts twice."""

    def crash(self, wire):
        """End it without a word, and start it again."""
        wire.daemon.stop(signal.SIGKILL)
        wire.daemon.start()

    def test_line_that_waits(self, examining):
        """It has been read, and nothing was said of it yet."""
        wire, log = examining(maxretry=100)
        sighted(wire, log)
        expected = {"192.0.2.99": 3}
        # It waits for 1.25 s: on a busy machine this test may look too late, and then tries another one.
        for address in (f"192.0.2.{last}" for last in range(66, 86)):
            write(log, failure(address))
            expected[address] = 1
            waiting = lambda address=address: stored(wire.daemon, "unpaired", address)  # noqa: E731
            wire.daemon.wait_for(lambda: waiting() or counted(wire.daemon) == expected)  # noqa: B023
            if waiting():
                break
        for _ in range(2):  # the second time what was not on disk yet is read again, and waits again for its packets
            self.crash(wire)
            wire.daemon.wait_for(lambda: counted(wire.daemon) == expected)
        time.sleep(0.3)
        assert counted(wire.daemon) == expected

    def test_attempt_whose_line_comes_later(self, examining):
        """It was counted by the wire; the line is read by the next run."""
        wire, log = examining(maxretry=100)
        wire.guess(ONE, times=2)
        wire.daemon.wait_for(lambda: stored(wire.daemon, "attempts", ONE) == 2)
        wire.daemon.stop(signal.SIGKILL)
        write(log, *[failure(ONE)] * 3)
        wire.daemon.start()
        wire.daemon.wait_for(lambda: examined(wire.daemon)["confirmed"] == 2)
        wire.daemon.wait_for(lambda: counted(wire.daemon) == {ONE: 3})
        self.crash(wire)
        # What was not on disk yet is read again, and waits again for its packets.
        wire.daemon.wait_for(lambda: counted(wire.daemon) == {ONE: 3})
        time.sleep(0.3)
        assert counted(wire.daemon) == {ONE: 3}

    def test_attempt_and_line(self, examining):
        """Both were read: neither is told of again, and the next line is another attempt."""
        wire, log = examining(maxretry=100)
        wire.guess(ONE, times=2)
        write(log, *[failure(ONE)] * 2)
        wire.daemon.wait_for(lambda: examined(wire.daemon)["confirmed"] == 2)
        time.sleep(0.4)
        self.crash(wire)
        write(log, failure(ONE))
        wire.daemon.wait_for(lambda: counted(wire.daemon) == {ONE: 3})

    def test_reload(self, examining):
        """What waits at a reload goes on waiting; what was confirmed stays so."""
        wire, log = examining(maxretry=100)
        sighted(wire, log)
        write(log, failure(SILENT))
        wire.daemon.wait_for(lambda: wire.daemon.status("freeswitch")["totals"]["contradicted"] == 1)
        write(log, failure("198.51.100.8"))
        wire.daemon.sipguard("reload")
        wire.daemon.wait_for(lambda: examined(wire.daemon)["contradicted"] == 2)
        assert counted(wire.daemon) == {"192.0.2.99": 3}
