"""A real Asterisk writes its log from hostile packets, and nobody but the attacker is accused."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from lab.lab import ATTACKER, EXTENSION, PBX, SUITES, Lab
from test_lab_counts import counts

pytestmark = pytest.mark.timeout(900)

VICTIM = "192.0.2.99"
PEER = f'",LocalAddress="IPV4/UDP/{PBX}/5060",RemoteAddress="IPV4/UDP/{VICTIM}/5060"'
CUT = "\x1b" + "a" * 7550 + "m" + "b" * 250
"""The end of a Call-ID that takes the rest of the message with it, line feed and all, and leaves little of itself."""
WRONG = f'Authorization: Digest username="{EXTENSION}", realm="asterisk", nonce="1/a", uri="sip:{PBX}", response="{"0" * 32}"\r\n'
SENDER = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.connect((sys.argv[1], 5060))
    sock.settimeout(4)
    for packet in sys.stdin.buffer.read().split(b"NEXT"):
        sock.send(packet)
        print(sock.recv(65535).split()[1].decode())
"""

GUESSER = """
import re, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.connect((sys.argv[1], 5060))
    sock.settimeout(4)
    def ask(packet):
        sock.send(packet)
        return sock.recv(65535)
    challenge, *guesses = sys.stdin.buffer.read().split(b"NEXT")
    for number, guess in enumerate(guesses):
        nonce = re.search(rb'nonce="([^"]*)"', ask(challenge.replace(b"NUMBER", b"%d" % number)))[1]
        print(ask(guess.replace(b"NONCE", nonce)).split()[1].decode())
"""
"""Answers a new challenge by each guess."""


def register(user, call_id, more=""):
    """One REGISTER; the user as it stands in a URI."""
    return (
        f"REGISTER sip:{PBX} SIP/2.0\r\nVia: SIP/2.0/UDP {ATTACKER}:5060;rport;branch=z9hG4bK{time.time_ns()}\r\n"
        f"From: <sip:{user}@{PBX}>;tag=a\r\nTo: <sip:{user}@{PBX}>\r\nCall-ID: {call_id}\r\nCSeq: 1 REGISTER\r\n"
        f"Contact: <sip:a@{ATTACKER}>\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
    )


def send(lab, *packets):
    """From the attacker's host; gives the status codes of the answers."""
    command = lab.command("atk", sys.executable, "-c", SENDER, PBX)
    done = subprocess.run(command, input="NEXT".join(packets).encode(), capture_output=True, check=True, timeout=120)
    return done.stdout.decode().split()


def wrong(realm="asterisk", user=EXTENSION):
    """Credentials like no others before."""
    known = WRONG.replace("1/a", "NONCE").replace("0" * 32, f"{time.time_ns():032x}")
    return known.replace('"asterisk"', f'"{realm}"').replace(f'"{EXTENSION}"', f'"{user}"')


def answer_challenges(lab, guesses):
    """From the attacker's host, a new challenge for each; gives the status codes of the answers."""
    challenge = register(EXTENSION, f"{time.time_ns()}NUMBER").replace(";branch=", ";branch=z9hG4bKNUMBER")
    command = lab.command("atk", sys.executable, "-c", GUESSER, PBX)
    text = "NEXT".join([challenge, *guesses]).encode()
    done = subprocess.run(command, input=text, capture_output=True, check=True, timeout=120)
    return done.stdout.decode().split()


def another_line():
    """A user whose name ends a line of the log and begins another."""
    text = f"\n[{time.strftime('%b %d %H:%M:%S', time.gmtime())}] SECURITY[1]\x1b"
    return "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in text)


def forged_answer():
    """The same, as the answer to a challenge of the manager interface, from somebody else; it never ends."""
    head = f'SecurityEvent="ChallengeResponseFailed",EventTV="{time.strftime("%FT%T.000+0000", time.gmtime())}",Severity="Error"'
    peer = f'LocalAddress="IPV4/TCP/{PBX}/5038",RemoteAddress="IPV4/TCP/{VICTIM}/1"'
    return (
        f'm res_security_log.c: {head},Service="AMI",EventVersion="1",AccountID="",SessionID="0x1",{peer},Challenge="'
    )


@pytest.mark.parametrize("suite", SUITES)
def test_events_that_are_cut_and_hang_together(lab, suite):
    """A forged answer, cut so that a true one ends its line; and a forged address, cut with nothing behind it."""
    lab(
        suite
    )  # skips where there cannot be one; this one is for this test alone, as its log is good for nothing afterwards
    with Lab(suite) as attacked:
        attacked.settle()
        before = attacked.log("security").read_bytes()
        user, call_id = another_line(), forged_answer() + CUT
        answered = send(
            attacked, *[one for _ in range(6) for one in (register(user, call_id), register(EXTENSION, "c1", WRONG))]
        )
        assert answered == ["401"] * 12
        assert send(attacked, *[register("x", PEER + CUT)] * 6, register(EXTENSION, "c2", WRONG)) == ["401"] * 7
        attacked.settle()
        written = attacked.log("security").read_bytes().removeprefix(before)
        assert written.count(f'RemoteAddress="IPV4/TCP/{VICTIM}/1",Challenge="'.encode()) >= 6, "nothing was forged"
        for name in ("full", "security", "messages"):
            assert VICTIM not in counts(name, attacked.log(name))
