"""What Asterisk tells as events is read whole, and nobody is accused by what a caller has written into one."""

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from server_events import ACCEPTED, HOSTILE, ODD, TRUE, VICTIM, asterisk, block

from sipguard.model import Failure, Success
from sipguard.secret import Secret
from sipguard.sources import asterisk_events
from sipguard.sources.asterisk_events import LARGEST, AsteriskDialogue
from sipguard.sources.event_dialogue import RefusedError


@pytest.mark.parametrize("transport", ["UDP", "TCP", "TLS", "WS", "WSS"])
def test_a_refused_password_of_asterisk_is_a_failure(transport):
    """Over a connection its address is proven."""
    ((event,), _) = asterisk(block(transport=transport))
    assert (event.host, event.user, event.tags["session"]) == (TRUE, "1000", "c1")
    assert event.evidence == ("reported" if transport == "UDP" else "proven")
    assert event.time == pytest.approx(1795825990.0)


def test_successes_and_others_of_asterisk():
    """A success is one; what chan_sip tells, and challenges, count for nothing."""
    others = block("ChallengeSent", Challenge="x") + block(service="SIP") + block("FailedACL", ACLName="registrar_x")
    events, dialogue = asterisk(block("SuccessfulAuth", UsingPassword="1"), others, block("InvalidAccountID", "nobody"))
    assert [type(one) for one in events] == [Success, Failure]
    assert dialogue.counts.tampered == 0


@pytest.mark.parametrize("field", ["account", "session", "Challenge", "Response", "ACLName"])
@pytest.mark.parametrize("value", HOSTILE)
def test_nobody_is_accused_by_what_a_caller_has_written(value, field):
    """Neither by a line nor by whole events in a value; what comes afterwards is read as ever."""
    padding = [block("ChallengeSent", session=str(number), Challenge="p" * 200) for number in range(60)]
    events, _ = asterisk(block("ChallengeResponseFailed", **{field: value}), *padding, block(account="2000"))
    assert VICTIM not in {one.host for one in events}
    assert events[-1].user == "2000"


@pytest.mark.parametrize("value", [value[:36] for value in HOSTILE])
def test_an_account_that_nobody_has_is_cut_to_36(value):
    """Asterisk cuts the name of a caller, so that it cannot hold a whole address and what must come before it."""
    events, _ = asterisk(block("InvalidAccountID", value), block(account="2000"), *[block(account="3000")] * 60)
    assert VICTIM not in {one.host for one in events}
    assert events[-1].user == "3000"


@pytest.mark.parametrize(
    "value",
    ["a\r\nRemoteAddress: IPV4/UDP/192.0.2.9", "a\r\n\r\nEvent: X", "1000\r\n\r\n", "a\r\n", "a\r\n\r\nb\r\n\r\nc"],
)
def test_a_hostile_name_costs_no_other_event(value):
    """What was measured on Asterisk 22: behind each such name the next event is read, so nobody is deaf for a while."""
    pair = block("InvalidAccountID", value) + block("ChallengeResponseFailed", "<unknown>", session="s")
    events, dialogue = asterisk(*[pair + block(account=str(number)) for number in range(20)])
    assert [one.user for one in events] == [user for number in range(20) for user in ("<unknown>", str(number))]
    assert dialogue.counts.tampered >= 20


@pytest.mark.parametrize("text", ["\r", "\n", "\x1b[2J", "\x00", "\x85", "\u2028", "\x7f", '"', "\r\r", "x" * 8000])
@pytest.mark.parametrize("field", ["session", "Challenge", "Response"])
def test_a_value_with_odd_bytes_is_an_attempt_like_any_other(text, field):
    """Asterisk judges the password, so it counts: CR alone ends no line, and it was seen in a nonce; ESC in a Call-ID."""
    events, dialogue = asterisk(block(**{field: f"a{text}RemoteAddress: {VICTIM}"}))
    assert [one.host for one in events] == [TRUE]
    assert dialogue.counts.tampered == 0


def test_an_asterisk_that_tells_not_even_of_its_own_login_is_not_ready():
    """The user lacks `read = security`: to take silence for peace would silence the log as well."""
    dialogue = AsteriskDialogue("sipguard", Secret("a secret"))
    dialogue.take(ACCEPTED)
    assert (dialogue.ready, "read = security" in dialogue.silence) == (False, True)
    dialogue.take(block("SuccessfulAuth", "sipguard", service="AMI", UsingPassword="0"))
    assert dialogue.ready


def test_an_attempt_that_is_told_before_our_own_login_counts():
    """On a busy server another event may come first; it shows as well that this user may read them."""
    dialogue = AsteriskDialogue("sipguard", Secret("a secret"))
    events, _ = dialogue.take(ACCEPTED + block())
    assert dialogue.ready
    assert [event.fields["AccountID"] for event in events] == ["1000"]


def test_an_endless_event_is_not_kept():
    """Memory is bounded, and the next event is read."""
    events, dialogue = asterisk(*[b"Event: x\r\nA: " + b"y" * 60_000] * 100, b"\r\n\r\n", *[block()] * 300)
    assert dialogue.counts.oversize == 1
    assert len(events) > 100
    assert len(dialogue._blocks._buffer) <= LARGEST


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (b"SSH-2.0-x\r\n", "no manager interface"),
        (b"x" * 300, "no manager interface"),
        (b"Asterisk Call Manager/8\r\nResponse: Error\r\nMessage: Authentication failed\r\n\r\n", "password is wrong"),
        (b"Asterisk Call Manager/8\r\nResponse: Error\r\nMessage: Permission denied\r\n\r\n", "read = security"),
    ],
)
def test_a_refusal_of_asterisk_is_one_line(told, said):
    """Which never holds the password."""
    with pytest.raises(RefusedError, match=said) as caught:
        AsteriskDialogue("sipguard", Secret("a secret")).take(told)
    assert "a secret" not in str(caught.value)


PIECES = [
    "\r\n",
    "\r",
    "\n",
    "Event: A",
    "RemoteAddress: ",
    f"IPV4/UDP/{VICTIM}/1",
    "SessionID: ",
    "Response: Success",
    ": ",
    "a",
]


@pytest.mark.fuzz
@examples(100)
@given(st.lists(st.sampled_from(PIECES)).map(lambda pieces: "".join(pieces)[:36]))
def test_no_name_accuses_another_or_hides_the_next_event(name):
    """Whatever of Asterisk's own words it is made of, in the 36 characters that there are."""
    refused = block("ChallengeResponseFailed", "<unknown>", session="s")
    events, _ = asterisk(*[block("InvalidAccountID", name) + refused + block(account="2000")] * 2)
    assert {one.host for one in events} == {TRUE}
    assert [one.user for one in events if one.user in {"2000", "<unknown>"}] == ["<unknown>", "2000"] * 2


@pytest.mark.fuzz
@examples(250)
@given(
    st.sampled_from(["ChallengeResponseFailed", "InvalidAccountID", "SuccessfulAuth", "ChallengeSent", "Other"]),
    st.dictionaries(
        st.sampled_from(
            ["account", "session", "Challenge", "Response", "UsingPassword", "Module", "Event", "AccountID"]
        ),
        st.one_of(st.sampled_from([*HOSTILE, *ODD]), st.text(max_size=9)),
        max_size=4,
    ),
    st.integers(0, 400),
)
def test_an_event_of_asterisk_that_is_read_at_once_is_what_its_lines_say(name, fields, cut):
    """A block that `_usual` takes is the same, line by line."""
    told = block(name, **fields)[:-4]
    for one in (told, told[:cut], told[cut:]):
        text = one.decode("latin-1")
        usual = asterisk_events._usual(text)
        assert usual is None or usual == asterisk_events._exact(text)
    assert asterisk_events._usual(block("InvalidAccountID")[:-4].decode()) is not None
