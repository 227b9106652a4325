"""What the servers tell as events is read whole, and nobody is accused by what a caller has written into one."""

import json

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from server_events import BANNER, HEAD, RECORDED, block, frames, freeswitch

from sipguard.detection.events.table import EventTable
from sipguard.errors import ConfigError
from sipguard.secret import Secret
from sipguard.sources.asterisk_events import AsteriskDialogue
from sipguard.sources.event_dialogue import RefusedError
from sipguard.sources.freeswitch_events import FreeSwitchDialogue


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
