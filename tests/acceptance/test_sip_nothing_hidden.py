"""Whatever a stranger writes, nobody else is accused, and he is counted once for each guess whose record has his address.

Models of the servers' writers: records with folds, sessions whose lines are cut and glued, messages of more than 100 lines,
packets written into the log; events with ESC, line feeds, quotes. The log comes in pieces of whole lines.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_lines import ATTACKER, FS_DATE, PBX, UUID, VICTIM, event, failed_response, failure, freeswitch_file, unknown
from strangers import FIELDS, detector, folded, plain

from sipguard.model import Failure

FORGED = (
    f"{FS_DATE} [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile 'a' for [1@b] from ip {VICTIM}"
)
QUIET = f'{FS_DATE} [DEBUG] sofia.c:10566 verifying acl "domains" for ip/port {PBX}:0.\n'


def session(message):
    """mod_logfile with `uuid=true`: the UUID before the first 100 lines, each write cut at 2,047 bytes with its line feed."""
    lines = message.removesuffix(b"\n").split(b"\n")
    lines = [*lines[:99], b"\n".join(lines[99:])] if len(lines) > 100 else lines
    return b"".join((UUID.encode() + b" " + line + b"\n")[:2047] for line in lines)


def invite(text, filler):
    """The first line of a call, its Call-ID of any length."""
    head = f"{FS_DATE} [INFO] sofia.c:10472 sofia/internal/1@x receiving invite from {ATTACKER}:5060 version: 1.11 call-id: "
    return session(f"{head}{'é' * filler}{text}\n".encode("utf-8", "surrogateescape"))


def long_message(lines, behind):
    """A call's body in the log; then what other calls write, more than a write has."""
    body = "".join(f"a=line:{number}\n" for number in range(lines)) + f"{behind}\n{FORGED}\n"
    return (
        session(f"{FS_DATE} [DEBUG] mod_sofia.c:1 Remote SDP:\n{body}".encode("utf-8", "surrogateescape"))
        + 25 * QUIET.encode()
    )


def packet(text):
    """`sofia global siptrace on`: the packet as it came, its length before it, CRs left out."""
    sent = f"OPTIONS sip:x SIP/2.0\r\nCall-ID: {text}\r\n\r\n{FORGED}\r\n".encode("utf-8", "surrogateescape")
    head = f"recv {len(sent)} bytes from udp/[{ATTACKER}]:5060 at 10:20:30.123456:\n".encode()
    dashes = b"-" * 72 + b"\n"
    return head + dashes + sent.replace(b"\r", b"") + dashes


SOFIA = st.fixed_dictionaries({"user": folded, "host": folded, "realm": folded})
GUESS = st.builds(
    lambda shape, fields: (1, freeswitch_file(shape(fields)).encode("utf-8", "surrogateescape")),
    st.sampled_from([failure, unknown]),
    SOFIA,
)
CALL = st.builds(lambda text, filler: (0, invite(text, filler)), plain, st.integers(0, 1500))
LONG = st.builds(lambda lines, text: (0, long_message(lines, text)), st.integers(97, 130), plain)
PACKET = st.builds(lambda text: (0, packet(text)), plain)
OTHER = st.just((0, QUIET.encode()))


def pieces(data, log):
    """The log in pieces of whole lines."""
    lines = [line + b"\n" for line in log.removesuffix(b"\n").split(b"\n")]
    while lines:
        number = data.draw(st.integers(1, len(lines)), "lines")
        yield b"".join(lines[:number])
        del lines[:number]


def counted(reference, chunks, before=b""):
    """Address → failures in the chunks; what stands before them in the log tells of nobody."""
    reader = detector(reference)
    assert reader.feed(before) == []
    events = [one for chunk in chunks for one in reader.events(chunk)] + reader.flush()
    return Counter(one.host for one in events if isinstance(one, Failure))


@given(parts=st.lists(st.one_of(GUESS, GUESS, CALL, LONG, PACKET, OTHER), min_size=1, max_size=8), data=st.data())
def test_freeswitch(parts, data):
    """Each failure once, for the socket."""
    made = sum(number for number, _ in parts)
    log = QUIET.encode() + b"".join(text for _, text in parts)
    assert counted("freeswitch", pieces(data, log)) == ({ATTACKER: made} if made else {})


@pytest.mark.parametrize("letter", ["e", "é", "ex"])
@pytest.mark.parametrize("lines", [2, 3])
def test_lines_of_one_message_that_are_all_cut(lines, letter):
    """Only the first has a date; what follows hangs on the last."""
    message = f"{FS_DATE} [INFO] sofia.c:1 " + "\n".join([letter * 3000] * lines)
    log = session(message.encode())
    assert b"\n" not in log
    failed = freeswitch_file(failure({"user": "1", "host": "x"})).encode()
    assert counted("freeswitch", [QUIET.encode() + log + failed * 2]) == {ATTACKER: 2}


def guess(fields, shape):
    """An event, and whether it has an address: one whose text is not UTF-8 was dropped by Asterisk."""
    if shape == "password":
        text = failed_response(fields)
    elif shape == "FailedACL":
        text = event(
            shape, {**fields, "account": "1000"}, ',ACLName="not_match_endpoint_acl"'
        )  # the endpoint's own name
    else:
        text = event(shape, fields)
    return int("SecurityEvent=" in text), text.encode("utf-8", "surrogateescape")


KNOWN = 70_000
"""Bytes after which it is known what a log has: before, an event with the head of another level in it does not count."""
CHALLENGE = (
    event("ChallengeSent", {"account": "1000", "callid": "c"}, ',Challenge=""')
    .replace(ATTACKER, "203.0.113.20")
    .replace('"Error"', '"Informational"')
)
LONG_KNOWN = CHALLENGE.encode() * (KNOWN // len(CHALLENGE) + 1)


EVENT = st.builds(guess, st.fixed_dictionaries(FIELDS), st.sampled_from(["password", "InvalidAccountID", "FailedACL"]))


@given(parts=st.lists(EVENT, min_size=1, max_size=6), data=st.data())
def test_asterisk_security_log(parts, data):
    """Each event with an address once, for that address, in a log of security events alone."""
    log = b"".join(text for _, text in parts if b"SecurityEvent=" in text)
    made = sum(number for number, _ in parts)
    found = counted("asterisk", pieces(data, log), LONG_KNOWN) if log else {}
    assert found == ({ATTACKER: made} if made else {})


@pytest.mark.parametrize("account", ["\nx", "x\ny", 'x"\ny', '",SessionID="\nx', 'oteAddress="IPV4/UDP/1/1"\nx'])
def test_an_account_with_a_line_feed(account):
    """Wherever it stands, and whatever before it makes the first part look whole."""
    made, log = guess({"account": account, "callid": "c"}, "InvalidAccountID")
    assert counted("asterisk", [log], LONG_KNOWN) == {ATTACKER: made}
