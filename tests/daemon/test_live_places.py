"""Guesses from a VLAN, or by a proxy on the server's host, are the client's own; a thousand spoofed packets frame nobody."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import struct
import threading
import time

import pytest
from sip_packets import answer, request, uuid
from test_live_law import HONEST, ONE, ROTATING, SERVER, law_lab
from virtual import on_kernel_with
from wire_lab import GUESSER, PHONE, Server, wire_lab

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

VLAN_SERVER, VLAN_CLIENT = "203.0.113.1", "203.0.113.66"
SPOOFED = 1000


@on_kernel_with("vlan")
def test_vlan(tmp_path):
    """Packets that come with a VLAN's tag: five guesses are a ban of the client's address, a sixth is rejected."""
    with wire_lab(tmp_path) as lab:
        for net, address in ((lab.server_net, VLAN_SERVER), (lab.net, VLAN_CLIENT)):
            net.run("ip", "link", "add", "vlan7", "link", "veth0", "type", "vlan", "id", "7")
            net.run("ip", "address", "add", f"{address}/24", "dev", "vlan7")
            net.run("ip", "link", "set", "vlan7", "up")
        server = Server(lab.server_net, [VLAN_SERVER])
        try:
            client = lab.client(VLAN_CLIENT, server=VLAN_SERVER)
            assert [client.register() for _ in range(4)] == [403] * 4
            lab.daemon.wait_for(lambda: lab.daemon.logged().count(f"Found {VLAN_CLIENT} ") == 4, "four attempts")
            assert lab.banned() == set()
            assert client.register() == 403
            lab.daemon.wait_for(lambda: lab.banned() == {VLAN_CLIENT}, "the ban")
            assert client.rejected()
            assert lab.daemon.logged().count("Found ") == 5
            assert "proven: REGISTER" in lab.daemon.sipguard("explain", VLAN_CLIENT).stdout
        finally:
            server.close()


class Relay:
    """A proxy at the server's address, which passes all that it gets to a port of 127.0.0.1, and the answers back."""

    def __init__(self, net, behind):
        self._net, self._behind, self._to = net, behind, {}
        with net.inside():
            self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind((SERVER, 5060))
        threading.Thread(target=self._forth, daemon=True).start()

    def close(self):
        """Pass no more."""
        for one in (self.front, *self._to.values()):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _forth(self):
        with contextlib.suppress(OSError):
            while True:
                payload, sender = self.front.recvfrom(65_535)
                if sender is None:
                    return
                if sender not in self._to:
                    with self._net.inside():
                        self._to[sender] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    self._to[sender].connect(("127.0.0.1", self._behind))
                    threading.Thread(target=self._back, args=(sender,), daemon=True).start()
                self._to[sender].send(payload)

    def _back(self, sender):
        with contextlib.suppress(OSError):
            while payload := self._to[sender].recv(65_535):
                self.front.sendto(payload, sender)


def test_a_proxy_on_the_same_host(tmp_path):
    """What passes between own addresses counts for nothing and spoils no nonce: clients are judged, each attempt once."""
    with wire_lab(tmp_path, serve=False) as lab:
        server, relay = Server(lab.server_net, ["127.0.0.1"], 5070), Relay(lab.server_net, 5070)
        try:
            phone, client = lab.client(PHONE), lab.client()
            assert [phone.register(response="a" * 32) for _ in range(10)] == [200] * 10
            assert [client.register() for _ in range(4)] == [403] * 4
            lab.daemon.wait_for(lambda: lab.daemon.logged().count(f"Found {GUESSER} ") == 4, "four attempts")
            assert lab.banned() == set()
            assert client.register() == 403
            lab.daemon.wait_for(lambda: lab.banned() == {GUESSER}, "the ban")
            (ban,) = lab.daemon.status("sip")["banned"]
            assert ban["evidence"] == "proven"
            assert phone.register(response="a" * 32) == 200
            assert lab.daemon.logged().count("Found ") == 5
        finally:
            relay.close()
            server.close()


def spoof(lab, victims, count=SPOOFED, *, port=5060, pause=0.004):
    """Guesses on invented nonces in the victims' names, in turn, 250 a second or as `pause` says."""
    with lab.net.inside():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with raw:
        for number in range(count):
            victim = victims[number % len(victims)]
            payload = request(nonce=uuid(number), response=f"{number:032x}")
            datagram = struct.pack(">HHHH", port, 5060, 8 + len(payload), 0) + payload
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0)
            raw.sendto(head + socket.inet_aton(victim) + socket.inet_aton(SERVER) + datagram, (SERVER, 0))
            time.sleep(pause)


class Foreseen(Server):
    """Sends everybody one nonce, until the number is another."""

    number = 1

    def judged(self, payload, sender):
        """The answer."""
        return (
            answer(401, payload, nonce=uuid(self.number))
            if b"response=" not in payload
            else super().judged(payload, sender)
        )


def test_nonces_that_can_be_foreseen(tmp_path):
    """They prove nobody, so that packets alone ban nobody: who guesses, or is slandered, is held back; a phone registers on."""
    with wire_lab(tmp_path, serve=False) as lab:
        server = Foreseen(lab.server_net)
        try:
            guesser, phone = lab.client(), lab.client(PHONE)
            assert all(uuid(1).encode() in one.ask(request()) for one in (guesser, phone))
            server.number = 2
            assert uuid(2).encode() in guesser.ask(request())
            assert phone.register(response="a" * 32) == 200
            spoof(lab, [PHONE], 50)
            lab.daemon.wait_for(lambda: lab.wire()["metered"] == 1, "the meter of the slandered")
            assert [guesser.register() for _ in range(4)] == [403] * 4
            lab.daemon.wait_for(lambda: lab.wire()["metered"] == 2, "the meter of the guesser")
            with contextlib.suppress(TimeoutError):
                guesser.socket.settimeout(0.3)
                for _ in range(4):
                    guesser.register(nonce=uuid(1))
            assert lab.wire()["held_back"] > 0
            server.number = 3
            assert phone.register(response="a" * 32) == 200
            assert (lab.banned(), lab.daemon.logged().count("Found ")) == (set(), 0)
        finally:
            server.close()


@pytest.mark.parametrize("sighted", [True, False], ids=["sighted", "a new log"])
def test_spoofed(tmp_path, sighted):
    """In five names, a phone's among them: nobody is banned, nothing counts for them, and the phone goes on registering."""
    victims = [*ROTATING, HONEST]
    with law_lab(tmp_path, wired=True, sighted=sighted) as lab:
        phone = lab.client(HONEST, source_port=5062)
        assert phone.register(response="a" * 32) == 200
        spoof(lab, victims)
        lab.settle()
        status = lab.daemon.status("freeswitch")
        print(f"{SPOOFED} spoofed packets, {len(lab.server.guessed)} judged by the server: {status['corroboration']}")
        assert status["totals"]["bans"] == 0
        # A line of a new log waits for a tenth of a second: a busy server may stand still for longer before it answers.
        assert status["corroboration"]["reported"] == 0 or not sighted
        assert lab.wire()["metered"] >= len(ROTATING)
        assert phone.register(response="a" * 32) == 200
        assert lab.daemon.banned("freeswitch") == set()
        guesser = lab.client(ONE)
        assert [guesser.register() for _ in range(5)] == [403] * 5
        lab.daemon.wait_for(lambda: lab.daemon.banned("freeswitch") == {ONE}, "the ban of who is proven")


@pytest.mark.parametrize(
    ("victim", "pause"), [(HONEST, 0.004), (ROTATING[0], 0.0)], ids=["a phone's own flow", "all at once"]
)
def test_more_in_one_name_than_is_read_of_one(tmp_path, victim, pause):
    """Nobody is banned for it, though the server judges many: a registered phone's port is never closed, another's at once."""
    with law_lab(tmp_path, wired=True, sighted=True) as lab:
        phone = lab.client(HONEST, source_port=5062)
        assert phone.register(response="a" * 32) == 200
        if victim == HONEST:
            spoof(lab, [victim], 5, port=5062)
            lab.daemon.wait_for(lambda: lab.wire()["metered"] == 1, "the meter, which lets the flow pass")
        spoof(lab, [victim], port=5062, pause=pause)
        lab.settle()
        status = lab.daemon.status("freeswitch")
        print(f"{SPOOFED} packets, {len(lab.server.guessed)} judged by the server: {status['corroboration']}")
        assert (status["totals"]["bans"], status["corroboration"]["reported"]) == (0, 0)
        assert len(lab.server.guessed) > 900 or victim != HONEST
        phone.socket.close()  # with the answers to what others have sent in its name
        again = lab.client(HONEST, source_port=5062)
        assert again.register(response="a" * 32) == 200


def test_a_phone_is_known_beyond_a_restart(tmp_path):
    """Forged packets in its own flow that come before it has registered again do not close that."""
    with law_lab(tmp_path, wired=True, sighted=False) as lab:
        assert lab.client(HONEST, source_port=5062).register(response="a" * 32) == 200
        database = lab.daemon.folder / "state" / "sipguard.db"

        def stored():
            with contextlib.closing(sqlite3.connect(database)) as opened:
                return opened.execute("SELECT address, port FROM flows").fetchall() == [(HONEST, 5062)]

        lab.daemon.wait_for(stored, "the flow on disk")
        lab.daemon.stop(signal.SIGKILL)
        lab.start()
        lab.daemon.wait_logged("Jails started", times=2)
        lab.client(ONE).ask(request())  # by a challenge the wire knows this server's nonces
        spoof(lab, [HONEST], 40, port=5062)
        lab.daemon.wait_for(lambda: lab.wire()["metered"] == 1, "the meter, which lets the flow pass")
        spoof(lab, [HONEST], 40, port=5062)
        lab.daemon.wait_for(lambda: len(lab.server.guessed) == 80, "all judged by the server")
        assert lab.daemon.banned("freeswitch") == set()
