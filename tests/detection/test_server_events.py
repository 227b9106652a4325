"""What the servers tell as events is read whole, and nobody is accused by what a caller has written into one."""

import gzip
import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from sipguard.detection.events.table import EventTable
from sipguard.errors import ConfigError
from sipguard.model import Failure, Success
from sipguard.secret import Secret
from sipguard.sources import asterisk_events
from sipguard.sources.asterisk_events import LARGEST, AsteriskDialogue
from sipguard.sources.event_dialogue import RefusedError
from sipguard.sources.freeswitch_events import FreeSwitchDialogue

ROOT = Path(__file__).parents[2]
RECORDED = gzip.decompress((ROOT / "fixtures/wire/freeswitch-1.11-events.raw.gz").read_bytes())
TABLES = {name: ROOT / f"filters/events/{name}.toml" for name in ("freeswitch", "asterisk")}
NOW = 1795825990.0
REFUSED = {
    "203.0.113.66": 12, "203.0.113.67": 10, "203.0.113.68": 10, "203.0.113.69": 8, "203.0.113.72": 6,
    "203.0.113.74": 8, "203.0.113.75": 8, "203.0.113.79": 1, "203.0.113.80": 5, "203.0.113.81": 4,
    "203.0.113.21": 1, "203.0.113.30": 5, "2001:db8:113::66": 8, "203.0.113.91": 6,
}  # fmt: skip
"""REGISTER and INVITE that the server has answered with 403, by the source of the packet: what events can know."""
HEAD = b"Content-Length: %d\nContent-Type: text/event-json\n\n"


def freeswitch(*pieces):
    """What the pieces tell, the dialogue, and all that it sends."""
    table = EventTable.read(TABLES["freeswitch"])
    dialogue = FreeSwitchDialogue(Secret("a secret"), table.wanted)
    events, sent = [], b""
    for piece in pieces:
        told, answer = dialogue.take(piece)
        events += told
        sent += answer
    return [one for event in events if (one := table.event_of(event, NOW))], dialogue, sent


def failures(events):
    """Address → failures."""
    return dict(Counter(one.host for one in events if isinstance(one, Failure)))


def frames():
    """The recorded session: what comes before the first event, and each event's frame."""
    begin = RECORDED.index(b"Content-Length: ")
    head, rest, found = RECORDED[:begin], RECORDED[begin:], []
    while rest:
        end = rest.index(b"\n\n") + 2
        end += int(rest.split(b"\n", 1)[0].split()[1])
        found.append(rest[:end])
        rest = rest[end:]
    return head, found


def test_the_recorded_session_tells_what_events_can_know():
    """Refused REGISTER and INVITE, each once; those in the name of .91 are reported, not proven; successes too."""
    events, dialogue, sent = freeswitch(RECORDED)
    assert failures(events) == REFUSED
    assert {one.evidence for one in events if isinstance(one, Failure)} == {"reported"}
    # .22 has registered once more than the sender's list says: the capture of the same session has that packet too.
    assert Counter(one.host for one in events if isinstance(one, Success)) == {
        "203.0.113.20": 4, "203.0.113.21": 5, "203.0.113.22": 6, "2001:db8:113::20": 4, "203.0.113.30": 5,
    }  # fmt: skip
    assert dialogue.counts.damaged == dialogue.counts.rubbish == 0
    assert sent.startswith(b"auth a secret\n\nevent json CUSTOM sofia::register sofia::register_failure")


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_session_in_pieces_tells_the_same(size):
    """However the bytes arrive."""
    pieces = [RECORDED[at : at + size] for at in range(0, len(RECORDED), size)]
    assert failures(freeswitch(*pieces)[0]) == REFUSED


def test_rubbish_between_frames_is_skipped_and_counted():
    """What stands between frames tells nothing and hides nothing."""
    random.seed(20)
    head, parts = frames()
    rubbish = [random.randbytes(random.randrange(1, 300)).replace(b"Content", b"") + b"\n" for _ in parts]
    events, dialogue, _ = freeswitch(head, *(one for pair in zip(parts, rubbish, strict=True) for one in pair))
    assert failures(events) == REFUSED
    assert dialogue.counts.rubbish > 100


@pytest.mark.parametrize("claimed", [LARGEST, 10 << 20, 999_999_999])
def test_a_length_that_is_too_long_hides_nothing(claimed):
    """The head that follows shows that it was a lie; at once, not after so many bytes."""
    head, parts = frames()
    parts[100] = HEAD % claimed + parts[100].split(b"\n\n", 1)[1]
    expected = dict(REFUSED)
    events, dialogue, _ = freeswitch(head, *parts)
    told = failures(events)
    assert sum(expected.values()) - sum(told.values()) <= 1
    assert all(told[one] <= expected[one] for one in told)
    assert len(dialogue._frames._buffer) <= 300_000


def test_a_frame_of_10_mb_is_not_kept():
    """It is passed over as it comes, and the next frame is read."""
    head, parts = frames()
    huge = [HEAD % (10 << 20), *[b'{"a":"' + b"x" * 65_530] * 160]
    huge[-1] = b"x" * ((10 << 20) - sum(map(len, huge[1:-1])))
    events, dialogue, _ = freeswitch(head, *parts[:50], *huge, *parts[50:])
    assert failures(events) == REFUSED
    assert dialogue.counts.oversize == 1


def test_a_length_that_is_too_short_costs_its_own_event_alone():
    """What is left of the body is rubbish."""
    head, parts = frames()
    number = next(i for i, part in enumerate(parts) if b"register_failure" in part)
    parts[number] = HEAD % 40 + parts[number].split(b"\n\n", 1)[1]
    events, dialogue, _ = freeswitch(head, *parts)
    assert sum(failures(events).values()) == sum(REFUSED.values()) - 1
    assert dialogue.counts.damaged == 1


def test_an_event_of_freeswitch_with_a_key_twice_names_nobody():
    """FreeSWITCH writes each once."""
    body = b'{"Event-Subclass":"sofia::register_failure","network-ip":"192.0.2.99","network-ip":"203.0.113.66"}'
    events, dialogue, _ = freeswitch(frames()[0], HEAD % len(body) + body)
    assert not events
    assert dialogue.counts.tampered == 1


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n", "ACL"),
        (b"Content-Type: auth/request\n\nContent-Type: command/reply\nReply-Text: -ERR invalid\n\n", "password"),
        (RECORDED[: RECORDED.index(b"+OK event")] + b"-ERR no\n\n", "refuses the command"),
    ],
)
def test_a_refusal_of_freeswitch_is_one_line(told, said):
    """Which never holds the password."""
    with pytest.raises(RefusedError, match=said) as caught:
        freeswitch(told)
    assert "a secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_but_auth_event_and_exit_is_sent():
    """Whatever the server says: the password is power over the whole server."""
    words = set()
    for seed in range(200):
        rng = random.Random(seed)
        said = [
            b"Content-Type: %s\nReply-Text: %s\n\n" % (rng.choice(kinds), rng.choice([b"+OK", b"+OK accepted", b"x"]))
            for kinds in [[b"auth/request", b"command/reply", b"api/response", b"log/data"]] * 8
        ]
        try:
            _, dialogue, sent = freeswitch(*said)
        except RefusedError:
            continue
        words |= {command.split()[0] for command in (sent + dialogue.farewell()).split(b"\n\n") if command}
    assert words == {b"auth", b"event", b"exit"}


def test_a_login_of_verto_is_proven_by_its_connection():
    """It comes over a WebSocket."""
    for success, kind in (("0", Failure), ("1", Success)):
        fields = {
            "Event-Subclass": "verto::login", "verto_client_address": "203.0.113.66:40112",
            "verto_login": "1000@pbx.example", "verto_success": success,
        }  # fmt: skip
        body = json.dumps(fields).encode()
        ((event,), _, _) = freeswitch(frames()[0], HEAD % len(body) + body)
        assert isinstance(event, kind)
        assert event.host == "203.0.113.66"
        assert getattr(event, "evidence", "proven") == "proven"


# Asterisk

ACCEPTED = b"Asterisk Call Manager/8.0.2\r\nResponse: Success\r\nMessage: Authentication accepted\r\n\r\n"
TRUE = "203.0.113.66"
VICTIM = "192.0.2.99"


def block(name="ChallengeResponseFailed", account="1000", session="c1", service="PJSIP", transport="UDP", **more):
    """An event as Asterisk writes it, whatever the values hold."""
    fields = {
        "Event": name, "Privilege": "security,all", "EventTV": "2026-11-28T00:33:10.000+0000", "Severity": "Error",
        "Service": service, "EventVersion": "1", "AccountID": account, "SessionID": session,
        "LocalAddress": f"IPV4/{transport}/203.0.113.1/5060", "RemoteAddress": f"IPV4/{transport}/{TRUE}/5060", **more,
    }  # fmt: skip
    if name == "ChallengeResponseFailed":
        tail = {"Challenge": "1/a", "Response": "b", "ExpectedResponse": ""}
        fields = {key: value for key, value in fields.items() if key not in tail} | tail
        fields |= more
    return "".join(f"{key}: {value}\r\n" for key, value in fields.items()).encode("utf-8", "surrogateescape") + b"\r\n"


BANNER = ACCEPTED + block("SuccessfulAuth", "sipguard", service="AMI", transport="TCP", UsingPassword="0")
"""Behind a login; Asterisk tells it of itself."""


def asterisk(*pieces):
    """What the pieces tell behind a login, and the dialogue."""
    table = EventTable.read(TABLES["asterisk"])
    dialogue = AsteriskDialogue("sipguard", Secret("a secret"))
    events = []
    for piece in (BANNER, *pieces):
        events += dialogue.take(piece)[0]
    return [one for event in events if (one := table.event_of(event, NOW))], dialogue


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


FORGED = f"RemoteAddress: IPV4/UDP/{VICTIM}/5060"
HOSTILE = [
    f"\r\n{FORGED}",
    f"a\r\nSessionID: b\r\nLocalAddress: IPV4/UDP/203.0.113.1/5060\r\n{FORGED}",
    f"a\r\nSessionID: b\r\nLocalAddress: IPV4/UDP/203.0.113.1/5060\r\n{FORGED}\r\n\r\n",
    f"a\r\n\r\n{block('ChallengeResponseFailed').decode().replace(TRUE, VICTIM)}",
    f"a\r\n\r\n{block('InvalidAccountID').decode().replace(TRUE, VICTIM) * 5}",
    f"a\r\n\r\n{block('InvalidAccountID').decode().replace(TRUE, VICTIM)[:-2]}",
    f'a"\n{FORGED}',
    f"a\r{FORGED}",
    "\x1b[2Ja",
    "x" * 8000,
    "Response: Error\r\n\r\nEvent: x",
    "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
    "a\r\n\r\n",
]


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


@pytest.mark.fuzz
@examples(100)
@given(st.lists(st.one_of(st.binary(max_size=300), st.sampled_from([BANNER, RECORDED[:3000], block(), b"\r\n\r\n"]))))
def test_no_bytes_make_a_reader_fail(pieces):
    """Refusals are all that leaves it."""
    for dialogue in (AsteriskDialogue("u", Secret("p")), FreeSwitchDialogue(Secret("p"), {"a::b": ["c"]})):
        for piece in pieces:
            try:
                dialogue.take(piece)
            except RefusedError:
                break


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


ODD = [
    "",
    "a",
    '"',
    "\\",
    '\\"',
    "\r",
    "\n",
    "\x1b",
    "é",
    "\udcff",
    "\u2028",
    "{",
    '","network-ip":"192.0.2.99',
    "1" * 300,
]
KEYS = [
    "Event-Name",
    "Event-Subclass",
    "network-ip",
    "to-user",
    "user-agent",
    "network-ip\\",
    'x","network-ip',
    "other",
    "é",
]
NAMES = ["sofia::register", "sofia::register_failure", "x"]


@pytest.mark.fuzz
@examples(400)
@given(
    st.lists(
        st.tuples(st.sampled_from(KEYS), st.one_of(st.sampled_from([*ODD, *NAMES]), st.text(max_size=9))), max_size=9
    ),
    st.booleans(),
)
def test_an_event_that_is_read_by_its_keys_alone_is_what_a_decoder_makes_of_it(pairs, ascii_alone):
    """Whatever its values are, and also where a key stands twice; never the other event's fields."""
    body = ",".join(f"{json.dumps(k, ensure_ascii=False)}:{json.dumps(v, ensure_ascii=ascii_alone)}" for k, v in pairs)
    told = f"{{{body}}}".encode("utf-8", "surrogateescape")
    dialogue = FreeSwitchDialogue(Secret("p"), EventTable.read(TABLES["freeswitch"]).wanted)
    usual = dialogue._usual(told)
    assert usual is None or usual == dialogue._decoded(told)


def test_recorded_events_are_read_by_their_keys_alone():
    """All of them, so that the decoder is for what is odd."""
    dialogue = FreeSwitchDialogue(Secret("p"), EventTable.read(TABLES["freeswitch"]).wanted)
    bodies = [part.split(b"\n\n", 1)[1] for part in frames()[1]]
    events = [body for body in bodies if body.startswith(b"{")]
    assert len(events) > 100
    assert sum(dialogue._usual(body) is None for body in events) == 0
    assert all(dialogue._usual(body) == dialogue._decoded(body) for body in events)


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
        text = one.decode("utf-8", "replace")
        usual = asterisk_events._usual(text)
        assert usual is None or usual == asterisk_events._exact(text)
    assert asterisk_events._usual(block("InvalidAccountID")[:-4].decode()) is not None


@pytest.mark.parametrize("agent", [b"\xff", b"a\tb", b"\x7f", b"\xed\xb3\xbf", b'\\"', b"\\u0000"])
@pytest.mark.parametrize("blank", [b"", b" "])
def test_odd_bytes_in_a_field_of_freeswitch_hide_no_attempt(agent, blank):
    """Neither in a field that is read nor in another, whichever way it is read."""
    for key in (b"user-agent", b"contact"):
        body = b'{"Event-Subclass":"sofia::register_failure","network-ip":"203.0.113.66","%b":"%b"}' % (key, agent)
        body = body.replace(b'":"', b'":' + blank + b'"')
        events, dialogue, _ = freeswitch(frames()[0], HEAD % len(body) + body)
        assert failures(events) == {"203.0.113.66": 1}
        assert dialogue.counts.damaged == 0


@pytest.mark.fuzz
@examples(100)
@given(st.dictionaries(st.text(max_size=12), st.one_of(st.text(max_size=40), st.integers(), st.none()), max_size=6))
def test_no_fields_make_a_table_fail(fields):
    """Whatever an event holds."""
    base = {"Event-Subclass": "sofia::register_failure", "network-ip": "203.0.113.66", "Event-Date-Timestamp": "1"}
    body = json.dumps(base | fields).encode()
    for one in freeswitch(frames()[0], HEAD % len(body) + body)[0]:
        assert one.time is not None


@pytest.mark.parametrize("text", ["", "time = 1", 'time = "a"\n[[event]]\nname = "x"\nis = "what"', "["])
def test_a_table_that_is_none_is_told_with_its_file(tmp_path, text):
    """In one line."""
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"x\.toml"):
        EventTable.read(path)


def test_2000_events_a_second_take_little():
    """At most 5 % of a processor: 25 µs each."""
    head, parts = frames()
    told = [part for part in parts if b"sofia::register" in part]
    stream = b"".join(told)
    table = EventTable.read(TABLES["freeswitch"])
    best = 1.0
    for _ in range(5):
        dialogue = FreeSwitchDialogue(Secret("p"), table.wanted)
        dialogue.take(head)
        begun = time.process_time()
        for at in range(0, len(stream), 16_384):
            for event in dialogue.take(stream[at : at + 16_384])[0]:
                table.event_of(event, NOW)
        best = min(best, (time.process_time() - begun) / len(told))
    assert best < 100e-6, f"{best * 1e6:.1f} µs"
    print(f"{best * 1e6:.1f} µs an event of FreeSWITCH")
