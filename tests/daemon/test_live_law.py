"""The law of the meter: guesses that reach a server with the wire on are no more than without it, whatever the guesser does.

The server judges passwords on any nonce, as Asterisk does, and writes a line for each that is wrong, as FreeSWITCH does.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sqlite3
import sys
import time
import zlib
from pathlib import Path

import pytest
from limits import PATIENCE
from running import failure
from sip_packets import answer, request, uuid
from wire_lab import Server, WireLab, started

from sipguard.cli.client import ask
from tests.netns import link, namespace

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

SHORT = [sys.executable, str(Path(__file__).parent / "short_start.py")]
SERVER = "198.51.100.1"
ONE, COMPANION, HONEST = "198.51.100.66", "198.51.100.67", "198.51.100.20"
BYSTANDER = "198.51.100.21"
"""Asks without credentials; nobody sends in its name, so that nothing holds it back."""
ROTATING = [f"198.51.100.{last}" for last in range(70, 74)]
TRIES = 5
ROUNDS = 9
ENCRYPTED = b"\x17\x03\x03\x00\x20" + bytes(32)
"""A record of TLS (RFC 8446, 5.2)."""
_RESPONSE = re.compile(rb'response="([^"]+)"')
_CALL = re.compile(rb"Call-ID: *(\S+)")


class LoggingServer(Server):
    """Writes a line about each wrong password. `guessed`: whose they were. `by_call`: one nonce for a Call-ID, whoever asks."""

    def __init__(self, net, log, *, by_call=False):
        self.guessed = []
        self._log, self._by_call, self._sent = log, by_call, 0
        super().__init__(net, (SERVER,))

    def judged(self, payload, sender):
        """The answer."""
        response = _RESPONSE.search(payload)
        if response is None:
            self._sent += 1
            number = zlib.crc32(_CALL.search(payload)[1]) if self._by_call else 1_000_000 + self._sent
            return answer(401, payload, nonce=uuid(number))
        if response[1] == b"a" * 32:
            return answer(200, payload)
        self.is_wrong(sender)
        return answer(403, payload)

    def is_wrong(self, sender):
        """A line about it."""
        self.guessed.append(sender)
        with self._log.open("a") as file:
            file.write(failure(sender))


class EncryptedServer(Server):
    """The same server's port of TLS: whatever comes is a wrong password."""

    def __init__(self, net, plain):
        self._plain = plain
        super().__init__(net, (SERVER,), 5061)

    def judged(self, payload, sender):
        """Something encrypted."""
        self._plain.is_wrong(sender)
        return ENCRYPTED


class LawLab(WireLab):
    """With the wire on or off, and a jail that reads the server's log."""

    def __init__(self, folder, server, clients, *, wired, blind, sighted):
        self.log = Path(folder) / "freeswitch.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        self.wired, self.sighted = wired, sighted and not blind
        jails = {"freeswitch": {"logpath": str(self.log), "maxretry": TRIES, "bantime": 600}}
        super().__init__(
            Path(folder) / "lab", server, clients, jails=jails, wire={"enabled": wired}, prefix=() if blind else SHORT
        )

    def start(self):
        """Start it; with the wire on, the log is sighted when this returns, unless it is blind as after each start."""
        if not self.wired:
            self.daemon.start()
            return self
        super().start()
        if self.sighted:
            honest = self.client(HONEST)
            for _ in range(3):
                honest.register()
            self.daemon.wait_for(
                lambda: self.daemon.status("freeswitch")["corroboration"]["sighted"] == {str(self.log): True}, "sighted"
            )
        return self

    def settle(self):
        """Wait until all guesses are judged and the kernel knows what came of it: the law counts, not the machine's speed."""
        # The server answers one after the other: what was sent before this it has judged.
        last = self.client(BYSTANDER)
        last.socket.settimeout(PATIENCE)
        last.ask(request())
        self.daemon.wait_for(self._is_settled, "what the guesses lead to")

    def _is_judged(self):
        """Whether each line has been read, and none waits for its packets: both are on disk."""
        with contextlib.closing(sqlite3.connect(self.daemon.folder / "state" / "sipguard.db")) as database:
            waiting = database.execute("SELECT 1 FROM unpaired WHERE kind = 'line'").fetchone()
        read = self.daemon.state_of(self.log)
        return waiting is None and read is not None and read[0] == self.log.stat().st_size

    def _is_settled(self):
        if not self._is_judged():
            return False
        totals, logged = self.daemon.status("freeswitch")["totals"], self.daemon.logged()
        done = totals["failures"] >= len(self.server.guessed) and totals["bans"] == logged.count("] Ban ")
        if not (self.wired and done):
            return done
        held = ask(self.daemon.socket, "status", jail=None)["wire"]["watched"]["metered"]
        return held >= logged.count("is held back")


@contextlib.contextmanager
def law_lab(folder, *, wired, blind=False, sighted=True, by_call=False):
    """A server with its log, clients, a daemon."""
    with namespace("nft") as server, namespace("nft") as clients, contextlib.ExitStack() as stack:
        addresses = [ONE, COMPANION, HONEST, BYSTANDER, *ROTATING]
        link(clients, [f"{one}/24" for one in addresses], server, [f"{SERVER}/24"])
        lab = LawLab(folder, server, clients, wired=wired, blind=blind, sighted=sighted)
        lab.server = LoggingServer(server, lab.log, by_call=by_call)
        stack.callback(lab.server.close)
        stack.callback(EncryptedServer(server, lab.server).close)
        with started(lab):
            yield lab


class Guesser:
    """Whoever has a client at an address; `nonce` is fetched by nobody, where none is said."""

    def __init__(self, lab, address):
        self.client = lab.client(address)
        self.client.socket.settimeout(0.15)
        self.number = 0

    def fetch(self, call=None):
        """A nonce of the server; "" where it does not answer."""
        try:
            text = self.client.ask(request(call=call) if call else request())
        except (OSError, TimeoutError):
            return ""
        return re.search(rb'nonce="([^"]+)"', text)[1].decode()

    def guess(self, nonce=None):
        """One wrong password."""
        self.number += 1
        with contextlib.suppress(OSError, TimeoutError):
            self.client.register(nonce=nonce or uuid(self.number))


def invented(lab):
    """One source, each guess on a nonce that the server has never sent."""
    one = Guesser(lab, ONE)
    return one.guess


def rotating(lab):
    """Several sources in turn, on nonces of nobody."""
    several = [Guesser(lab, address) for address in ROTATING]

    def once():
        for one in several:
            one.guess()

    return once


def rotating_on_one(lab):
    """Several sources in turn, all on nonces that the first one fetches."""
    several = [Guesser(lab, address) for address in ROTATING]

    def once():
        nonce = several[0].fetch()
        for one in several:
            one.guess(nonce or None)

    return once


def shared(lab):
    """Two hosts: one fetches the nonces, the other guesses; the last nonce serves on when no more come."""
    one, helper = Guesser(lab, ONE), Guesser(lab, COMPANION)
    kept = [uuid(1)]

    def once():
        kept[0] = helper.fetch() or kept[0]
        one.guess(kept[0])

    return once


def spoilt(lab):
    """A companion is sent the same nonces, so that they prove nobody: the server gives one nonce for a Call-ID."""
    one, companion = Guesser(lab, ONE), Guesser(lab, COMPANION)

    def once():
        call = f"{one.number:08d}-call"
        nonce = one.fetch(call)
        companion.fetch(call)
        one.guess(nonce or None)

    return once


def mixed(lab):
    """All guesses but one of those that a ban takes are proven; then come such as nothing proves."""
    one = Guesser(lab, ONE)
    return lambda: one.guess(one.fetch() if one.number < TRIES - 1 else None)


def encrypted(lab):
    """All guesses but one of those that a ban takes are encrypted; then come such as nothing proves."""
    one = Guesser(lab, ONE)
    hidden = lab.client(ONE, kind=socket.SOCK_STREAM, port=5061)

    def once():
        if one.number < TRIES - 1:
            one.number += 1
            hidden.ask(ENCRYPTED)
        else:
            one.guess()

    return once


def blinding(lab):
    """More packets than are read of one address: they are no excuse for its guesses."""
    one = Guesser(lab, ONE)

    def once():
        with contextlib.suppress(OSError):
            for _ in range(300):
                one.client.socket.send(b"OPTIONS sip:a SIP/2.0\r\n\r\n")
        one.guess()

    return once


def reached(folder, way, *, wired, blind=False, fast=0.0):
    """How many guesses reach the server, and who is banned; `fast`: seconds of guesses as fast as the answers come."""
    with law_lab(folder, wired=wired, blind=blind, by_call=way is spoilt) as lab:
        once = way(lab)
        before = len(lab.server.guessed)
        end = time.monotonic() + fast
        while time.monotonic() < end:
            once()
            time.sleep(0.001)
        for _ in range(0 if fast else ROUNDS):
            once()
            lab.settle()
        return len(lab.server.guessed) - before, lab.daemon.banned("freeswitch")


@pytest.mark.parametrize("way", [invented, rotating, rotating_on_one, shared, spoilt, mixed, encrypted, blinding])
def test_no_more_guesses_than_without_the_wire(tmp_path, way):
    """What reaches the server with the wire on, without it, and who is banned."""
    without, banned = reached(tmp_path / "off", way, wired=False)
    with_it, proven = reached(tmp_path / "on", way, wired=True)
    print(f"{way.__name__}: {without} guesses without the wire, {with_it} with it; banned {banned}, {proven}")
    assert without >= TRIES  # on a busy machine a guess or two more are under way until the ban
    assert with_it <= 1.1 * without


def test_blind(tmp_path):
    """While the wire knows too little, five minutes after each start, lines ban as without it."""
    without, banned = reached(tmp_path / "off", invented, wired=False)
    with_it, also = reached(tmp_path / "on", invented, wired=True, blind=True)
    print(f"blind: {without} guesses without the wire, {with_it} with it")
    assert (without, with_it) == (TRIES, TRIES)
    assert banned == also == {ONE}


def test_as_fast_as_the_answers_come(tmp_path):
    """What is under way until the kernel acts comes on top of the law's tries, without the wire even more: best of three."""
    told = []
    for number in range(3):
        without, _ = reached(tmp_path / f"off{number}", invented, wired=False, fast=1.5)
        with_it, _ = reached(tmp_path / f"on{number}", invented, wired=True, fast=1.5)
        told.append((without, with_it))
        if with_it <= 1.1 * without:
            break
    print(f"(without the wire, with it): {told}")
    assert with_it <= 1.1 * without, told
