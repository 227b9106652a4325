"""HEP of some of a server's profiles: what reaches the others is never seen, so nothing is held against lines about it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hep_daemon import Listening
from running import append, failure
from sip_packets import SERVER, request

from sipguard.daemon.copied_places import CopiedPlaces
from sipguard.sources.packets.listening import Bound
from sipguard.wire_model import Packet
from tests.netns import link, namespace

SHORT = [sys.executable, str(Path(__file__).parent / "short_start.py")]
ONE, SILENT, OTHER = "192.0.2.66", "198.51.100.7", "198.51.100.8"
OWN = {SERVER, "2001:db8::1", "198.51.100.1"}
PROFILES = (
    Bound("freeswitch", SERVER, 5060),
    Bound("freeswitch", SERVER, 5080),
    Bound("freeswitch", "2001:db8::1", 5060),
)
ANYWHERE = (Bound("asterisk", "0.0.0.0", 5060), Bound("asterisk", "::", 5060))
LISTENS = """
import socket, sys, time
held = []
for port in (5060, 5080):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((sys.argv[1], port))
    held.append(one)
print("listening", flush=True)
time.sleep(600)
"""


def packet(server, port, *, client=ONE):
    """A request that a server has copied."""
    return Packet(time.time(), client, 5060, server, port, "udp", request())


@pytest.mark.parametrize(
    ("bound", "copied", "address", "why"),
    [
        ((), [], ONE, ""),
        (PROFILES, [], ONE, "no copy has come from freeswitch at port 5060"),
        (PROFILES, [(SERVER, 5060)], ONE, "no copy has come from freeswitch at port 5080"),
        (PROFILES, [(SERVER, 5060), ("198.51.100.1", 5080)], ONE, "no copy has come from freeswitch at port 5080"),
        (PROFILES, [(SERVER, 5060), ("192.0.2.1", 5080)], ONE, "no copy has come from freeswitch at port 5080"),
        (PROFILES, [(SERVER, 5060), (SERVER, 5080)], ONE, ""),
        (PROFILES, [(SERVER, 5060), (SERVER, 5080)], "2001:db8:9::1", "no copy has come from freeswitch at port 5060 over IPv6"),
        (PROFILES, [("2001:db8::1", 5060)], "2001:db8:9::1", ""),
        (ANYWHERE, [(SERVER, 5060)], ONE, ""),
        (ANYWHERE, [(SERVER, 5060)], "2001:db8:9::1", "no copy has come from asterisk at port 5060 over IPv6"),
        (ANYWHERE, [("2001:db8::1", 5060)], "2001:db8:9::1", ""),
        (ANYWHERE[:1], [(SERVER, 5060)], "2001:db8:9::1", ""),
    ],
)  # fmt: skip
def test_silent(bound, copied, address, why):
    """Each place that an address can reach has to have sent a copy, from the machine's own address."""
    places = CopiedPlaces()
    places.listen_at(bound)
    places.saw([packet(*place) for place in copied], OWN)
    assert places.silent(address) == why


def test_answers_tell_of_a_place_too():
    """A copy of what the server has sent."""
    places = CopiedPlaces()
    places.listen_at(PROFILES[:1])
    places.saw([Packet(0, SERVER, 5060, ONE, 5060, "udp", b"SIP/2.0 200 OK\r\n\r\n")], OWN)
    assert places.silent(ONE) == ""


def test_memory_is_bounded():
    """Ports at which nobody listens are not remembered."""
    places = CopiedPlaces()
    places.listen_at(PROFILES)
    places.saw([packet(SERVER, port) for port in range(1, 5000)], OWN)
    assert places._seen == set()
    places.saw([packet(SERVER, 5060)], OWN)
    places.listen_at(())
    assert places._seen == set()


@pytest.mark.root
def test_one_of_two_profiles(tmp_path, log):
    """FreeSWITCH with two profiles and HEP in one: lines count as without the wire, until a copy has come from the other."""
    program = tmp_path / "freeswitch"
    program.symlink_to(sys.executable)
    with namespace("ip") as net, namespace("ip") as others, contextlib.ExitStack() as stack:
        link(others, ["203.0.113.9/24"], net, [f"{SERVER}/24"])
        server = stack.enter_context(
            subprocess.Popen(
                ["ip", "netns", "exec", net.name, program, "-c", LISTENS, SERVER], stdout=subprocess.PIPE, text=True
            )
        )
        stack.callback(server.kill)
        assert server.stdout.readline() == "listening\n"
        options = {"prefix": ["ip", "netns", "exec", net.name, *SHORT], "env": {"SIPGUARD_TEST_SERVERS": "its own"}}
        wire = Listening(tmp_path, name="freeswitch", logpath=str(log), options=options)
        stack.callback(wire.daemon.stop)

        def examined():
            return wire.daemon.status("freeswitch")["corroboration"]

        with net.inside():
            wire.guess(ONE, times=3)
        append(log, failure(ONE) * 3)
        wire.daemon.wait_for(lambda: examined()["sighted"] == {str(log): True})
        append(log, failure(SILENT) * 5)
        wire.daemon.wait_for(lambda: wire.daemon.banned("freeswitch") == {SILENT})
        assert examined()["reasons"] == {"no copy has come from freeswitch at port 5080": 5}
        with net.inside():
            wire.send([packet(SERVER, 5080, client=ONE)])
        append(log, failure(OTHER) * 5)
        wire.daemon.wait_for(lambda: examined()["contradicted"] == 5)
        assert wire.daemon.banned("freeswitch") == {SILENT}
