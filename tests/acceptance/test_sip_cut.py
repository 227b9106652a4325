"""Asterisk logs 8,191 bytes of a message and no more: what a caller can make of that, and of the next line that hangs on it.

Between ESC and `m` everything is taken out, but only after the cut: a cut line can be as short as any. Each of these was sent
to Asterisk 22, which wrote what the models write.
"""

from __future__ import annotations

import pytest
from effort import WHOLE
from hypothesis import given
from hypothesis import strategies as st
from server_lines import (
    ASTERISK,
    ATTACKER,
    LOGGED,
    PBX,
    TIME,
    VICTIM,
    asterisk,
    event,
    failed_response,
    in_syslog,
    notice,
)
from strangers import AMI_EVENT, AMI_TAIL, ANOTHER_LINE, FIELDS, accused, advised

PEER = f'",LocalAddress="IPV4/UDP/{PBX}/5060",RemoteAddress="IPV4/UDP/{VICTIM}/5060"'
EATEN = "\x1b" + "a" * 7000 + "m"
CUT = EATEN + "b" * 1300
"""The end of a Call-ID that takes the rest of the message with it, line feed and all, and leaves little of itself."""
MODES = ["asterisk", "asterisk[mode=scan]", "asterisk[mode=aggressive]"]


def ending_with(callid, account="1"):
    """An event that is cut exactly behind this text."""
    fields = {"account": account, "callid": EATEN + callid}
    spare = LOGGED - len(unstripped(fields).partition(callid)[0] + callid)
    return event("InvalidAccountID", {**fields, "callid": "\x1b" + "a" * (7000 + spare) + "m" + callid})


def unstripped(fields):
    """The message as it was before anything was taken out of it."""
    return event("InvalidAccountID", {**fields, "callid": fields["callid"].replace("\x1b", "e")})


def security(service, rest, kind="InvalidAccountID"):
    """An event of another service."""
    text = f'SecurityEvent="{kind}",{TIME},Severity="Error",Service="{service}",EventVersion="1",{rest}'
    return asterisk("SECURITY", "res_security_log.c", text)


FOLLOWING = {
    "answer": failed_response({"callid": "c", "nonce": "n", "response": "r"}),
    "event of chan_sip, that has its address from Via": security("SIP", f'AccountID="1",SessionID="0x7f{PEER}'),
    "request to the manager": security(
        "AMI",
        f'AccountID="",SessionID="0x1",LocalAddress="IPV4/TCP/{PBX}/5038",RemoteAddress="IPV4/TCP/{ATTACKER}/1",'
        f'RequestType="Action: x{PEER},SessionTV="1970-01-01T00:00:00.000+0000"',
        "RequestNotAllowed",
    ),
    "another level": asterisk("VERBOSE", "pbx.c", f"    -- Executing NoOp {PEER}"),
    "another level, in colours": f"[2026-01-15 10:20:30] \x1b[1;33mNOTICE\x1b[0m[4242]: app.c:1 f: {PEER}\n",
}
BEGINNINGS = {
    "event": event("InvalidAccountID", {"account": "1", "callid": CUT}),
    "line feed, answer": event(
        "InvalidAccountID", {"account": ANOTHER_LINE, "callid": AMI_EVENT + AMI_TAIL.split("ExpectedResponse")[0] + CUT}
    ),
    "line feed, whole answer": event(
        "InvalidAccountID", {"account": ANOTHER_LINE, "callid": AMI_EVENT + 'Challenge="1' + CUT}
    ),
    "line feed, request": event(
        "InvalidAccountID",
        {
            "account": ANOTHER_LINE,
            "callid": AMI_EVENT.replace("ChallengeResponseFailed", "RequestNotAllowed") + 'RequestType="a' + CUT,
        },
    ),
}


@pytest.mark.parametrize("reference", MODES)
@pytest.mark.parametrize("following", FOLLOWING.values(), ids=FOLLOWING)
@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_cut_event_and_what_hangs_on_it(reference, beginning, following):
    """Its line feed is gone: the next message goes on in its line, and may end in what a caller has written."""
    assert not beginning.endswith("\n")
    assert len(beginning) < 2000
    hosts, tampered = accused(reference, beginning + following)
    assert hosts <= {ATTACKER}
    assert tampered


@pytest.mark.parametrize("reference", MODES)
@pytest.mark.parametrize("end", ["", "\n"], ids=["joined", "its own line"])
def test_an_event_that_is_cut_behind_a_forged_address(reference, end):
    """In a file the next event hangs on it. A file in which it stood alone would have been written by somebody else."""
    cut = ending_with(PEER)
    assert cut.endswith(f'SessionID="{PEER}')
    if end:
        cut = in_syslog(cut)
    assert accused(reference, cut + end + event("InvalidAccountID", {"account": "1", "callid": ""}))[0] <= {ATTACKER}


def test_risk_of_syslog_with_an_option(tmp_path):
    """There a cut event is a line of its own, and like any other: only log=all counts it, which docs/logs.md tells of."""
    log = in_syslog(ending_with(PEER))
    assert accused("asterisk", log)[0] == set()
    assert accused("asterisk[log=all]", log)[0] == {VICTIM}
    assert "SECURITY events in syslog do not count" in advised("asterisk", log, tmp_path)


@pytest.mark.parametrize("end", ["", "\n"], ids=["joined", "its own line"])
def test_a_long_event_that_was_cut(end):
    """Nothing eaten: 8,191 bytes that end behind a forged address."""
    short = event("InvalidAccountID", {"account": "1", "callid": ""})
    room = LOGGED - short.index('",LocalAddress') - len(PEER)
    cut = event("InvalidAccountID", {"account": "1", "callid": "a" * room + PEER})
    assert cut.endswith(PEER)
    hosts, tampered = accused("asterisk[log=all]", in_syslog(cut) + end + in_syslog(short) if end else cut + short)
    assert hosts <= {ATTACKER}
    assert tampered


@pytest.mark.parametrize("length", [100, 1900, 5000, 7500])
def test_a_long_call_id_hides_nobody(length):
    """What is whole counts, however long it is."""
    assert accused("asterisk", event("InvalidAccountID", {"account": "1", "callid": "c" * length}))[0] == {ATTACKER}


@pytest.mark.more
@pytest.mark.parametrize("reference", ["asterisk", "asterisk[log=all]"])
@pytest.mark.parametrize("more", range(-80, 90, 1 if WHOLE else 4))
def test_a_forged_event_where_a_line_of_such_a_length_is_cut(reference, more):
    """Nor does what stands there count, if a cut event before it is so short that Asterisk cannot have cut there."""
    first = event("InvalidAccountID", {"account": "1", "callid": CUT})
    forged = f"[2026-01-15 10:20:30] SECURITY[1]{AMI_EVENT[1:]}{AMI_TAIL.replace('ExpectedResponse', 'Re')}"
    fields = {"nonce": "n", "response": "r"}
    before = len(first + failed_response({**fields, "callid": ""}).partition('SessionID="')[0] + 'SessionID="')
    second = failed_response({**fields, "callid": "c" * (LOGGED + more - before) + forged})
    assert second.endswith('ExpectedResponse=""\n')
    assert accused(reference, first + second)[0] == {ATTACKER}


NOTICED = 512
"""Bytes of a Call-ID in a NOTICE."""


@pytest.mark.parametrize("glued", [False, True], ids=["lines of their own", "joined"])
def test_a_call_id_that_cuts_every_event_of_its_request(glued):
    """As Asterisk 16 and 22 write it: the address is in the NOTICE alone, which counts by an option."""
    fields = {"account": "1", "callid": "c" * 8000, "display": "a", "method": "REGISTER", "user": "1"}
    challenge = event("ChallengeSent", fields, ',Challenge=""').replace('"Error"', '"Informational"')[:LOGGED]
    told = notice({**fields, "callid": "c" * NOTICED}, "Failed to authenticate")
    refused = failed_response({**fields, "nonce": "n", "response": "r"})
    assert ATTACKER not in challenge + refused
    log = challenge + refused + told if glued else told + challenge + refused
    assert accused("asterisk", log)[0] == set()
    assert accused("asterisk[log=all]", log)[0] == {ATTACKER}


@pytest.mark.parametrize("reference", MODES)
@given(
    fields=st.fixed_dictionaries(FIELDS),
    shapes=st.lists(st.sampled_from(sorted({*ASTERISK} - {"chan_sip", "iax2"})), min_size=1, max_size=4),
    padding=st.integers(7000, 8200),
    at=st.sampled_from(["callid", "display", "response", "user"]),
)
def test_random_fields_that_are_cut(reference, fields, shapes, padding, at):
    """Fields with something eaten before them, of which the cut takes a part, through every line that Asterisk has for them."""
    fields = {**fields, at: "\x1b" + "a" * padding + "m" + fields[at], "number": fields["number"].replace("\n", "")}
    log = "".join(ASTERISK[shape](fields) for shape in shapes)
    assert accused(reference, log + event("FailedACL", {"account": "1", "callid": "c"}))[0] <= {ATTACKER}
