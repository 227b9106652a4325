"""An event of Asterisk accuses the last address in it, from whichever side it is looked for: there is one way to read it."""

from __future__ import annotations

import pytest
from annotations import FILTERS
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from sipguard.config.filters import read_filter
from sipguard.detection.expressions import Expression
from sipguard.detection.time_limit import timed

LAZY, GREEDY = "<F-SESSION>.*?</F-SESSION>", "<F-SESSION>.*</F-SESSION>"
BOTH = [
    (Expression(one), Expression(one.replace(LAZY, GREEDY)))
    for one in read_filter("asterisk[mode=aggressive]", [FILTERS]).failregex
    if LAZY in one
]

PEER = '",LocalAddress="IPV4/UDP/198.51.100.1/5060",RemoteAddress="IPV4/UDP/{}/5060"'
TAILS = {
    "InvalidAccountID": ("", ',Module="x"'),
    "ChallengeResponseFailed": (
        ',Challenge="c",Response="r",ExpectedResponse=""',
        ',Challenge="",Response="",ExpectedResponse="e"',
    ),
    "FailedACL": (',ACLName="not_match_endpoint_acl"',),
}
PIECES = (
    PEER.format("192.0.2.66"), ",", '"', "\\", '\\"', "\x1b[", "m", "a", "]", " ", "=",
    ',SessionID="', ',LocalAddress="', ',RemoteAddress="',
    "IPV4/UDP/192.0.2.66/5060", ',Challenge="', ',Response="', ',ExpectedResponse="', ',Module="', ',SessionTV="', ',ACLName="',
    "not_match_endpoint_acl", *(tail for tails in TAILS.values() for tail in tails),
)  # fmt: skip
STRANGE = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


def test_there_are_such():
    """All four events that carry a caller's Call-ID in front of the address."""
    assert len(BOTH) == 4


@examples(75)
@given(st.data())
def test_one_way_to_read_it(data):
    """Whatever stands in account, Call-ID, challenge and response: both searches find the same, or both nothing."""
    kind = data.draw(st.sampled_from(sorted(TAILS)))
    tail = data.draw(st.sampled_from(TAILS[kind]))
    strange = data.draw(STRANGE.map(lambda text: text.replace('"', '\\"')))  # what Asterisk escapes
    text = (
        f'[] SECURITY[1] res_security_log.c: SecurityEvent="{kind}",EventTV="t",Severity="Error",Service="PJSIP",'
        f'EventVersion="1",AccountID="{data.draw(STRANGE)}",SessionID="{data.draw(STRANGE)}{PEER.format("203.0.113.5")}{tail}{data.draw(STRANGE)}\n'
    ).replace('Challenge="c"', f'Challenge="{strange}"')
    for both in BOTH:
        lazy, greedy = (timed(each.pattern.search, text, limit=5) for each in both)
        assert (lazy and lazy.groupdict()) == (greedy and greedy.groupdict())


@pytest.mark.parametrize("kind", sorted(TAILS))
def test_the_plain_event_counts(kind):
    """So that the test above compares more than nothing with nothing."""
    for tail in TAILS[kind]:
        text = (
            f'[] SECURITY[1] res_security_log.c: SecurityEvent="{kind}",EventTV="t",Severity="Error",Service="PJSIP",'
            f'EventVersion="1",AccountID="1000",SessionID="x{PEER.format("192.0.2.66")}{tail}{PEER.format("203.0.113.5")}{tail}\n'
        )
        found = [match["ip4"] for one, _ in BOTH if (match := timed(one.pattern.search, text, limit=5))]
        assert found == ["203.0.113.5"], tail
