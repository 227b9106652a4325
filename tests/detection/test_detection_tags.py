"""The tags of filters: what each captures, and what is refused."""

from __future__ import annotations

import re
import time
import warnings

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from sipguard.detection.expressions import Expression, compile_all, union
from sipguard.detection.tags import expand
from sipguard.errors import ConfigError

TAGS = [
    ("host-ip4", "from <HOST>$", "from 192.0.2.1", {"ip4": "192.0.2.1"}),
    ("host-ip4-zeros", "from <HOST>$", "from 192.030.0.6", {"ip4": "192.030.0.6"}),
    ("host-mapped", "from <HOST>$", "from ::ffff:192.0.2.1", {"ip4": "192.0.2.1"}),
    ("host-ip6", "from <HOST>$", "from 2001:db8::5", {"ip6": "2001:db8::5"}),
    ("host-ip6-brackets", "from <HOST>:5060$", "from [2001:db8::5]:5060", {"ip6": "2001:db8::5"}),
    ("host-ip6-end", "from <HOST>$", "from 2001:db8::", {"ip6": "2001:db8::"}),
    ("host-name", "from <HOST>$", "from pbx.example.com", {"dns": "pbx.example.com"}),
    ("addr-no-name", "from <ADDR>$", "from pbx.example.com", None),
    ("addr-ip4", "from <ADDR>$", "from [192.0.2.1]", {"ip4": "192.0.2.1"}),
    ("ip4", "<IP4> x", "192.0.2.1 x", {"ip4": "192.0.2.1"}),
    ("ip4-not-6", "^<IP4> x", "2001:db8::5 x", None),
    ("ip6", "<IP6> x", "2001:db8::5 x", {"ip6": "2001:db8::5"}),
    ("dns", "<DNS> x", "a-b.example.com x", {"dns": "a-b.example.com"}),
    ("cidr", "<ADDR>/<CIDR>", "192.0.2.0/24", {"ip4": "192.0.2.0", "cidr": "24"}),
    ("subnet", "net <SUBNET> x", "net [2001:db8::/32] x", {"ip6": "2001:db8::", "cidr": "32"}),
    ("subnet-one", "net <SUBNET> x", "net 192.0.2.1 x", {"ip4": "192.0.2.1", "cidr": None}),
    ("id", "<F-ID>\\w+</F-ID>,", "abc,", {"fid": "abc"}),
    ("id-closed", "^<F-ID/> x", "a:b x", {"fid": "a:b"}),
    ("port", "<HOST>:<F-PORT/>", "192.0.2.1:sip", {"ip4": "192.0.2.1", "fport": "sip"}),
    ("user", "<F-USER>.*?</F-USER> <HOST>$", "bob 192.0.2.1", {"user": "bob", "ip4": "192.0.2.1"}),
    ("user-empty", "'<F-USER>.*?</F-USER>' <HOST>$", "'' 192.0.2.1", {"user": ""}),
    ("alt-user", "(?:<F-USER>a</F-USER>|<F-ALT_USER1>b</F-ALT_USER1>) <HOST>", "b 192.0.2.1", {"user": "b"}),
    ("alt-user-1", "(?:<F-USER>a</F-USER>|<F-ALT_USER_1>b</F-ALT_USER_1>) <HOST>", "b 192.0.2.1", {"user": "b"}),
    ("alt-ip4", "(?:a <IP4>|b <F-ALT_IP4>\\S+</F-ALT_IP4>)$", "b 192.0.2.1", {"ip4": "192.0.2.1"}),
    ("tuple-id", "<F-ID/> <F-TUPLE_ID>\\S+</F-TUPLE_ID>$", "a b", {"fid": "a b"}),
    ("custom", "<F-REASON>\\w+</F-REASON> <HOST>", "bad 192.0.2.1", {"reason": "bad"}),
    ("own-ip4", "<F-IP4>\\d+</F-IP4>", "7", {"ip4": "7"}),
    ("session", "<F-MLFID>\\d+</F-MLFID>", "12", {"mlfid": "12"}),
    ("nofail", "<F-NOFAIL>ok</F-NOFAIL> <HOST>", "ok 192.0.2.1", {"nofail": "ok"}),
    ("literal", "<unknown> <HOST>", "<unknown> 192.0.2.1", {"ip4": "192.0.2.1"}),
    ("close-literal", "</F-USER> <HOST>", "</F-USER> 192.0.2.1", {"ip4": "192.0.2.1"}),
    ("flags-inside", "((?i)FROM) <HOST>", "from 192.0.2.1", {"ip4": "192.0.2.1"}),
    ("flags-late", "from(?i) <HOST> X", "FROM 192.0.2.1 x", {"ip4": "192.0.2.1"}),
    ("separator-is-space", r"a\sb[\s]c <HOST>", "a\x1db\x1cc 192.0.2.1", {"ip4": "192.0.2.1"}),
    ("separator-no-word", r"^u=\S+ <HOST>", "u=a\x1db 192.0.2.1", None),
    ("dollar-before-lf", "<HOST>$", "192.0.2.1\n", {"ip4": "192.0.2.1"}),
]


@pytest.mark.parametrize(("pattern", "text", "groups"), [case[1:] for case in TAGS], ids=[case[0] for case in TAGS])
def test_tag(pattern, text, groups):
    """A tag captures what it stands for in the group of its name."""
    expression = Expression(pattern)
    match = expression.search(text)
    if groups is None:
        assert match is None
    else:
        assert match is not None
        found = expression.groups_of(match)
        assert {name: found[name] for name in groups} == groups


def test_skiplines():
    """<SKIPLINES> passes over whole lines, as few as possible, each use in a group of its own."""
    expression = Expression("^a<SKIPLINES>b<SKIPLINES>c <HOST>")
    match = expression.search("a\nx\ny\nb\nc 192.0.2.1\n")
    assert match is not None
    assert (match["skiplines0"], match["skiplines1"]) == ("x\ny\n", "")


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("from <HOST", "no <HOST>"),
        ("(from <HOST>", "missing ), unterminated subpattern"),
        ("<HOST> and <HOST>", "redefinition of group name"),
        (r"\p{L} <HOST>", r"bad escape \p"),
        ("  ", "empty"),
        ("x", "no <HOST>"),
        ("<F-A-B>x</F-A-B> <HOST>", "bad character in group name"),
    ],
)
def test_refused(pattern, what):
    """A wrong regex is named with its place, its key and what is wrong."""
    with pytest.raises(ConfigError) as caught:
        compile_all([pattern], key="failregex", where="f.conf:3", needs_id=True)
    message = str(caught.value)
    assert message.startswith("f.conf:3: failregex: ")
    assert what in message
    assert "\n" not in message


def test_message_is_short():
    """A regex of many thousand characters does not fill the terminal."""
    with pytest.raises(ConfigError) as caught:
        compile_all(["(" + "x" * 10_000], key="failregex", where="f.conf:3")
    assert len(str(caught.value)) < 300


UNITABLE = [r"^a <HOST>", r"b\s+<F-USER>\w+</F-USER> <HOST>$", r"(?P<q>')?c(?(q)') <HOST>", r"<IP6>|d <IP4>"]


@pytest.mark.parametrize(
    "text", ["a 192.0.2.1", "x b  u 192.0.2.1", "'c' 192.0.2.1", "'c 192.0.2.1", "d 192.0.2.1", "e", "2001:db8::1"]
)
def test_union(text):
    """The union matches where one of its parts does, and nowhere else."""
    parts = [Expression(pattern) for pattern in UNITABLE]
    joined = union(parts)
    assert joined is not None
    assert (joined.search(text) is not None) == any(part.search(text) for part in parts)


@pytest.mark.parametrize("pattern", [r"(.)\1 <HOST>", r"(x)?(?(1)y) <HOST>", r"(?i)x <HOST>"])
def test_no_union(pattern):
    """What would mean something else within a union is not joined."""
    assert union([Expression(pattern), Expression("<HOST>")]) is None


@given(
    st.text(alphabet=st.sampled_from(list(r"a[]^-\sSd() ")), max_size=12),
    st.text(alphabet="a\x1d -^[]sS\\", max_size=6),
)
def test_means_what_re_means(pattern, text):
    """Whatever `re` accepts, the `regex` package finds in the same place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = re.compile(pattern).search(text)
        except re.error:
            return
    if not pattern.strip() or r"[^\S" in pattern or re.search(r"\[[^\]]*\\S", pattern):
        return  # `\S` within a class cannot be widened
    match = Expression(pattern).search(text)
    assert (match and match.span()) == (expected and expected.span())


@given(st.text(max_size=60))
def test_expand_never_raises(pattern):
    """Tags are replaced in any text at all."""
    assert isinstance(expand(pattern), str)


def test_timeout_is_kept():
    """The engine stops a search that backtracks for ever."""
    begun = time.process_time()
    with pytest.raises(TimeoutError):
        regex.compile(r"^(?:a|aa)+$").search("a" * 80 + "b", timeout=0.05)
    assert time.process_time() - begun < 2
