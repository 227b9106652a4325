"""FreeSWITCH's log with calls in it: callers write whole lines there, and no rule can tell; a log without calls has none of them.

A model of how mod_logfile divides a message of a session into lines, by FreeSWITCH's source: not at a line feed within
quotes, and a caller can spell one. See docs/logs.md.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter

import pytest
from annotations import LOGS, ROOT
from freeswitch_kinds import FORGED, SOFIA, call, encoded, guess
from hypothesis import given
from hypothesis import strategies as st
from server_lines import ATTACKER, FS_DATE, UUID, VICTIM, failure, unknown
from strangers import accused, advised, detector
from test_sip_nothing_hidden import pieces

from sipguard.model import Failure

SPELLED = {"n": "\n", "r": "\r", "t": "\t", "s": " ", "'": "'", '"': '"', "\\": "\\", "\n": "\n"}


def divided(message):
    """Its parts, a hundred at most: ended by line feeds outside of quotes."""
    parts, begin, quoted, at = [], 0, False, 0
    while at < len(message) and len(parts) < 99:
        if message[at] == "\\":
            at += 1
        elif message[at] == "'" and (quoted or "'" in message[at + 1 :]):
            quoted = not quoted
        elif message[at] == "\n" and not quoted:
            parts.append(message[begin:at])
            begin = at + 1
        at += 1
    return [plain(part) for part in [*parts, message[begin:]] if part]


def plain(part):
    """Without its quotes, and with what was spelled."""
    text, quoted, at = "", False, 0
    while at < len(part):
        letter, following = part[at], part[at + 1 : at + 2]
        if letter == "\\" and following in SPELLED:
            text += SPELLED[following]
            at += 1
        elif letter == "'" and (quoted or "'" in part[at + 1 :]):
            quoted = not quoted
        else:
            text += letter
        at += 1
    return text.strip(" ")


def session(message):
    """A message of a session in the file: each part is cut at 2,047 bytes with its line feed."""
    return b"".join(encoded(f"{UUID} {part}\n")[:2047] for part in divided(message))


MESSAGES = {
    "the name of a call": "[INFO] sofia.c:10472 sofia/internal/{} receiving invite from 203.0.113.66:5060 version: 1 call-id: x",
    "the name of a call that is given up": f"[WARNING] switch_core_state_machine.c:684 {UUID} sofia/internal/{{}} Abandoned",
    "a Call-ID": "[INFO] sofia.c:10472 sofia/internal/1 receiving invite from 203.0.113.66:5060 version: 1 call-id: {}",
    "a body": "[DEBUG] mod_sofia.c:1 Remote SDP:\nv=0\n{}\na=x",
}
ESCAPED = FORGED.replace("'", "\\'")
TEXTS = {"quoted": f"1'\n{ESCAPED}'\n1", "spelled": f"1\\n{ESCAPED}\n1"}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("message", MESSAGES)
def test_two_truths_of_the_same_bytes(message, text, tmp_path):
    """A caller's text, or somebody's failure between two messages of a call: it counts; `check` says why that may be false."""
    log = session(f"{FS_DATE} {MESSAGES[message].format(TEXTS[text])}\n").decode()
    before, _, behind = log.partition(f"{FORGED}\n")
    other = before + failure_of(VICTIM) + behind
    assert log == other
    assert before.startswith(UUID)
    assert before.endswith("\n")
    assert accused("freeswitch", log)[0] == {VICTIM}
    assert accused("freeswitch", other.replace(VICTIM, ATTACKER))[0] == {ATTACKER}
    assert "calls stand in this log" in advised("freeswitch", log, tmp_path)


def failure_of(host):
    """As sofia_reg.c writes it."""
    (text,) = failure({"user": "1", "host": "b"})
    return f"{FS_DATE} {text}\n".replace(ATTACKER, host).replace("'internal'", "'a'").replace("[1@[b]]", "[1@b]")


def test_the_model_writes_what_mod_logfile_does():
    """A UUID before each part, up to a hundred of them."""
    lines = [f"{UUID} {FS_DATE} [DEBUG] x", *[f"{UUID} a"] * 99, *["a"] * 20]
    message = "".join(f"{line.removeprefix(UUID).strip()}\n" for line in lines)
    assert session(message) == "".join(f"{line}\n" for line in [*lines, ""]).encode()


MAPPED = re.compile(rb"[\d-]{10} [\d:.]{15} (?:[\d.]+% )?\[WARNING\] (?:sofia_reg|mod_event_socket)\.c:")
HEADER = re.compile(rb"(?:[0-9a-f]{8}-[0-9a-f-]{27} )?[\d-]{10} [\d:.]{15} (?:[\d.]+% )?\[[A-Z]+\] ")


def without_calls(log):
    """What a profile of two source files at level warning holds of a log: their messages, with all lines."""
    kept, is_theirs = [], False
    for line in log.splitlines(keepends=True):
        if HEADER.match(line):
            is_theirs = MAPPED.match(line) is not None
        kept += [line] if is_theirs else []
    return b"".join(kept)


def counted(log):
    """Address → failures."""
    reader = detector("freeswitch")
    return Counter(one.host for one in [*reader.events(log), *reader.flush()] if isinstance(one, Failure))


RECORDED = {
    "freeswitch-warning": LOGS / "freeswitch-warning.log",
    "freeswitch-debug-nouuid": LOGS / "freeswitch-debug-nouuid.log",
    "freeswitch-1.11": ROOT / "fixtures" / "wire" / "freeswitch-1.11.log.gz",
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_log_without_calls_has_all_that_counts(name, tmp_path):
    """Of what a real FreeSWITCH wrote under attack: for the same addresses as often, and with no word of advice."""
    data = RECORDED[name].read_bytes()
    log = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    less = without_calls(log)
    assert len(less) < len(log)
    assert UUID[8] not in {line[8:9].decode() for line in less.splitlines()}
    found = counted(less)
    assert found
    assert VICTIM not in found
    assert found == Counter({host: number for host, number in counted(log).items() if host != VICTIM})
    assert not advised("freeswitch", less.decode("utf-8", "replace"), tmp_path)


MESSAGE = st.one_of(
    st.builds(guess, st.sampled_from([failure, unknown]), SOFIA),
    st.builds(
        lambda text: (
            0,
            encoded(
                f'{FS_DATE} [WARNING] sofia_reg.c:1 SIP auth failure (REGISTER) due to user-agent-filter.  Filter "x" '
                f'User-Agent "{text}"\n'
            ),
        ),
        SOFIA.map(lambda fields: fields["user"].replace('"', "")),
    ),
)


@given(parts=st.lists(MESSAGE, min_size=1, max_size=6), data=st.data())
def test_a_log_without_calls(parts, data):
    """Whatever callers write: each guess once, for the socket. What calls would write is not in it."""
    log = b"".join(text for _, text in parts)
    assert without_calls(b"".join([call("1", "x", 0)[1], log])) == log
    reader = detector("freeswitch")
    seen = [one for chunk in pieces(data, log) for one in reader.events(chunk)] + reader.flush()
    made = sum(number for number, _ in parts)
    assert Counter(one.host for one in seen if isinstance(one, Failure)) == ({ATTACKER: made} if made else {})
