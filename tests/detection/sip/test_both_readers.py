"""Messages are read in a fast way and a liberal one: where the fast way answers, it answers the same."""

from __future__ import annotations

from effort import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sip_packets import request, uuid

from sipguard.detection.sip import messages

NAMES = [
    b"Via",
    b"v",
    b"VIA",
    b"Call-ID",
    b"i",
    b"CSeq",
    b"To",
    b"t",
    b"From",
    b"Authorization",
    b"Proxy-Authorization",
]
NAMES += [b"User-Agent", b"Reason", b"Subject", b"X-Long-Name-Of-No-Interest", b"", b"a b", b"to\t", b"To "]
values = st.one_of(
    st.sampled_from(
        [b"SIP/2.0/UDP a;branch=z9", b'"a:b" <sip:1@b>', b'Digest username="a", nonce="n"', b"", b" ", b"a\tb"]
    ),
    st.binary(max_size=12).map(lambda value: value.translate(None, b"\r\n")),
)
lines = st.builds(
    bytes.__add__, st.sampled_from(NAMES), st.builds(bytes.__add__, st.sampled_from([b":", b": ", b" :", b""]), values)
)


@examples(300, suppress_health_check=list(HealthCheck))
@given(st.lists(lines, max_size=12))
def test_same_headers(found):
    """For lines that end in CR LF and are not folded."""
    head = [b"REGISTER sip:a SIP/2.0", *(line for line in found if line)]
    fast = messages._fast(head)
    assert fast is None or fast == messages._slow(b"\r\n".join(head))


def test_a_usual_request_is_read_the_fast_way(monkeypatch):
    """Not only are both ways right: the fast one is taken."""
    monkeypatch.setattr(messages, "_slow", None)
    found = messages.request(request("INVITE", nonce=uuid(1), body="v=0\r\n"))
    assert (found.user, found.headers.to_user, found.headers.method) == ("1000", "1000", "INVITE")


FIELDS = (
    rb'username="a"|username="a=b"|realm="r"|realm="nonce=x"|nonce="n1"|nonce="n,2"|uri="sip:a;b=c"|uri="sip:a"|NONCE=n5|'
    rb'response="00"|response="nonce=3"|algorithm=MD5|opaque="nonce=n4"|opaque="response=1"|opaque=""|cnonce="c"|nc=1|qop=auth'
).split(b"|")


@examples(300, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(FIELDS), max_size=8), st.booleans(), st.sampled_from([b", ", b","]))
def test_same_credentials(fields, usual, comma):
    """The usual form of credentials gives what a search gives."""
    if usual:
        fields = [b'username="a"', b'realm="r"', b'nonce="n1"', b'uri="sip:a"', b'response="00"', *fields]
    text = b"Digest " + comma.join(fields)
    quoted = messages._quoted(text)
    assert quoted is None or quoted == messages._any_credentials(text)


@examples(100, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.sampled_from(
            [b'nonce="', b' nonce="', b"nonce=", b"NONCE", b"abc-1/2", b'"', b",", b" ", b"cnonce=", b"\r", b"x"]
        ),
        max_size=8,
    ).map(b"".join)
)
def test_same_nonces(text):
    """The usual form of a challenge is found without a regex."""
    nonces, first = messages.nonces_in(text)
    found = messages._NONCE.findall(text)
    assert nonces == tuple(dict.fromkeys(map(hash, found)))[: messages.MOST_NONCES]
    assert first == (found[0] if found else b"")
