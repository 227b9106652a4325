"""Each kind of text that servers write into their logs, among random others: nobody else is accused, and no guess is hidden."""

from __future__ import annotations

from collections import Counter

import pytest
from effort import examples
from freeswitch_kinds import KINDS, QUIET
from hypothesis import Phase, given
from hypothesis import strategies as st
from server_lines import ATTACKER
from strangers import detector
from test_sip_nothing_hidden import pieces

from sipguard.model import Failure

UNSHRUNK = [Phase.explicit, Phase.reuse, Phase.generate]
"""Logs of 100 KB take minutes to be made shorter."""


def counted(reference, chunks):
    """Address → failures."""
    reader = detector(reference)
    events = [one for chunk in chunks for one in reader.events(chunk)] + reader.flush()
    return Counter(one.host for one in events if isinstance(one, Failure))


@pytest.mark.parametrize("kind", KINDS)
@examples(5, phases=UNSHRUNK)
@given(data=st.data())
def test_freeswitch(kind, data):
    """Each failure once, for the socket."""
    others = st.lists(st.one_of(*KINDS.values()), max_size=3)
    parts = [*data.draw(others), data.draw(KINDS[kind]), *data.draw(others), data.draw(KINDS["wrong password"])]
    made = sum(number for number, _ in parts)
    log = QUIET + b"".join(text for _, text in parts)
    assert counted("freeswitch", pieces(data, log)) == {ATTACKER: made}
