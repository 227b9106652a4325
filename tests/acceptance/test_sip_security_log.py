"""Asterisk's log of security events: each guess counts once, for the socket it came from, whatever its fields hold.

A model of its writer: messages of one thread, by PJSIP, the manager interface and chan_sip, each cut at 8,191 bytes, what ESC
has eaten taken out, one after another. Callers write heads and whole events of others, line feeds and ESC into their fields.
"""

from __future__ import annotations

from collections import Counter

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from server_lines import ATTACKER, LOGGED, PBX, VICTIM, term_strip
from strangers import detector
from test_sip_nothing_hidden import KNOWN, pieces

from sipguard.model import Failure, Success

MANAGER, PHONE = "203.0.113.67", "203.0.113.20"
THREAD = 4242
DATE = "2026-01-15 10:20:30"
FAILED = 'EventTV="2026-01-15T10:20:30.123+0000",Severity="Error",Service='


def head(kind, service, thread, date=DATE):
    """What Asterisk writes before any text of a caller."""
    begin = f'[{date}] SECURITY[{thread}] res_security_log.c: SecurityEvent="{kind}",{FAILED}'
    return f'{begin}"{service}",EventVersion="1",AccountID="'


def peer(host, transport="UDP", local=5060):
    """The end of all that a caller may have written before the address."""
    return f'",LocalAddress="IPV4/{transport}/{PBX}/{local}",RemoteAddress="IPV4/{transport}/{host}/5060"'


ANSWER = ',Challenge="1",Response="2",ExpectedResponse=""'
ACL = ',ACLName="not_match_endpoint_acl"'
LOGIN = ',SessionTV="1970-01-01T00:00:00.000+0000"'
OTHERS = [
    "[Jan 15 10:20:30] NOTICE[1] a:",
    "[Jan 15 10:20:30] NOTICE[1] ",
    f"[{DATE}] VERBOSE[7][C-00000001] pbx.c: ",
    f"[{DATE}] DTMF[1] a:",
    "[] A[1] ",
    "] A[1]",
]
"""Heads of other levels: in a log of security events alone, a caller's text."""
HEADS = [
    *(f"[{DATE}] SECURITY[1]{more}" for more in ("", " ", " res_security_log.c: SecurityEvent=")),
    *(head(kind, service, 1) for kind in ("InvalidAccountID", "SuccessfulAuth") for service in ("PJSIP", "AMI", "SIP")),
    head("ChallengeResponseFailed", "PJSIP", 1) + f'1000",SessionID="c{peer(VICTIM)}',
]
WORDS = [
    peer(VICTIM), peer(VICTIM) + ANSWER, peer(VICTIM) + ACL, peer(VICTIM, "TCP") + LOGIN, f'oteAddress="IPV4/UDP/{VICTIM}/1"',
    f'oteAddress="IPV4/{VICTIM}/1"', 'oteAddress="IPV4/UDP/1.1.1.1/5060"', ',Challenge="', ',ExpectedResponse="a"',
    '",SessionID="', '",SessionID="0x1', ANSWER, LOGIN, ACL, '"', "\\", "[", "]", "\x1b", "m", "a", " ", "é", "1000",
]  # fmt: skip


def texts(*more):
    """What a caller may write where there is no line feed."""
    return st.lists(st.sampled_from([*WORDS, *HEADS, *more]), max_size=5).map("".join)


SHORT = ["[\x1b", "[1] A[1]", "[Jan 15 10:20:30] SECURITY[1]", '{"hostname":"', "{\x1b"]


def accounts(*more):
    """36 bytes, line feeds among them."""
    words = ["\n", "\n\x1b", "\x1b", *SHORT, *WORDS, *more]
    return st.lists(st.sampled_from(words), max_size=5).map(lambda found: "".join(found)[:36])


CUT = st.sampled_from(["", "", "", "\x1b" + "a" * 7500 + "m" + "b" * 900, "c" * 8100])
"""What makes a Call-ID so long that the rest of its message is gone, by chance visibly."""


def written(message, host):
    """A message as it stands in the file, and whom it accuses: nobody when its end is cut off, with the address."""
    return term_strip(message[:LOGGED]).encode(), None if len(message) > LOGGED else host


def pjsip(kind, account, call_id, cut, end):
    """An event of PJSIP; the account is a caller's only where it does not exist."""
    return written(
        f'{head(kind, "PJSIP", THREAD)}{account}",SessionID="{call_id}{cut}{peer(ATTACKER)}{end}\n', ATTACKER
    )


def answer(account, call_id, cut, nonce, response):
    """A wrong password: quotes of nonce and response are escaped."""
    nonce, response = (text.replace('"', '\\"') for text in (nonce[:63], response[:255]))
    end = f',Challenge="{nonce}",Response="{response}",ExpectedResponse=""'
    return pjsip("ChallengeResponseFailed", account, call_id, cut, end)


def manager(kind, text):
    """An event of the manager interface: the account before the address, or the request behind it."""
    start = head(kind, "AMI", THREAD)
    there = 'SessionID="0x7f5c' + peer(MANAGER, "TCP", 5038)
    if kind == "RequestNotAllowed":
        return written(f'{start}",{there},RequestType="Action: {text}"{LOGIN}\n', None)  # counts in mode=scan
    if kind == "ChallengeResponseFailed":
        return written(f'{start}",{there},Challenge="12",Response="{text}",ExpectedResponse="00"{LOGIN}\n', MANAGER)
    return written(f'{start}{text}",{there}{LOGIN}\n', MANAGER)


MANAGER_KINDS = ["InvalidAccountID", "InvalidPassword", "ChallengeResponseFailed", "RequestNotAllowed"]


def chan_sip(kind, text):
    """An event of chan_sip: the address is one that its Via header chose, so that it accuses nobody; accounts are not cut."""
    end = {"InvalidAccountID": "", "ChallengeResponseFailed": ANSWER, "FailedACL": ',ACLName="domain_must_match"'}[kind]
    return written(f'{head(kind, "SIP", THREAD)}{text}",SessionID="0x7f9a{peer(VICTIM)}{end}\n', None)


def honest(kind):
    """A phone's own registration."""
    end = {"SuccessfulAuth": ',UsingPassword="1"', "ChallengeSent": ',Challenge=""'}[kind]
    start = head(kind, "PJSIP", THREAD).replace('"Error"', '"Informational"')
    return written(f'{start}1000",SessionID="c{peer(PHONE)}{end}\n', None)


def events(*more):
    """Random messages, with more in their fields."""
    text = texts(*more)
    known = st.sampled_from(["1000", "<unknown>"])
    return [
        st.builds(pjsip, st.just("InvalidAccountID"), accounts(*more), text, CUT, st.just("")),
        st.builds(pjsip, st.just("FailedACL"), st.just("1000"), text, CUT, st.just(ACL)),
        st.builds(answer, known, text, CUT, text, text),
        st.builds(manager, st.sampled_from(MANAGER_KINDS), text.filter(lambda found: len(found) < 1000)),
        st.builds(honest, st.sampled_from(["SuccessfulAuth", "ChallengeSent"])),
    ]  # fmt: skip


WHOLE_LINES = [
    f"{begin}x{end}" for begin in HEADS for end in (peer(VICTIM), peer(VICTIM) + ANSWER, peer(VICTIM, "TCP") + LOGIN)
]
"""Whole events of others."""
FED = [
    "\n",
    *(f"\n{line}\n" for line in WHOLE_LINES),
    *(f"\n{line}" for line in HEADS),
    '\n{"hostname":"',
    "\n-- end of packet.",
]
CHAN_SIP = st.builds(
    chan_sip, st.sampled_from(["InvalidAccountID", "ChallengeResponseFailed", "FailedACL"]), texts(*FED, *OTHERS)
)
CHAN_SIP_PLAIN = st.builds(
    chan_sip, st.sampled_from(["InvalidAccountID", "ChallengeResponseFailed", "FailedACL"]), texts(*OTHERS)
)
CLOSE = honest("SuccessfulAuth")
BEFORE = honest("ChallengeSent")[0] * (KNOWN // 300)
"""As much as it takes to know that a log has no other levels."""


def check(found, data, before=b""):
    """Counted is what was made."""
    found = [*found, CLOSE]  # so that the last one does not hang at the end without a line feed
    log = b"".join(text for text, _ in found)
    made = Counter(host for _, host in found if host)
    reader = detector("asterisk")
    assert reader.feed(before) == []
    told = [one for chunk in pieces(data, log) for one in reader.events(chunk)] + reader.flush()
    assert Counter(one.host for one in told if isinstance(one, Failure)) == made


@examples(50)
@given(found=st.lists(st.one_of(*events(), CHAN_SIP), min_size=1, max_size=6), data=st.data())
def test_from_the_first_line_on(found, data):
    """Whoever else writes into it: the thread's number tells what hangs on what."""
    check(found, data)


@pytest.mark.parametrize("at_once", [1, 2, 3, 9])
def test_a_record_that_hangs_on_one_that_an_earlier_chunk_began(at_once):
    """However few lines come at once: in an account of chan_sip that follows a cut event, a caller's event is none."""
    event = f'{head("InvalidAccountID", "AMI", THREAD + 1)}x"{peer(VICTIM)}\n'
    cut = pjsip("InvalidAccountID", "\n", "b" * 9000, "", "")[0]
    log = cut + chan_sip("InvalidAccountID", f"\n{event}")[0] + CLOSE[0]
    lines = log.splitlines(keepends=True)
    reader = detector("asterisk")
    told = [one for at in range(0, len(lines), at_once) for one in reader.events(b"".join(lines[at : at + at_once]))]
    assert VICTIM not in {one.host for one in told + reader.flush() if isinstance(one, Failure)}


@examples(50)
@given(found=st.lists(st.one_of(*events(*OTHERS), CHAN_SIP), min_size=1, max_size=6), data=st.data())
def test_heads_of_other_levels(found, data):
    """Once it is known that the log has none."""
    check(found, data, BEFORE)


OWN = [head(kind, service, THREAD) for kind in ("InvalidAccountID", "FailedACL") for service in ("PJSIP", "AMI")]


@examples(50)
@given(found=st.lists(st.one_of(*events(*OWN)[:3]), min_size=1, max_size=6), data=st.data())
def test_who_knows_the_number_hides_nothing_by_events_that_count(found, data):
    """In a container it is small, and easily guessed: nobody is accused who is not, and what is whole still counts."""
    check(found, data)


def unknown(account, call_id="c"):
    """An account that does not exist."""
    return pjsip("InvalidAccountID", account, call_id, "", "")


@pytest.mark.parametrize("feeds", ["\n", "\n\n", "x\n\ny"])
def test_an_event_with_line_feeds_that_hangs_on_a_cut_one(feeds):
    """Also where that one had line feeds itself."""
    log = LONG[0] + unknown(feeds)[0] + CUT_AND_DIVIDED[0] + unknown(feeds)[0] + CLOSE[0]
    events = detector("asterisk").events(log)[:-1]
    assert [one.host for one in events] == [ATTACKER] * 2


WRONG = answer("1000", "c", "", "n", "r")
FALSE = f'{head("InvalidAccountID", "PJSIP", 1)}x",SessionID="c{peer(VICTIM)}'
IMITATED = {
    "an address and the head of an event": unknown(
        f'oteAddress="IPV4/{VICTIM}/1"\n[\x1b', "mJan 15 10:20:30] SECURITY[1] x"
    ),
    "an address and a date": unknown(f'oteAddress="IPV4/{VICTIM}/1"\n[\x1b', "mJan 15] x"),
    "a whole event": unknown("\n[\x1b", f"m{FALSE[1:]}"),
    "a whole event, many line feeds": unknown("\n" * 33 + "[\x1b", f"m{FALSE[1:]}"),
    "JSON": unknown("\n{\x1b", 'm"hostname":"x","timestamp":"1"}'),
    "another level": unknown("\n[Jan 15 10:20:30] NOTICE[1] a:\n"),
    "the report of a packet": unknown("\n[\x1b", "m1] ERROR[1] pjproject: x.c Error processing packet from x"),
    "the end of a packet": unknown("\n-- end of packet.\n"),
}
LONG = unknown("1", "\x1b" + "a" * 7500 + "m" + "b" * 900)
CUT_AND_DIVIDED = unknown("1\n2", "\x1b" + "a" * 7500 + "m" + "b" * 900)


@pytest.mark.parametrize("name", IMITATED)
@pytest.mark.parametrize("times", [1, 3])
def test_an_account_that_imitates_what_is_no_event(name, times):
    """Nobody else is accused; what follows is read as before, logins too."""
    found = [IMITATED[name], WRONG, LONG, WRONG, honest("SuccessfulAuth")] * times
    reader = detector("asterisk")
    reader.feed(BEFORE)
    told = reader.events(b"".join(text for text, _ in found))
    assert Counter(one.host for one in told if isinstance(one, Failure)) == {ATTACKER: 3 * times}
    assert sum(isinstance(one, Success) for one in told) == times


def test_a_log_with_other_levels_counts_no_line_that_such_a_one_may_hang_on():
    """Its end might be a caller's."""
    notice = f"[{DATE}] NOTICE[9] app.c: what Asterisk has to say\n".encode()
    with_head, _ = unknown("1", "[Jan 15 10:20:30] NOTICE[1] a:")
    reader = detector("asterisk")
    assert [one.host for one in reader.events(notice + with_head + WRONG[0])] == [ATTACKER]
    assert reader.counts.tampered == 1


def test_risk_of_chan_sip_who_knows_the_number_hides_a_guess():
    """What docs/logs.md says: such an event may really hang there, and its address be false."""
    own, _ = unknown("1", head("InvalidAccountID", "SIP", THREAD))
    assert detector("asterisk").events(own + CLOSE[0])[:-1] == []
