"""From lines to failures: the order of prefregex, failregex and ignoreregex, times, and what hostile lines can do."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.detection.detector import Detector
from sipguard.detection.results import Counts
from sipguard.errors import ConfigError
from sipguard.model import Filter

NOW = datetime(2026, 11, 21, 20, 18, tzinfo=UTC).timestamp()
FAILED = r"^ login failed for '<F-USER>[^']*</F-USER>' from <HOST>$"


def made(*failregex, clock=lambda: NOW, **more):
    """A detector for these failregexes; the rest is what a filter has."""
    settings = {key: more.pop(key) for key in ("timezone", "encoding", "time_limit") if key in more}
    return Detector(Filter("t", failregex, **more), clock=clock, **{"timezone": "UTC", **settings})


def line(text, second=0):
    return f"2026-11-21 20:17:{second:02} {text}"


def test_failure():
    """All that a line tells is in the failure."""
    (failure,) = made(FAILED).feed(
        f"{line(chr(39).join(['login failed for ', 'bob', ' from 192.0.2.1']))}\r\n".encode()
    )
    assert failure.host == "192.0.2.1"
    assert failure.time == NOW - 60
    assert (failure.user, failure.users, failure.attempts, failure.regex) == ("bob", ("bob",), 1, 0)
    assert failure.session is None
    assert failure.lines == (line("login failed for 'bob' from 192.0.2.1"),)
    assert failure.tags == {"user": "bob", "ip4": "192.0.2.1"}


IDS = [
    ("ip4", "a <HOST>", "a 192.030.0.6", "192.030.0.6", {}),
    ("ip6-as-written", "a <HOST>", "a 2001:DB8::5", "2001:DB8::5", {}),
    ("name", "a <HOST>", "a pbx.example.com", "pbx.example.com", {}),
    ("network", "a <SUBNET>", "a 192.0.2.0/24", "192.0.2.0/24", {}),
    ("no-network", "a <SUBNET>", "a 192.0.2.1/33", "192.0.2.1", {}),
    ("no-network6", "a <SUBNET>", "a 2001:db8::1/129", "2001:db8::1", {}),
    ("endless-network", "a <SUBNET>", f"a 192.0.2.1/{'9' * 5000}", "192.0.2.1", {}),
    ("id", "a <F-ID>\\w+</F-ID>", "a bob", "bob", {}),
    ("id-and-ip", "a <F-ID>\\w+ <HOST></F-ID>", "a bob 192.0.2.1", "bob 192.0.2.1", {"ip": "192.0.2.1"}),
    ("no-id", "a(?: <F-ID>\\w+</F-ID>)?", "a", None, {}),
]


@pytest.mark.parametrize(("regex", "text", "host", "tags"), [case[1:] for case in IDS], ids=[case[0] for case in IDS])
def test_host(regex, text, host, tags):
    """The host is the id as the log writes it; an id of the filter's own goes before the address."""
    examined = made(regex).examine(line(text))
    assert examined.matched == (host is not None)
    if host is not None:
        assert examined.failure.host == host
        assert tags.items() <= examined.failure.tags.items()


def test_empty_user_is_not_none():
    """`user: ""` says that the log names an empty user."""
    failure = made(FAILED).examine(line("login failed for '' from 192.0.2.1")).failure
    assert (failure.user, failure.users) == ("", ())


def test_first_failregex_wins():
    """A line is one failure at most."""
    detector = made("^ a <HOST>", "^ a .*<HOST>$", "b <HOST>")
    assert [failure.regex for failure in detector.feed(f"{line('a 192.0.2.1')}\n{line('b 192.0.2.1')}\n".encode())] == [
        0,
        2,
    ]


def test_prefregex():
    """The failregex sees what prefregex captured as content; groups of both are the failure's."""
    detector = made("^x <HOST>$", prefregex=r"^ <F-USER>\w+</F-USER>: <F-CONTENT>.+</F-CONTENT>$")
    examined = detector.examine(line("bob: x 192.0.2.1"))
    assert (examined.failure.user, examined.failure.host) == ("bob", "192.0.2.1")
    assert not detector.examine(line("x 192.0.2.1")).matched
    assert detector.counts.candidates == 1


def test_group_of_both():
    """What the failregex captures goes before what prefregex did, unless that group took no part in its match."""
    detector = made(
        "^x(?: <ADDR>)?(?: <F-USER>\\w+</F-USER>)?$",
        prefregex=r"^ <F-USER>\w+</F-USER> <ADDR>: <F-CONTENT>.+</F-CONTENT>$",
    )
    told = [detector.examine(line(f"bob 192.0.2.1: x{more}")).failure for more in ("", " eve", " 192.0.2.9 eve")]
    assert [(one.host, one.user) for one in told] == [
        ("192.0.2.1", "bob"),
        ("192.0.2.1", "eve"),
        ("192.0.2.9", "eve"),
    ]


def test_id_in_prefregex():
    """A prefregex that has the id spares the failregex one."""
    detector = made("^bad$", prefregex="^ <HOST> <F-CONTENT>.+</F-CONTENT>$")
    assert detector.examine(line("192.0.2.1 bad")).failure.host == "192.0.2.1"


@pytest.mark.parametrize("failregexes", [1, 5], ids=["in-the-match", "first"])
def test_ignoreregex(failregexes):
    """What ignoreregex takes is ignored, not matched; few of them are searched first, in any line at all."""
    detector = made(*[f"x{number} <HOST>" for number in range(failregexes)], ignoreregex=("peter",))
    examined = detector.examine(line("peter x0 192.0.2.1"))
    assert (examined.matched, examined.ignored) == (False, True)
    assert detector.examine(line("paul x0 192.0.2.1")).matched
    other = detector.examine(line("peter"))
    assert other.ignored == (failregexes == 5)
    first = failregexes == 5
    expected = Counts(lines=3, candidates=1 if first else 3, failures=1, ignored=1 + first)
    assert replace(detector.counts, read=0, searches=0) == expected


def test_nofail_without_session():
    """A line marked <F-NOFAIL> is no failure."""
    examined = made("<F-NOFAIL>ok</F-NOFAIL> <HOST>").examine(line("ok 192.0.2.1"))
    assert (examined.matched, examined.ignored, examined.regex) == (False, False, 0)


def test_date_is_cut_out():
    """What is left of the line is joined; the date's pattern is told."""
    detector = made(r"^\[\] <HOST>$")
    examined = detector.examine("[2026-11-21 20:17:00] 192.0.2.1")
    assert examined.matched
    assert examined.date_format.startswith("{^LN-BEG}%ExY")


TIMES = [
    ("last-date", [line("x")], "a 192.0.2.1", NOW - 59, NOW - 60, False),
    ("last-date-too-old", [line("x")], "a 192.0.2.1", NOW, None, True),
    ("no-date-yet", [], "a 192.0.2.1", NOW, None, True),
    ("impossible-date", [], "2026-02-30 20:17:00 a 192.0.2.1", NOW, None, True),
    ("impossible-date-after-another", [line("x")], "2026-02-30 20:17:00 a 192.0.2.1", NOW - 59, NOW - 60, False),
]


@pytest.mark.parametrize(
    ("before", "text", "now", "expected", "none"), [c[1:] for c in TIMES], ids=[c[0] for c in TIMES]
)
def test_line_without_date(before, text, now, expected, none):
    """It takes the last date seen if that is younger than 60 s; otherwise it has none, and may match all the same."""
    detector = made("a <HOST>$", clock=lambda: now)
    for other in before:
        detector.examine(other)
    examined = detector.examine(text)
    assert examined.matched
    assert examined.failure.time == expected
    assert (examined.time is None) == none
    assert detector.counts.undated == 1


def test_pattern_that_may_be_empty():
    """Where the date pattern matched nothing, the time is that of the last date, or now."""
    detector = made("a <HOST>$", datepattern="^(?:%Y-%m-%d %H:%M:%S)?")
    assert detector.examine("a 192.0.2.1").failure.time == NOW
    assert detector.examine("2026-11-21 20:17:30 a 192.0.2.1").failure.time == NOW - 30
    assert detector.examine("a 192.0.2.1").failure.time == NOW - 30
    assert detector.counts.undated == 0


def test_journal_line():
    """A line that carries its own time keeps its text: no date is searched or cut out."""
    detector = made(r"^pbx asterisk\[1\]: 2026-11-21 20:00:00 a <HOST>$")
    examined = detector.examine("pbx asterisk[1]: 2026-11-21 20:00:00 a 192.0.2.1", time=NOW - 5.5)
    assert (examined.failure.time, examined.date_format) == (NOW - 5.5, None)


def test_lines_end_at_lf_alone():
    """Other separators are content; CR at the end is not."""
    detector = made(r"^ a\x1d\x85\u2028\x0b <HOST>$")
    data = (line("a\x1d\x85\u2028\x0b 192.0.2.1") + "\r\r\n\n").encode()
    assert [failure.host for failure in detector.feed(data)] == ["192.0.2.1"]
    assert detector.counts.lines == 2


def test_encoding():
    """Invalid UTF-8 is replaced; another encoding is used as told."""
    data = line("a ä 192.0.2.1\n").encode("latin-1")
    assert made("a \ufffd <HOST>").feed(data)
    assert made("a ä <HOST>", encoding="latin-1").feed(data)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("dropped", [False, True], ids=["as-written", "without-leading-NULs"])
def test_other_encodings(encoding, dropped):
    """Lines are found in every encoding, also where a line's first or last byte belongs to the LF."""
    text = "".join(line(f"login failed for '{user}' from 192.0.2.1\r\n") for user in ("bob", "é", "x"))
    data = text.encode(encoding)
    if dropped:  # as the reader of files gives them
        data = re.sub(rb"(?m)^\0+", b"", data)
    failures = made(FAILED, encoding=encoding).feed(data)
    assert [failure.user for failure in failures] == ["bob", "é", "x"]
    assert {failure.time for failure in failures} == {NOW - 60}


def test_no_data():
    """Nothing gives nothing."""
    detector = made("<HOST>")
    assert detector.feed(b"") == []
    assert detector.counts == Counts()


@pytest.mark.parametrize("key", ["failregex", "prefregex", "ignoreregex", "datepattern"])
def test_regex_without_end(key):
    """A line that makes a regex backtrack for ever costs its time limit, is counted, and the next one is read."""
    evil = "^ (?:a|aa)+$"
    more = {"failregex": "(?P<fid>x)"} | {key: evil + "|(?P<fid>x)" if key == "failregex" else evil}
    if key == "ignoreregex":
        more["failregex"] = "(?P<fid>a)"
    if key == "datepattern":
        more["datepattern"] = "^[^ ]+ [^ ]+ (?:a|aa)+$"
    failregex = more.pop("failregex")
    if "ignoreregex" in more:
        more["ignoreregex"] = (more["ignoreregex"],)
    detector = made(failregex, "(?P<fid>never)", time_limit=0.05, **more)
    begun = time.process_time()
    detector.feed((line("a" * 100 + "!") + "\n" + line("aaa") + "\n").encode())
    assert time.process_time() - begun < 2
    assert (detector.counts.lines, detector.counts.timed_out) == (2, 1)


def test_limit_is_for_the_line():
    """Many slow regexes share one limit."""
    detector = made(*[f"^ (?:a|aa)+(?:{number}|!!)(?P<fid>x)(.)\\2" for number in range(50)], time_limit=0.1)
    begun = time.process_time()
    detector.examine(line("a" * 100))
    assert detector.counts.timed_out == 1
    assert time.process_time() - begun < 2


WRONG = [
    ("failregex", {"failregex": ("(",)}, "f.conf:7: failregex: "),
    ("prefregex", {"prefregex": "("}, "f.conf:7: prefregex: "),
    ("ignoreregex", {"ignoreregex": ("(",)}, "f.conf:7: ignoreregex: "),
    ("datepattern", {"datepattern": "%Q"}, "f.conf:7: datepattern: '%Q'"),
    ("nobody", {"failregex": ("x",)}, "f.conf:7: failregex: it has no <HOST>"),
]


@pytest.mark.parametrize(("more", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_filter(more, message):
    """What is wrong with a filter is said with its file, line and key."""
    keys = ("failregex", "prefregex", "ignoreregex", "datepattern")
    fields = {"failregex": ("<HOST>",), "origin": "f.conf", "lines": dict.fromkeys(keys, 7)} | more
    with pytest.raises(ConfigError) as caught:
        Detector(Filter("t", **fields))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("more", "what"), [({"encoding": "utf-99"}, "encoding"), ({"timezone": "X/Y"}, "timezone")])
def test_wrong_setting(more, what):
    """An encoding or time zone that does not exist is a configuration error."""
    with pytest.raises(ConfigError, match=what):
        Detector(Filter("t", ("<HOST>",)), **more)


@given(
    st.lists(
        st.binary(max_size=80) | st.sampled_from([b"2026-11-21 20:00:00 a 192.0.2.1", b"a 192.0.2.1", b""]), max_size=8
    )
)
def test_no_line_raises(lines):
    """Whatever bytes are logged, the detector reads on."""
    detectors = [
        made("a <HOST>", ignoreregex=("b",)),
        made("^.*a<SKIPLINES>.*<HOST>", "<HOST> b", maxlines=3),
        made("^<F-MLFID>.</F-MLFID>.*(?:<F-NOFAIL>x</F-NOFAIL>| <HOST>)", prefregex="^<F-CONTENT>.+</F-CONTENT>$"),
    ]
    data = b"".join(text + b"\n" for text in lines)
    for detector in detectors:
        detector.feed(data)
        assert detector.counts.lines == data.count(b"\n")


def test_a_line_of_a_thousand_cut_records():
    """Each hangs on the one before it, whose line feed the server has cut: the last one counts, however many there are."""
    options = {"recordstart": r"^\d{4}-\d\d-\d\d ", "linecut": "60", "linecut_from": r"^(?=\d{4}-)"}
    cut = line("nothing that matters, and longer than the server writes")[:60]
    data = (cut * 1200 + line("login failed for 'bob' from 192.0.2.1") + "\n").encode()
    (found,) = made(FAILED, options=options).feed(data)
    assert (found.host, found.user) == ("192.0.2.1", "bob")
