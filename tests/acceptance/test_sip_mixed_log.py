"""Asterisk's log of all levels: each guess counts once, for the socket it came from, whatever heads of others its fields hold.

The writers of `test_sip_security_log`, and beside them other levels, whose messages may end in what a caller has written, as
those of a dialplan do, so that one that hangs on a cut event may end like an event. Threads have numbers; callers write heads
of any level with numbers of their own, or, where that is said, with the true ones.
"""

from __future__ import annotations

from collections import Counter

import pytest
from effort import in_part
from hypothesis import given
from hypothesis import strategies as st
from server_lines import ATTACKER, VICTIM, term_strip
from strangers import detector
from test_sip_nothing_hidden import KNOWN, pieces
from test_sip_security_log import (
    ACL,
    ANSWER,
    CHAN_SIP,
    CHAN_SIP_PLAIN,
    CLOSE,
    DATE,
    LOGGED,
    THREAD,
    WORDS,
    events,
    head,
    peer,
    pjsip,
    unknown,
    written,
)

from sipguard.model import Failure

WORKERS = [5101, 5102, 5103, 5104]
CALLS = [0x1A, 0x1B]
LEVELS = ["DEBUG", "NOTICE", "WARNING", "ERROR", "VERBOSE", "DTMF"]


def other(level, worker, text, call=None):
    """A message of another level, whose end a caller may have written."""
    number = f"[C-{call:08x}]" if call is not None else ""
    message = f"[{DATE}] {level}[{worker}]{number} app_verbose.c:     -- {text}\n"
    return term_strip(message[:LOGGED]).encode(), None


WHOLE = [peer(VICTIM), peer(VICTIM) + ANSWER, peer(VICTIM) + ACL]
OTHER = st.builds(
    other,
    st.sampled_from(LEVELS),
    st.sampled_from(WORKERS),
    st.sampled_from(["x", *WHOLE]),
    st.sampled_from([None, *CALLS]),
)
SHOWN = b"".join(
    other(level, worker, "x" * 100, call)[0] for level in LEVELS for worker in WORKERS for call in (None, *CALLS)
)
BEFORE = SHOWN * (KNOWN // len(SHOWN) + 1)
"""A log in which every thread has written."""
GUESSED = [
    *(f"[{DATE}] {level}[{number}] app_verbose.c:     -- " for level in LEVELS for number in (1, 77)),
    f"[{DATE}] NOTICE[1][C-00000001] a.c: ",
    f"[{DATE}] DEBUG[1]",
    "[Jan 15 10:20:30] NOTICE[1] a:",
    "[Jan 15 10:20:30] VERBOSE[5101] a:",
    "] NOTICE[5101]",
]
"""Heads of other levels by who does not know the threads' numbers, or not how dates are written here."""
TRUE = [f"[{DATE}] {level}[{number}] app_verbose.c:     -- " for level in LEVELS for number in WORKERS]
"""By who does."""


def told(found, data, before):
    """Address → failures, address → guesses made, and how often somebody was seen to have written into the log."""
    found = [*found, CLOSE]
    log = b"".join(text for text, _ in found)
    reader = detector("asterisk")
    assert reader.feed(before) == []
    seen = [one for chunk in pieces(data, log) for one in reader.events(chunk)] + reader.flush()
    made = Counter(host for _, host in found if host)
    return Counter(one.host for one in seen if isinstance(one, Failure)), made, reader.counts.tampered


def at_most(words, number, sip=CHAN_SIP):
    """Random messages with these words in their fields."""
    return st.lists(st.one_of(*events(*words), sip, OTHER), min_size=1, max_size=number)


@in_part(200)
@given(found=at_most(GUESSED, 6, CHAN_SIP_PLAIN), data=st.data())
def test_heads_of_levels_by_who_does_not_know_the_numbers(found, data):
    """Each guess counts, and nobody else's."""
    counted, made, _ = told(found, data, BEFORE)
    assert counted == made


@in_part(100)
@given(found=at_most(GUESSED, 6, CHAN_SIP_PLAIN), data=st.data())
def test_the_same_in_a_log_that_is_too_short_to_be_known(found, data):
    """When it has stood still, each guess counts as well, and nobody else's."""
    counted, made, _ = told(found, data, SHOWN)
    assert counted == made


@in_part(200)
@given(found=at_most(TRUE, 6), data=st.data(), before=st.sampled_from([b"", SHOWN, BEFORE]))
def test_who_knows_the_numbers_of_the_other_threads_is_seen(found, data, before):
    """What may hang there counts for nobody, but is told: nothing is lost without a sign, and nobody else is accused."""
    counted, made, tampered = told(found, data, before)
    assert counted <= made
    assert (made - counted).total() <= tampered


OWN = [head(kind, service, THREAD) for kind in ("InvalidAccountID", "FailedACL") for service in ("PJSIP", "AMI", "SIP")]


@in_part(200)
@given(
    found=at_most([*OWN, "m" + OWN[0][1:], "m" + OWN[2][1:], "[\x1b", *TRUE, *WORDS[:2]], 6, CHAN_SIP_PLAIN),
    data=st.data(),
)
def test_who_knows_the_number_of_the_events_too_is_seen(found, data):
    """The same, without line feeds in accounts of chan_sip: with those, he writes whole events."""
    counted, made, tampered = told(found, data, BEFORE)
    assert counted <= made
    assert (made - counted).total() <= tampered


@in_part(200)
@given(found=st.lists(st.one_of(*events(), CHAN_SIP, OTHER), min_size=1, max_size=6), data=st.data())
def test_a_file_that_ends_in_a_part_of_a_line(found, data):
    """As at a rotation: the last event without its end is nobody's, and what is written next counts."""
    log = b"".join(text for text, _ in found)
    short = data.draw(st.integers(1, 400), "bytes left out")
    reader = detector("asterisk")
    reader.feed(BEFORE)
    seen = reader.events(log[:-short]) + reader.flush() if len(log) > short else []
    seen += [one for chunk in pieces(data, unknown("1")[0] + CLOSE[0]) for one in reader.events(chunk)] + reader.flush()
    assert {one.host for one in seen if isinstance(one, Failure)} <= {ATTACKER, "203.0.113.67"}
    assert ATTACKER in {one.host for one in seen if isinstance(one, Failure)}


@pytest.mark.parametrize("level", LEVELS)
def test_a_head_with_a_number_that_no_thread_has(level):
    """In each Call-ID: counted as it comes."""
    with_head = unknown("1", f"[{DATE}] {level}[1] a.c: x")[0]
    reader = detector("asterisk")
    assert reader.feed(BEFORE) == []
    assert [one.host for one in reader.events(with_head * 5)] == [ATTACKER] * 5
    assert reader.counts.tampered == 5


def test_heads_in_the_first_lines_count_when_it_is_known_what_the_log_has():
    """64 KB later, with the dates that they have."""
    with_head = unknown("1", f"[{DATE}] NOTICE[1] a.c: x")[0]
    reader = detector("asterisk")
    assert reader.events(with_head * 5) == []
    assert [one.host for one in reader.events(BEFORE) + reader.events(CLOSE[0])][:5] == [ATTACKER] * 5


def test_heads_in_a_short_log_count_when_it_has_stood_still():
    """For five seconds: until then more may come, and who waits is known. Of a few lines nothing is known."""
    with_head = unknown("1", f"[{DATE}] NOTICE[1] a.c: x")[0]
    reader = detector("asterisk")
    assert reader.events(with_head * 19) + reader.release(10.0) == []
    assert reader.held is None
    assert reader.events(with_head) == []
    assert reader.held is not None
    assert reader.release(1.0) == []
    assert [one.host for one in reader.release(5.0)] == [ATTACKER] * 20
    assert reader.held is None
    assert [one.host for one in reader.events(with_head * 2)] == [ATTACKER] * 2


@pytest.mark.parametrize("number", [63, 64, 65, 250])
@pytest.mark.parametrize("call", ["", "[C-00000001]"])
def test_any_number_of_heads(number, call):
    """Of threads and calls that the log has not shown."""
    many = unknown("1", "".join(f"[1:11] DTMF[{thread}]{call}" for thread in range(number)))[0]
    reader = detector("asterisk")
    reader.feed(BEFORE)
    assert [one.host for one in reader.events(many * 5)] == [ATTACKER] * 5


CUT_OFF = unknown("1", "\x1b" + "a" * 7500 + "m" + "b" * 900)[0]
NAMING = unknown("1", "".join(f"[{DATE}] {level}[{worker}]" for level in LEVELS for worker in WORKERS))[0]


@pytest.mark.parametrize(
    "between", [NAMING * 50, CUT_OFF * 100, CUT_OFF.replace(b"b", b"bbbbbbbbb") * 20], ids=["named", "cut", "long"]
)
def test_what_hangs_on_a_cut_event_accuses_nobody(between):
    """Neither when a caller writes the thread's number into many lines, nor when he fills the log so that its lines are far."""
    hanging = CUT_OFF + other("VERBOSE", 5101, WHOLE[0], 0x1C)[0]
    reader = detector("asterisk")
    seen = reader.events(BEFORE) + reader.events(between + CLOSE[0]) + reader.events(hanging * 5) + reader.flush()
    assert VICTIM not in {one.host for one in seen if isinstance(one, Failure)}


def behind_a_cut(message):
    """What an event that is cut right before the text of its Call-ID leaves of itself, and a message that hangs there."""
    begin = unknown("1", "")[0].decode().partition('SessionID="')[0] + 'SessionID="'
    return written(f"{begin}\x1b{'a' * (LOGGED - len(begin) - 2)}m and more", None)[0] + message


@pytest.mark.parametrize(
    "message",
    [
        other("VERBOSE", 5101, peer(ATTACKER))[0],
        term_strip(f'{head("InvalidAccountID", "SIP", THREAD)}x",SessionID="0x7f9a{peer(ATTACKER)}\n').encode(),
    ],
    ids=["another level", "chan_sip"],
)
def test_two_stories_of_the_same_bytes(message):
    """Who knows a thread's number imitates what somebody else can have had written to accuse him: it counts for nobody."""
    own = unknown("1", message.decode().removesuffix(f"{peer(ATTACKER)}\n"))[0]
    assert own == behind_a_cut(message)
    reader = detector("asterisk")
    reader.feed(BEFORE)
    assert not [one for one in reader.events(own) + reader.events(CLOSE[0]) if isinstance(one, Failure)]
    assert reader.counts.tampered == 1


def test_what_hangs_on_a_cut_event_in_the_first_lines_accuses_nobody():
    """Also when the log turns out to have such a thread."""
    cut = unknown("1", "\x1b" + "a" * 7500 + "m" + "b" * 900)[0]
    log = cut + other("NOTICE", 5101, WHOLE[0])[0]
    reader = detector("asterisk")
    assert reader.events(log * 5) + reader.events(BEFORE) + reader.feed(CLOSE[0]) + reader.flush() == []


def test_a_thread_is_not_made_known_by_an_account():
    """A line feed in it writes a head at the beginning of a line: no thread of Asterisk has that number for that."""
    shown = unknown(f"\n[{DATE}] DTMF[1] ")[0]
    with_head = unknown("1", f"[{DATE}] NOTICE[1] a.c: x")[0]
    reader = detector("asterisk")
    reader.feed(BEFORE)
    assert [one.host for one in reader.events(shown + with_head * 5)] == [ATTACKER] * 6


SPLIT = f"\n[{DATE}] DEBUG[1] app_"
"""An account that begins a line like one of another level."""


@pytest.mark.parametrize("first", ["1", SPLIT, "1\n"])
def test_an_account_with_a_line_feed_behind_a_cut_event(first):
    """The event that has it hangs in the middle of a line: its own next line shows no thread either."""
    cut = pjsip("InvalidAccountID", first, "c", "c" * 8100, "")[0]
    hanging = pjsip("InvalidAccountID", SPLIT, "] NOTICE[5101]", "", "")[0]
    reader = detector("asterisk")
    reader.feed(BEFORE)
    seen = reader.events(cut + hanging + CLOSE[0]) + reader.flush()
    assert [one.host for one in seen if isinstance(one, Failure)] == [ATTACKER]
