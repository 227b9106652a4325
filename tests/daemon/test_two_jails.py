"""The jail of the wire beside that of a server's log: an attempt counts once in each, and what both see is told once."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from hep_daemon import Listening
from running import append, failure
from sip_packets import SERVER, answer, request

from sipguard.cli.client import ask
from sipguard.wire_model import Packet

SHORT = [sys.executable, str(Path(__file__).parent / "short_start.py")]
ONE = "192.0.2.66"
PJSIP = "1795825954/0123456789abcdef0123456789abcde"


@pytest.fixture
def both(tmp_path, log):
    """Make a daemon with both jails; `actions` are those of each."""
    made = []

    def make(actions=()):
        wire = Listening(tmp_path, maxretry=4, actions=list(actions), options={"prefix": SHORT})
        made.append(wire)
        wire.daemon.write_jail(
            "freeswitch", ipv6prefix=128, maxretry=4, logpath=str(log), actions=list(actions), port=[5060]
        )
        wire.daemon.sipguard("reload")
        return wire

    yield make
    for one in made:
        if one.daemon.process.poll() is None:
            one.daemon.stop()


def counted(wire, jail):
    """Address → what counts."""
    return ask(wire.daemon.socket, "status", jail=jail, counted=0)["jails"][0]["counted"]


@pytest.mark.parametrize("first", ["log", "packets"])
def test_once_in_each(both, log, first):
    """Told by packets and by the log, three attempts are three in both jails, and a fourth bans in both."""
    wire = both()
    if first == "log":
        append(log, failure(ONE) * 3)
        wire.guess(ONE, times=3)
    else:
        wire.guess(ONE, times=3)
        append(log, failure(ONE) * 3)
    wire.daemon.wait_for(lambda: wire.daemon.status("freeswitch")["corroboration"]["confirmed"] == 3)
    wire.daemon.wait_for(lambda: counted(wire, "sip") == {ONE: 3})
    assert counted(wire, "freeswitch") == {ONE: 3}
    wire.guess(ONE, times=1)
    append(log, failure(ONE))
    for jail in ("sip", "freeswitch"):
        wire.daemon.wait_for(lambda: wire.daemon.banned(jail) == {ONE})  # noqa: B023 - at once
        assert wire.daemon.logged().count(f"[{jail}] Ban {ONE}") == 1
    wire.daemon.sipguard("unban", ONE)
    assert wire.daemon.banned("sip") == wire.daemon.banned("freeswitch") == set()


def test_alarm(both, tmp_path):
    """That a password may be known is logged once, and told once to an action that both jails have."""
    told = tmp_path / "told.sh"
    told.write_text(f"#!/bin/sh\ncat >> {tmp_path}/told\n")
    told.chmod(0o755)
    wire = both([{"type": "exec", "command": [str(told)], "on": ["alarm"]}])
    packets = []
    for number, stale in enumerate((False, False, True, True)):
        now = time.time()
        asked = request(call=f"c{number}", nonce=f"{PJSIP}{number}", response=f"{number:032x}")
        reply = answer(401, asked, nonce=PJSIP + "f", stale=stale)
        packets += [
            Packet(now, ONE, 5060, SERVER, 5060, "udp", asked),
            Packet(now, SERVER, 5060, ONE, 5060, "udp", reply),
        ]
    wire.send(packets)
    for jail in ("sip", "freeswitch"):
        wire.daemon.wait_for(lambda: wire.daemon.status(jail)["totals"]["unproven"] == 4)  # noqa: B023 - at once
    wire.daemon.wait_for((tmp_path / "told").exists)
    wire.daemon.stop()
    (notice,) = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert (notice["event"], notice["address"], notice["user"]) == ("alarm", ONE, "1000")
    assert wire.daemon.logged().count("may know the password of 1000") == 1
