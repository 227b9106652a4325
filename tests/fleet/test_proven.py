"""By default proven bans alone go from member to member: proven by packets (HEP), not reported by a line of a log."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import time

import pytest
import toml
from hep_packets import hep
from ports import free_udp_port
from running import RunningDaemon, append, failure
from sip_packets import SERVER, answer, request, uuid

from sipguard.cli.client import ask
from sipguard.wire_model import Packet
from tests.daemon.hep_daemon import KEY

pytestmark = pytest.mark.root  # seconds: not for `make test`
PROVEN, REPORTED, LENDER, HELPER = "203.0.113.5", "203.0.113.6", "203.0.113.7", "203.0.113.8"
_numbers = itertools.count(1)


@contextlib.contextmanager
def member(folder, url, name):
    """A daemon with a log, and a listener for HEP; what it shares and takes is left to the default."""
    home = folder / name
    home.mkdir()
    log = home / "freeswitch.log"
    log.touch()
    jails = {"freeswitch": {"logpath": str(log), "maxretry": 3}, "sip": {"maxretry": 3}}
    daemon = RunningDaemon(home, jails, firewall="memory")
    daemon.port, daemon.server_log = free_udp_port(), log
    more = {"hep": {"listen": f"127.0.0.1:{daemon.port}", "key": KEY}, "fleet": {"url": url, "name": name}}
    daemon.config.write_text(daemon.config.read_text() + "\n" + toml.dumps(more))
    daemon.fleet = lambda: (ask(daemon.socket, "fleet") or {}).get("fleet") or {"nodes": []}
    try:
        yield daemon.start()
    finally:
        if daemon.process.poll() is None:
            daemon.stop()


def guess(daemon, address, *, asker=None):
    """Three guesses, each with a nonce that the server has just sent to that address, or to an `asker`."""
    now = time.time()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in itertools.islice(_numbers, 3):  # no nonce is sent to two addresses
            nonce = uuid(number)
            first = request(call=f"a{address}{number}")
            second = request(call=f"b{address}{number}", nonce=nonce, response=f"{number:032x}")
            for source, destination, payload in (
                (asker or address, SERVER, first),
                (SERVER, asker or address, answer(401, first, nonce=nonce)),
                (address, SERVER, second),
                (SERVER, address, answer(403, second)),
            ):
                packet = Packet(now, source, 5060, destination, 5060, "udp", payload)
                sock.sendto(hep(packet, key=KEY), ("127.0.0.1", daemon.port))


def test_proven_goes_and_reported_stays(redis, tmp_path):
    """The second member rejects the proven one alone, and knows why; a nonce that was lent shares no ban of the victim."""
    with member(tmp_path, redis.url, "pbx1") as one, member(tmp_path, redis.url, "pbx2") as two:
        for daemon, other in ((one, "pbx2"), (two, "pbx1")):
            daemon.wait_for(lambda d=daemon, o=other: o in {n["name"] for n in d.fleet()["nodes"]}, "the other member")
        append(one.server_log, failure(REPORTED) * 3)
        one.wait_logged(f"[freeswitch] Ban {REPORTED}")
        guess(one, HELPER, asker=LENDER)
        one.wait_logged(f"[sip] Ban {LENDER}")
        guess(one, PROVEN)
        one.wait_logged(f"[sip] Ban {PROVEN}")
        two.wait_logged(f"[fleet] Ban {PROVEN}")
        time.sleep(1.5)  # what is sent at all would have come: a read of the streams waits for a second
        shown = ask(two.socket, "firewall", what="show")
        assert PROVEN in shown
        assert not [address for address in (REPORTED, LENDER, HELPER) if address in shown + two.logged()]
        assert one.fleet()["shared"] == 1
        assert redis.cli("KEYS", "sipguard:pbx1:bans:*").split() == ["sipguard:pbx1:bans:proven"]
        story = two.sipguard("explain", PROVEN).stdout
        assert f"{PROVEN} is rejected: node pbx1 has banned it until" in story
        # Both jails count what the wire has seen; which of the two told the fleet first does not matter.
        assert re.search(r"\(proven by (sip|freeswitch): 3 failures within 10 minutes\)", story)
        one.sipguard("unban", PROVEN)
        two.wait_logged(f"[fleet] Unban {PROVEN}")
