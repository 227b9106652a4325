"""Behind the hundred lines of a session's message: what hangs on a cut tail, and a log that is read from its middle on."""

from __future__ import annotations

from collections import Counter

import pytest
from effort import examples
from freeswitch_kinds import FORGED, KINDS, QUIET, encoded, packet, session
from hypothesis import given
from hypothesis import strategies as st
from server_lines import ATTACKER, FS_DATE, UUID, VICTIM, failure, freeswitch_file, unknown
from strangers import detector
from test_sip_every_kind import UNSHRUNK
from test_sip_nothing_hidden import pieces

from sipguard.detection.session_tail import BYTES
from sipguard.model import Failure
from sipguard.sources.tail import LOOK_BACK, Tail

GUESS = freeswitch_file(failure({"user": "1", "host": "b"})).encode()
HEAD = f"{FS_DATE} [DEBUG] mod_sofia.c:1 Remote SDP:\n"


def counted(*chunks, before=b""):
    """Address → failures, and how often somebody was seen to have written into the log."""
    reader = detector("freeswitch")
    reader.look_back(before)
    seen = [one for chunk in chunks for one in reader.events(chunk)] + reader.flush()
    return Counter(one.host for one in seen if isinstance(one, Failure)), reader.counts.tampered


def cut(last, lines=120):
    """A message whose raw rest has these as its last line, in which it is cut."""
    log = session(encoded(f"{HEAD}{'a=x' + chr(10)}" + "a=x\n" * lines + f"{last}{'y' * 2100}"))
    assert not log.endswith(b"\n")
    return QUIET + log


@pytest.mark.parametrize("lines", [99, 100, 120])
@pytest.mark.parametrize("whole", [True, False], ids=["at once", "by line"])
@pytest.mark.parametrize("times", [1, 2, 5])
def test_what_hangs_on_a_cut_tail_counts(lines, whole, times):
    """It stands where the server has cut, and nobody else's text can."""
    log = cut("a=", lines) + GUESS * times + QUIET
    chunks = [log] if whole else [line + b"\n" for line in log.removesuffix(b"\n").split(b"\n")]
    told, tampered = counted(*chunks)
    assert told == {ATTACKER: times}
    assert tampered


def test_a_refusal_that_hangs_there_counts():
    """Of a record that has no further lines, too."""
    refused = f'{FS_DATE} [WARNING] sofia_reg.c:2406 IP {ATTACKER} Rejected by register acl "trusted"\n'.encode()
    assert counted(cut("a=") + refused + QUIET)[0] == {ATTACKER: 1}


def other_truth(begin, rest):
    """The same bytes as a tail that was cut: one that ended before, and a field of a failure with the text of another in it."""
    told = session(encoded(HEAD + "a=x\n" * 100 + "\n"))
    write = told.rfind(UUID.encode())
    return QUIET + told + encoded(begin + "y" * (write + BYTES - len(told) - len(encoded(begin))) + rest)


@pytest.mark.parametrize(
    ("begin", "rest"),
    [
        (
            f"{FS_DATE} [WARNING] sofia_reg.c:1 SIP auth failure (REGISTER) due to user-agent-filter.  User-Agent ",
            FORGED,
        ),
        ("\t", f"{FORGED}\r\n x] from ip {ATTACKER}"),
        ("You must define a domain called '", f"{FORGED}\r\n ' in your directory"),
        ("You must define a domain called '", f"{FORGED}\n\t' in your directory"),
        (
            "You must define a domain called '",
            f'{FS_DATE} [WARNING] sofia_reg.c:1 IP {VICTIM} Rejected by register acl "x"\n \'',
        ),
    ],
    ids=["a header", "a fold", "folded", "folded by a tab", "folded, refused"],
)
@pytest.mark.parametrize("whole", [True, False], ids=["at once", "by line"])
def test_two_truths_of_the_same_bytes(begin, rest, whole):
    """Whoever it was, nobody is accused: this hides one guess behind a message of 100 lines, and is told."""
    log = other_truth(begin, rest) + b"\n" + QUIET
    chunks = [log] if whole else [line + b"\n" for line in log.removesuffix(b"\n").split(b"\n")]
    told, tampered = counted(*chunks)
    assert VICTIM not in told
    assert tampered


LONG = session(encoded(f"{HEAD}" + "a=x\n" * 120 + f"{FORGED}\n{FORGED}\n"))
MIDDLES = {
    "100 lines and a tail": LONG,
    "two cut lines": session(encoded(HEAD + "é" * 1500 + "\n" + "é" * 1500 + "\n" + "x\n" * 110 + FORGED + "\n")),
    "a packet": packet("recv", f"\n{FORGED}\n{FORGED}\n")[1],
    "an unknown user": freeswitch_file(unknown({"user": f"1\r\n {FORGED}", "realm": f"x\r\n {FORGED}"})).encode(),
}


@pytest.mark.parametrize("name", MIDDLES)
def test_a_restart_within(name):
    """Whichever line is the first that is read: the lines before it say what it is a part of."""
    log = QUIET * 3 + MIDDLES[name] + 20 * QUIET + GUESS
    lines = [line + b"\n" for line in log.removesuffix(b"\n").split(b"\n")]
    for number in range(len(lines)):
        told = counted(b"".join(lines[number:]), before=b"".join(lines[:number]))[0]
        assert told.keys() <= {ATTACKER}, number
        assert told[ATTACKER] >= 1


def test_a_restart_while_what_hangs_there_is_held():
    """The whole line is read again: where it hangs is known by what stands before."""
    log = cut("a=") + GUESS
    first, second = detector("freeswitch"), detector("freeswitch")
    assert first.events(log) == []
    place = len(log) - first.held
    assert log[place - 1 : place + 2] == b"\na="
    second.look_back(log[:place])
    assert [one.host for one in second.events(log[place:]) + second.flush()] == [ATTACKER]


@examples(25, phases=UNSHRUNK)
@given(parts=st.lists(st.one_of(*KINDS.values()), min_size=1, max_size=4), data=st.data())
def test_a_restart_anywhere(parts, data):
    """What one process has told of and what the next one does are each guess once."""
    log = QUIET + b"".join(text for _, text in parts) + GUESS
    chunks = list(pieces(data, log))
    number = data.draw(st.integers(0, len(chunks)), "chunks of the first process")
    first, place = detector("freeswitch"), sum(map(len, chunks[:number]))
    seen = [one for chunk in chunks[:number] for one in first.events(chunk)]
    place -= first.held or 0
    begin = max(place - LOOK_BACK, 0)
    second = detector("freeswitch")
    second.look_back(log[log.find(b"\n", begin) + 1 if begin else 0 : place])
    seen += (second.events(log[place:]) if place < len(log) else []) + second.flush()
    made = sum(guesses for guesses, _ in parts) + 1
    assert Counter(one.host for one in seen if isinstance(one, Failure)) == {ATTACKER: made}


def test_a_file_that_begins_within_a_message():
    """As it was rotated there, and nobody knows what the one before it ended in: nothing counts for as long as a write is."""
    lines = LONG.split(b"\n")
    for number in range(1, 100):
        told, tampered = counted(b"\n".join(lines[number:]) + 20 * QUIET + GUESS)
        assert told == {ATTACKER: 1}
        assert tampered == 2


def test_the_lines_before_come_from_the_file(tmp_path):
    """With the first lines that are read of a file that an earlier run has read in part."""
    path = tmp_path / "log"
    path.write_bytes(QUIET * 3)
    tail = Tail(str(path))
    first = tail.read()
    tail.close()
    path.write_bytes(QUIET * 3 + GUESS)
    again = Tail(str(path), position=first.position)
    second = again.read()
    path.write_bytes(QUIET * 3 + GUESS * 2)
    third = again.read()
    again.close()
    assert [chunk.before for chunk in (first, second, third)] == [b"", QUIET * 3, b""]
    assert [chunk.data for chunk in (second, third)] == [GUESS] * 2
