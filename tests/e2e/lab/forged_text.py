"""Requests whose text names somebody else: what real servers make of it in their logs is to accuse nobody but the sender."""

from __future__ import annotations

import secrets
import time

from lab.lab import PBX

_BODY = 'SecurityEvent="{event}",Service="PJSIP",RemoteAddress="IPV4/UDP/{victim}/5060"'


def texts(victim):
    """Pairs of a From header's display name and user, and a Call-ID, each of which names the victim."""
    event = f'",LocalAddress="IPV4/UDP/{PBX}/5060",RemoteAddress="IPV4/UDP/{victim}/5060'
    line = f"\n[{time.strftime('%F %T', time.gmtime())}] SECURITY[1] res_security_log.c: {_forged(victim)}\n"
    syslog = f" sipguard: auth-failed from {victim} user=a ua=b id=c"
    return [
        ("", "1000", event),
        ("", _escaped(event), "c"),
        ("", _escaped(line), "c"),
        ("", _escaped(syslog), syslog.strip().replace(" ", "_")),
        (f"a' failed for '{victim}:5060' (callid: z", "1000", "c"),
        ("", _escaped(f"' failed for '{victim}:5060' (callid: z) - Failed to authenticate"), "c"),
        ("", _escaped("\x1b" + event + "m"), event),
    ]


def _forged(victim):
    return _BODY.format(event="InvalidPassword", victim=victim)


def _escaped(text):
    return "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in text)


def request(here, display, user, call, *, guess):
    """A REGISTER, with credentials of nobody's making where it is to `guess`."""
    wrong = (
        f'Authorization: Digest username="1000", realm="asterisk", nonce="1/{secrets.token_hex(8)}", uri="sip:{PBX}", '
        f'response="{"0" * 32}"\r\nUser-Agent: from {here}\r\n'
    )
    name = f'"{display}" ' if display else ""
    return (
        f"REGISTER sip:{PBX} SIP/2.0\r\nVia: SIP/2.0/UDP {here}:5060;rport;branch=z9hG4bK{secrets.token_hex(8)}\r\n"
        f"From: {name}<sip:{user}@{PBX}>;tag=a\r\nTo: <sip:1000@{PBX}>\r\nCall-ID: {secrets.token_hex(4)}{call}\r\n"
        f"CSeq: 1 REGISTER\r\nContact: <sip:a@{here}>\r\nMax-Forwards: 70\r\n{wrong if guess else ''}Content-Length: 0\r\n\r\n"
    )


def incomplete(victim):
    """A request that lacks a header, and whose body is lines of a log: some servers write all of it into theirs."""
    now = time.strftime("%F %T", time.gmtime())
    lines = [
        f"[{now}] SECURITY[1] res_security_log.c: {_forged(victim)}",
        f"[{now}] NOTICE[1] res_pjsip/pjsip_distributor.c: Request 'REGISTER' from '<sip:1@{PBX}>' failed for "
        f"'{victim}:5060' (callid: a) - Failed to authenticate",
    ] * 5
    body = "\n".join(["", *lines, ""])
    return (
        f"REGISTER sip:{PBX} SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )


def all_packets(here, victims):
    """All of them, each as often as it would take to ban."""
    made = []
    for victim in victims:
        for _ in range(5):
            for display, user, call in texts(victim):
                made += [request(here, display, user, call, guess=guess) for guess in (False, True)]
            made.append(incomplete(victim))
    return made


SENDER = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[2], 0))
sock.connect((sys.argv[1], 5060))
for packet in sys.stdin.buffer.read().split(b"NEXT"):
    sock.send(packet)
    time.sleep(0.01)
"""
"""Sends each packet of its input from an address."""
