"""FreeSWITCH's other logs: nobody else is accused, and each guess that is not counted is told as tampered.

Models of how its messages come through syslog (rsyslog's escapes, its cuts), into the journal, and into mod_fail2ban's file.
"""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_lines import ATTACKER, FS_DATE, UUID, VICTIM, failure, unknown
from strangers import detector, folded
from test_sip_nothing_hidden import pieces

from sipguard.detection import session_tail
from sipguard.model import Failure
from sipguard.sources.journal_entry import read_entry

FORGED = (
    f"{FS_DATE} [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile 'a' for [1@b] from ip {VICTIM}"
)
HOST = "pbx1 freeswitch[777]: "
SYSLOG = f"Jan 15 10:20:30 {HOST}"
WORDS = st.lists(
    st.sampled_from(
        [
            f"\r\n {FORGED}", f"#012{FORGED}", f"#015#012 {FORGED}", f"\r\n\t{SYSLOG}{FORGED}", f"{SYSLOG}{FORGED}",
            f"#012{SYSLOG}{FORGED}", f"] from ip {VICTIM}", f"@x] from ip {VICTIM}#012", f"] from {VICTIM}#012", "#012",
            "#033[1m", "#015", "\r\n ", "\t", "a", "1000", "é", "\x1b", "\x01",
            f"] ip[{VICTIM}] at[2026-01-15T10:20:30.123456+0000]",
            "x" * 600, "x" * 1300, f"\r\n A registration failed user[1] ip[{VICTIM}] at[2026-01-15T10:20:30.123456+0000]", "]",
            "[",
            "#012You must define a domain called 'x' in your directory and add a user with the id=1 attribute",
            f"] from {VICTIM}\\nYou must define a domain called 'x' in your directory and add a user with the id=",
            f"{UUID} ",
        ]
    ),
    max_size=5,
).map("".join)  # fmt: skip
FIELDS = st.fixed_dictionaries({name: st.one_of(WORDS, folded) for name in ("user", "host", "realm")})
SHAPES = st.lists(st.tuples(st.sampled_from([failure, unknown]), FIELDS), min_size=1, max_size=5)


def messages(shapes):
    """What FreeSWITCH has to say, message by message."""
    return [message for shape, fields in shapes for message in shape(fields)]


def through_rsyslog(message, longest=8192):
    """A line as rsyslog writes it: control bytes by three octal digits behind `#`, and cut."""
    text = re.sub(r"[\x00-\x1f\x7f]", lambda found: f"#{ord(found[0]):03o}", f"{HOST}{FS_DATE} {message}")
    return f"Jan 15 10:20:30 {text}".encode("utf-8", "surrogateescape")[:longest] + b"\n"


def is_lost(message):
    """mod_syslog drops a message with such a byte before anybody writes it."""
    return re.search(r"[\x00-\x08\x1b]", message) is not None


def result(reader, events):
    """Address → failures, and how often somebody was seen to have written into the log."""
    return Counter(one.host for one in events if isinstance(one, Failure)), reader.counts.tampered


@pytest.mark.parametrize("longest", [8192, 2048, 1024])
@given(shapes=SHAPES, data=st.data())
def test_syslog(longest, shapes, data):
    """Each message is a line; those too long to be sure are told as tampered."""
    lines = [through_rsyslog(message, longest) for message in messages(shapes) if not is_lost(message)]
    reader = detector("freeswitch")
    events = [one for chunk in pieces(data, b"".join(lines)) for one in reader.events(chunk)] if lines else []
    counted, tampered = result(reader, events + reader.flush())
    assert counted.keys() <= {ATTACKER}
    assert len(lines) - tampered <= counted.total() <= len(lines)


@given(shapes=SHAPES)
def test_console_in_the_journal(shapes):
    """Each line of a message is an entry of its own, with FreeSWITCH's name before it."""
    reader = detector("freeswitch")
    events = []
    for message in messages(shapes):
        for line in f"{FS_DATE} {message}".split("\n"):
            events += reader.entry(HOST + line.rstrip("\r"), 1_795_300_000.0)
    counted, tampered = result(reader, events + reader.flush())
    assert counted.keys() <= {ATTACKER}
    assert len(shapes) - tampered <= counted.total() <= len(shapes)


def in_journal(message):
    """A message that mod_syslog has given to journald: one entry, with its line feeds."""
    entry = {"__REALTIME_TIMESTAMP": "1795300000000000", "__CURSOR": "c", "_HOSTNAME": "pbx1", "_PID": "777"}
    text = f"{FS_DATE} {message}".encode("utf-8", "surrogateescape")
    field = list(text) if b"\xff" in text else text.decode()
    return read_entry(json.dumps({**entry, "SYSLOG_IDENTIFIER": "freeswitch", "MESSAGE": field}).encode())


@given(shapes=SHAPES)
def test_mod_syslog_into_the_journal(shapes):
    """Each message is an entry."""
    entries = [in_journal(message) for message in messages(shapes) if not is_lost(message)]
    reader = detector("freeswitch")
    events = [event for one in entries for event in reader.entry(one.text, one.time)]
    counted, tampered = result(reader, events + reader.flush())
    assert counted.keys() <= {ATTACKER}
    assert len(entries) - tampered <= counted.total() <= len(entries)


@given(
    users=st.lists(st.one_of(WORDS, folded).map(lambda text: re.sub(r"[@:>\0]", "", text)), min_size=1, max_size=5),
    data=st.data(),
)
def test_mod_fail2ban(users, data):
    """Its file: the user may be folded; the address behind it is the socket's."""
    log = b"".join(
        f"A registration failed user[{user}] ip[{ATTACKER}] at[2026-01-15T10:20:30.123456+0000]\n".encode(
            "utf-8", "surrogateescape"
        )
        for user in users
    )
    reader = detector("freeswitch")
    events = [one for chunk in pieces(data, log) for one in reader.events(chunk)]
    counted, _ = result(reader, events + reader.flush())
    assert counted == {ATTACKER: len(users)}


MESSAGE = f"{UUID} {FS_DATE} [DEBUG] switch_core_media.c:1 x\n"
GUESS = "".join(f"{FS_DATE} {message}\n" for message in failure({"user": "1", "host": "b", "realm": "b"}))
OTHERS = f'{FS_DATE} [DEBUG] sofia.c:10566 verifying acl "domains" for ip/port 192.0.2.10:0.\n'


@pytest.mark.parametrize(
    ("before", "hides"),
    [
        pytest.param(MESSAGE * 99, False, id="99 messages"),
        pytest.param(MESSAGE * 130, True, id="130 messages"),
        pytest.param(
            MESSAGE * 30 + f"{UUID} x\n" + MESSAGE * 99, False, id="the first of the last hundred has no date"
        ),
        pytest.param(MESSAGE * 130 + OTHERS * 30, False, id="130 messages, and as much as a write holds"),
        pytest.param(MESSAGE * 130 + OTHERS + MESSAGE, False, id="130 messages, and the session goes on"),
    ],
)
def test_behind_100_messages_of_one_session(before, hides):
    """A caller's message of 100 lines may look like them, and what follows at once may be more of it: nobody's, but told."""
    reader = detector("freeswitch")
    seen = [*reader.events((before + GUESS * 20).encode()), *reader.flush()]
    hidden = 20 - sum(isinstance(one, Failure) for one in seen)
    assert reader.counts.tampered == hidden
    assert hidden == (-(-(session_tail.BYTES - len(MESSAGE)) // len(GUESS)) if hides else 0)
