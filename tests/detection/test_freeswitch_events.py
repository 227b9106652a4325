"""What FreeSWITCH tells as events is read whole, and nobody is accused by what a caller has written into one."""

import json
import random
import time
from collections import Counter

import pytest
from effort import WHOLE, examples
from hypothesis import given
from hypothesis import strategies as st
from server_events import HEAD, NOW, ODD, RECORDED, TABLES, failures, frames, freeswitch

from sipguard.detection.events.table import EventTable
from sipguard.model import Failure, Success
from sipguard.secret import Secret
from sipguard.sources.asterisk_events import LARGEST
from sipguard.sources.event_dialogue import RefusedError
from sipguard.sources.freeswitch_events import FreeSwitchDialogue

REFUSED = {
    "203.0.113.66": 12, "203.0.113.67": 10, "203.0.113.68": 10, "203.0.113.69": 8, "203.0.113.72": 6,
    "203.0.113.74": 8, "203.0.113.75": 8, "203.0.113.79": 1, "203.0.113.80": 5, "203.0.113.81": 4,
    "203.0.113.21": 1, "203.0.113.30": 5, "2001:db8:113::66": 8, "203.0.113.91": 6,
}  # fmt: skip
"""REGISTER and INVITE that the server has answered with 403, by the source of the packet: what events can know."""


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


@pytest.mark.more
@pytest.mark.parametrize("size", [1, 7, 4096] if WHOLE else [7, 4096])
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
    told = f"{{{body}}}".encode("utf-8", "surrogateescape").decode("latin-1")
    dialogue = FreeSwitchDialogue(Secret("p"), EventTable.read(TABLES["freeswitch"]).wanted)
    usual = dialogue._usual(told)
    assert usual is None or usual == dialogue._decoded(told)


def test_recorded_events_are_read_by_their_keys_alone():
    """All that sipguard asks for begin so: the decoder is for what is odd."""
    dialogue = FreeSwitchDialogue(Secret("p"), EventTable.read(TABLES["freeswitch"]).wanted)
    bodies = [part.split(b"\n\n", 1)[1].decode("latin-1") for part in frames()[1]]
    events = [body for body in bodies if body.startswith('{"Event-Subclass"')]
    assert len(events) > 100
    assert sum(dialogue._usual(body) is None for body in events) == 0
    assert all(dialogue._usual(body) == dialogue._decoded(body) for body in events)


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
