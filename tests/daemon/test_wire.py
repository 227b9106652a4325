"""A whole daemon that is sent a recorded attack as HEP packets."""

from __future__ import annotations

import json
import re
import time

import pytest
from hep_daemon import Listening, recorded
from json_manual import hold
from running import ask
from sip_packets import SERVER, answer, request, uuid

from sipguard.wire_model import Packet

BANNED = {f"203.0.113.{last}" for last in (66, 67, 68, 69, 70, 71, 72, 74, 75, 78, 80)}
SECRET = re.compile(rb'(?:nonce|response)="([^"]{8,})"')


@pytest.fixture
def listening(tmp_path):
    """Make a daemon; it ends with the test."""
    made = []

    def make(**options):
        made.append(Listening(tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        if one.daemon.process.poll() is None:
            one.daemon.stop()


def test_recorded_attack(listening):
    """Everybody who is proven is banned; phones and forged addresses are not; nothing secret is kept or told."""
    wire = listening()
    daemon = wire.daemon
    packets = recorded()
    wire.send(packets)
    daemon.wait_for(lambda: daemon.banned("sip") >= BANNED | {"2001:db8:113::66"})
    assert daemon.banned("sip") == BANNED | {"2001:db8:113::66"}
    hold("status", ask(daemon.socket, "status"))
    for address in ("203.0.113.90", "203.0.113.77"):
        hold("explain", ask(daemon.socket, "explain", address=address))
    forged = wire.explained("203.0.113.90")
    assert (forged["bans"], forged["attempts"], len(forged["doubts"])) == ([], [], 6)
    assert "unproven: REGISTER as 1001 over udp" in forged["doubts"][0]["line"]
    lender = wire.explained("203.0.113.78")
    assert (
        "lent: REGISTER as 1001 over udp answered 403, sent in the name of 203.0.113.91"
        in lender["attempts"][0]["line"]
    )
    shown = daemon.sipguard("explain", "203.0.113.77", check=False).stdout
    assert "nothing proves that they came from this address" in shown
    daemon.wait_for(lambda: daemon.stored() >= BANNED)
    secrets = {found for packet in packets for found in SECRET.findall(packet.payload)}
    assert len(secrets) > 200
    told = [
        ("status", "--json"),
        ("status", "sip", "--json"),
        ("explain", "203.0.113.66", "--json"),
    ]
    shown += "".join(daemon.sipguard(*words).stdout for words in told)
    kept = daemon.log.read_bytes() + json.dumps([forged, lender]).encode() + shown.encode()
    assert b"sipguard_hep_packets" in wire.metrics()
    kept += wire.metrics()
    kept += b"".join(path.read_bytes() for path in (daemon.folder / "state").iterdir())
    assert [secret for secret in secrets if secret in kept] == []


def test_wrong_key(listening):
    """Without the key nothing is believed."""
    wire = listening()
    wire.guess("192.0.2.66", times=8, key="a wrong key")
    wire.guess("192.0.2.67", times=8)
    wire.daemon.wait_for(lambda: wire.daemon.banned("sip") == {"192.0.2.67"})


def test_no_key(listening):
    """A listener without a key takes reports, as good as lines of log."""
    wire = listening(key=None)
    wire.guess("192.0.2.66", times=8, key=None)
    wire.daemon.wait_for(lambda: wire.daemon.banned("sip") == {"192.0.2.66"})
    assert wire.explained("192.0.2.66")["attempts"][0]["line"].startswith("reported: ")


def test_reload_and_restart(listening):
    """What was counted before a reload counts after it, and after a restart."""
    wire = listening()
    daemon = wire.daemon
    wire.guess("192.0.2.66", times=2)
    daemon.wait_for(lambda: len(wire.explained("192.0.2.66")["attempts"]) == 2)
    daemon.sipguard("reload")
    wire.guess("192.0.2.66", times=1)
    daemon.wait_for(lambda: len(wire.explained("192.0.2.66")["attempts"]) == 3)
    daemon.stop()
    daemon.start()
    wire.guess("192.0.2.66", times=2)
    daemon.wait_for(lambda: daemon.banned("sip") == {"192.0.2.66"})


def test_predictable_server_is_remembered(listening):
    """A server that has given one nonce to two addresses proves nothing after a restart either, and is told of."""
    wire = listening()
    daemon = wire.daemon
    now = time.time()
    for address in ("192.0.2.20", "192.0.2.21"):
        asked = request()
        reply = answer(401, asked, nonce="the same for all")
        wire.send([Packet(now, SERVER, 5060, address, 5060, "udp", reply)])
    daemon.wait_logged("its nonces prove nothing")
    assert 'modparam("auth", "one_time_nonce", 1)' in daemon.logged()
    daemon.stop()
    daemon.start()
    wire.guess("192.0.2.66", times=1)
    daemon.wait_for(lambda: wire.explained("192.0.2.66")["attempts"])
    assert wire.explained("192.0.2.66")["attempts"][0]["line"].startswith("reported: ")


def test_password_that_may_be_known(listening, tmp_path):
    """An alarm is logged, shown by `explain`, and told to the actions that want it: once. Others hear nothing of it."""
    told = tmp_path / "told.sh"
    told.write_text(f"#!/bin/sh\ncat >> {tmp_path}/$1\n")
    told.chmod(0o755)
    actions = [{"type": "exec", "name": on, "command": [str(told), on], "on": [on]} for on in ("alarm", "ban")]
    wire = listening(actions=actions)
    pjsip = "1795825954/0123456789abcdef0123456789abcde"
    packets = []
    for number, stale in enumerate((False, False, True, True)):
        now = time.time()
        asked = request(call=f"c{number}", nonce=f"{pjsip}{number}", response=f"{number:032x}")
        packets += [
            Packet(now, "192.0.2.90", 5060, SERVER, 5060, "udp", asked),
            Packet(now, SERVER, 5060, "192.0.2.90", 5060, "udp", answer(401, asked, nonce=pjsip + "f", stale=stale)),
        ]
    wire.send(packets)
    wire.daemon.wait_for(lambda: len(wire.explained("192.0.2.90")["doubts"]) == 4)
    wire.daemon.wait_for((tmp_path / "alarm").exists)
    wire.daemon.stop()
    (notice,) = [json.loads(line) for line in (tmp_path / "alarm").read_text().splitlines()]
    assert (notice["event"], notice["jail"], notice["address"], notice["user"]) == (
        "alarm",
        "sip",
        "192.0.2.90",
        "1000",
    )
    assert notice["reason"] == "the password of 1000 may be known: change it"
    assert "it may be known" in notice["lines"][0]
    assert not (tmp_path / "ban").exists()
    assert wire.daemon.logged().count("192.0.2.90 may know the password of 1000") == 1


@pytest.mark.parametrize(("mode", "banned"), [("attempts", set()), ("scan", {"192.0.2.84"})])
def test_scan(listening, mode, banned):
    """Calls to nowhere ban where they are to, for an hour at most, and nobody who has logged in."""
    wire = listening(mode=mode, bantime="1d")
    daemon = wire.daemon
    now = time.time()
    login = request(nonce=uuid(1))
    packets = [
        Packet(now, SERVER, 5060, "192.0.2.20", 5060, "udp", answer(401, request(), nonce=uuid(1))),
        Packet(now, "192.0.2.20", 5060, SERVER, 5060, "udp", login),
        Packet(now, SERVER, 5060, "192.0.2.20", 5060, "udp", answer(200, login)),
    ]
    for number in range(6):
        for address in ("192.0.2.20", "192.0.2.84"):
            call = request("INVITE", user=f"00{number}", call=f"{address}{number}")
            packets.append(Packet(now, SERVER, 5060, address, 5060, "udp", answer(404, call)))
    wire.send(packets)
    wire.daemon.wait_for(lambda: len(wire.explained("192.0.2.20")["doubts"]) == 6)
    daemon.wait_for(lambda: daemon.banned("sip") == banned)
    for ban in wire.explained("192.0.2.84")["bans"]:
        assert 3500 < ban["until"] - ban["since"] <= 3600
