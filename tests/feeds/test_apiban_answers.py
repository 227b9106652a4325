"""One answer of APIBAN: what it means, and what of it must not be used."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.errors import FeedError
from sipguard.feeds.apiban import Page, RateLimitError, read_answer
from sipguard.feeds.web import Response

ASKED = "1000"


def read(status, content, **headers):
    return read_answer(Response(status, headers, json.dumps(content).encode()), ASKED)


@pytest.mark.parametrize(
    ("content", "page"),
    [
        pytest.param(
            {"ipaddress": ["192.0.2.1", "192.0.2.2"], "ID": "2000"}, (("192.0.2.1", "192.0.2.2"), 0), id="list"
        ),
        pytest.param({"ipaddress": "192.0.2.1", "ID": "2000"}, (("192.0.2.1",), 0), id="string"),
        pytest.param({"ipaddress": ["2001:DB8::1"], "ID": 2000}, (("2001:db8::1",), 0), id="number-as-id"),
        pytest.param({"ipaddress": ["192.0.2.1"] * 3, "ID": "2000", "x": 1}, (("192.0.2.1",), 0), id="twice"),
        pytest.param(
            {"ipaddress": ["10.0.0.1", "192.0.2.1", "odd"], "ID": "2000"}, (("192.0.2.1",), 2), id="some-refused"
        ),
        pytest.param({"ipaddress": ["10.0.0.1"], "ID": "2000"}, ((), 1), id="all-refused"),
    ],
)
def test_pages(content, page):
    """A page has addresses in one form, those that may enter, and leads on."""
    assert read(200, content) == Page(*page, next_id="2000")


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("listed", [["no new bans"], "no new bans", [], None])
def test_complete(status, listed):
    """`none` is the end of the list, with either status."""
    assert read(status, {"ipaddress": listed, "ID": "none"}) is None


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        pytest.param(403, {"ipaddress": "none", "ID": "unauthorized"}, "rejects the key", id="key"),
        pytest.param(200, {"ipaddress": "none", "ID": "unauthorized"}, "rejects the key", id="key-with-200"),
        pytest.param(404, {"ipaddress": ["no new bans"], "ID": "none"}, "status 404: no new bans", id="404"),
        pytest.param(503, {}, "status 503", id="503"),
        pytest.param(200, {"ipaddress": ["192.0.2.1"], "ID": "1000"}, "back to 1000", id="no-progress"),
        pytest.param(200, {"ipaddress": ["192.0.2.1"], "ID": "-2000"}, "unexpected answer", id="negative"),
        pytest.param(200, {"ipaddress": ["192.0.2.1"], "ID": "9" * 31}, "unexpected answer", id="long-id"),
        pytest.param(200, {"ipaddress": ["192.0.2.1"], "ID": "٢٠٠٠"}, "unexpected answer", id="other-digits"),
        pytest.param(200, {"ipaddress": ["192.0.2.1"], "ID": True}, "unexpected answer", id="true-as-id"),
        pytest.param(200, {"ipaddress": ["192.0.2.1"], "ID": ["2000"]}, "unexpected answer", id="list-as-id"),
        pytest.param(200, {"ipaddress": {"a": 1}, "ID": "2000"}, "contains invalid addresses", id="object"),
        pytest.param(
            200, {"ipaddress": [["192.0.2.1"], 5, None], "ID": "2000"}, "contains invalid addresses", id="no-strings"
        ),
        pytest.param(200, {"ipaddress": [], "ID": "2000"}, "no addresses", id="empty"),
        pytest.param(200, ["192.0.2.1"], "unexpected answer", id="no-object"),
        pytest.param(200, {"ipaddress": ["\x1b[2J"], "ID": "2000"}, r"\\x1b", id="control-bytes"),
    ],
)
def test_not_to_be_used(status, content, message):
    """Everything else is a problem in one printable line."""
    with pytest.raises(FeedError, match=message) as caught:
        read(status, content)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("headers", "after"),
    [({}, 0.0), ({"retry-after": "60"}, 60.0), ({"retry-after": "soon"}, 0.0), ({"retry-after": "9" * 50}, 0.0)],
)
def test_rate_limit(headers, after):
    """Too many requests is told apart, with how long the server asks to wait."""
    for status in (429, 200):
        with pytest.raises(RateLimitError) as caught:
            read(status, {"ipaddress": "rate limit exceeded", "ID": "unauthorized"}, **headers)
        assert caught.value.after == after


@given(st.integers(100, 599), st.binary() | st.recursive(st.none() | st.text() | st.integers() | st.floats(), st.lists))
def test_any_answer(status, content):
    """Whatever comes, it is a page, the end, or a FeedError."""
    body = content if isinstance(content, bytes) else json.dumps({"ipaddress": content, "ID": content}).encode()
    with contextlib.suppress(FeedError):
        assert isinstance(read_answer(Response(status, {}, body), ASKED), Page | None)
