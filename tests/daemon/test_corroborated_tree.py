"""`[wire] corroborate`: jails of a Fail2ban tree count their lines as far as the wire confirms them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from hep_daemon import Listening
from running import append, failure
from tree_of_fail2ban import write_tree

SHORT = [sys.executable, str(Path(__file__).parent / "short_start.py")]
ONE, OTHER, SILENT = "192.0.2.66", "192.0.2.99", "198.51.100.7"


def socket_refused(address):
    """A line about the event socket, which is no SIP."""
    return (
        f'{time.strftime("%F %T")}.123456 98.53% [WARNING] mod_event_socket.c:2959 IP {address} Rejected by acl "lan"\n'
    )


@pytest.fixture
def tree(tmp_path, log):
    """Make a daemon that runs a tree; `named`: the jail stands in `[wire] corroborate`."""
    made = []

    def make(*, named=True):
        options = {"prefix": SHORT, "arguments": write_tree(tmp_path, log, name="pbx")}
        wire = {"corroborate": ["pbx"]} if named else {"ports": [5060]}
        made.append(Listening(tmp_path, name="unused", enabled=False, options=options, wire=wire))
        return made[-1]

    yield make
    for one in made:
        if one.daemon.process.poll() is None:
            one.daemon.stop()


def examined(wire):
    """What `status` says of the examination."""
    return wire.daemon.status("pbx")["corroboration"]


def sighted(wire, log):
    """Let the wire confirm the log three times."""
    wire.guess(OTHER, times=3)
    append(log, failure(OTHER) * 3)
    wire.daemon.wait_for(lambda: examined(wire)["sighted"] == {str(log): True})


def test_lines_count_as_far_as_the_wire_confirms_them(tree, log):
    """Attempts once, proven ones ban; lines about who has sent nothing count for nobody, and a wrong password does."""
    wire = tree()
    sighted(wire, log)
    append(log, failure(SILENT) * 5)
    wire.daemon.wait_for(lambda: examined(wire)["contradicted"] == 5)
    wire.guess(ONE, times=5)
    append(log, failure(ONE) * 5)
    wire.daemon.wait_for(lambda: wire.daemon.banned("pbx") == {ONE})
    assert {ban["evidence"] for ban in wire.explained(ONE)["bans"]} == {"proven"}
    wire.daemon.wait_for(lambda: examined(wire)["confirmed"] == 8)
    assert wire.explained(SILENT)["bans"] == []


def test_others_are_as_without_the_wire(tree, log):
    """A jail that is not named counts its lines, whatever the wire has seen."""
    wire = tree(named=False)
    append(log, failure(SILENT) * 5)
    wire.daemon.wait_for(lambda: wire.daemon.banned("pbx") == {SILENT})
    assert examined(wire) is None
    assert {ban["evidence"] for ban in wire.explained(SILENT)["bans"]} == {None}


def test_lines_about_what_is_no_sip(tree, log):
    """A tree's filter does not say what the wire cannot see; sipguard's own do."""
    wire = tree()
    sighted(wire, log)
    append(log, socket_refused(SILENT) * 5)
    wire.daemon.wait_for(lambda: wire.daemon.banned("pbx") == {SILENT})
    assert examined(wire)["reasons"] == {"it is not about SIP that the wire sees": 5}


@pytest.mark.parametrize("late", [1200, 7200])
def test_lines_that_come_late(tree, log, late):
    """Fail2ban counts them as now: the wire has nothing of now to say to them. They ban as without it, and it is said."""
    wire = tree()
    sighted(wire, log)
    append(log, failure(SILENT, when=time.time() - late) * 5)
    wire.daemon.wait_for(lambda: wire.daemon.banned("pbx") == {SILENT})
    assert examined(wire)["reasons"] == {"the wire has not confirmed this log yet": 5}
    append(log, failure("198.51.100.8") * 5)
    wire.daemon.wait_for(lambda: examined(wire)["contradicted"] == 5)
    assert wire.daemon.banned("pbx") == {SILENT}
