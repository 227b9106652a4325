"""Lines that belong together: by a buffer of lines, or by the id of their session."""

from __future__ import annotations

import pytest

from sipguard.detection.detector import Detector
from sipguard.model import Filter

NOW = 1_795_292_280.0


def buffered(*failregex, maxlines=5, **more):
    return Detector(
        Filter("t", failregex, maxlines=maxlines, datepattern=r"^@%H:%M:%S\s", **more),
        clock=lambda: NOW,
        timezone="UTC",
    )


def hosts(detector, *lines):
    """Per line: the host that it makes a failure of, or None."""
    found = [detector.examine(line) for line in lines]
    return [examined.failure.host if examined.failure else None for examined in found]


def test_match_belongs_to_the_line_that_completes_it():
    """The failure has the time of the last line; the lines before it do not match."""
    detector = buffered(r"^user <F-USER>\w+</F-USER><SKIPLINES>^failed <HOST>$")
    first = detector.examine("@10:00:00 user bob")
    second = detector.examine("@10:00:05 failed 192.0.2.1")
    assert not first.matched
    assert second.matched
    assert second.failure.time == second.time != first.time
    assert second.failure.user == "bob"
    assert second.failure.lines == ("@10:00:00 user bob", "@10:00:05 failed 192.0.2.1")
    assert second.failure.attempts == 2


def test_skipped_lines_stay():
    """A line that a match passed over may complete a failure of its own."""
    detector = buffered(r"^(?P<id>\w+) begin <HOST>$<SKIPLINES>^(?P=id) failed$")
    lines = ["a begin 192.0.2.1", "b begin 192.0.2.2", "a failed", "b failed", "a failed"]
    assert hosts(detector, *(f"@10:00:00 {line}" for line in lines)) == [None, None, "192.0.2.1", "192.0.2.2", None]


@pytest.mark.parametrize(("maxlines", "found"), [(3, "192.0.2.1"), (2, None)])
def test_buffer_is_bounded(maxlines, found):
    """Lines further back than maxlines are forgotten."""
    detector = buffered(r"^begin <HOST>$<SKIPLINES>^failed$", maxlines=maxlines)
    assert hosts(detector, "@10:00:00 begin 192.0.2.1", "@10:00:00 x", "@10:00:00 failed") == [None, None, found]


def test_anchors_are_of_lines():
    """With maxlines, `^` and `$` are those of each line."""
    assert hosts(buffered("^failed <HOST>$"), "@10:00:00 x", "@10:00:00 failed 192.0.2.1") == [None, "192.0.2.1"]


def test_ignored_match_is_used_up():
    """What ignoreregex takes does not come back with the next line."""
    detector = buffered("^failed <HOST>$", ignoreregex=("192\\.0\\.2\\.1$",))
    assert hosts(detector, "@10:00:00 failed 192.0.2.1", "@10:00:00 failed 192.0.2.2") == [None, "192.0.2.2"]
    assert detector.counts.ignored == 1


SESSION = (
    r"^Failed \w+ for <F-USER>\w+</F-USER> from <HOST>$",
    r"^<F-NOFAIL>Connect</F-NOFAIL> from <HOST>$",
    r"^Bad user <F-USER>\w+</F-USER>$",
    r"^<F-NOFAIL>Tried</F-NOFAIL> <F-USER>\w+</F-USER> from <HOST>$",
    r"^<F-MLFGAINED>Accepted</F-MLFGAINED> <F-USER>\w+</F-USER>$",
    r"^<F-NOFAIL><F-MLFFORGET>Closed</F-MLFFORGET></F-NOFAIL>$",
)


def sessions(clock=lambda: NOW):
    """Lines like `[7] Failed password for bob from 192.0.2.1`."""
    prefregex = r"^\[<F-MLFID>\d+</F-MLFID>\] <F-CONTENT>.+</F-CONTENT>$"
    return Detector(Filter("t", SESSION, prefregex=prefregex, datepattern="{NONE}"), clock=clock)


SCENES = [
    ("single", ["[1] Failed pw for bob from 192.0.2.1"], ["192.0.2.1"]),
    ("nofail-alone", ["[1] Connect from 192.0.2.1", "[1] Closed"], [None, None]),
    ("host-from-before", ["[1] Connect from 192.0.2.1", "[1] Bad user bob"], [None, "192.0.2.1"]),
    ("other-session", ["[1] Connect from 192.0.2.1", "[2] Bad user bob"], [None, None]),
    ("pending", ["[1] Bad user bob", "[1] Connect from 192.0.2.1"], [None, "192.0.2.1"]),
    ("pending-once", ["[1] Bad user bob", "[1] Closed", "[1] Connect from 192.0.2.1"], [None, None, None]),
    ("pending-gained", ["[1] Bad user bob", "[1] Accepted bob", "[1] Connect from 192.0.2.1"], [None, None, None]),
    (
        "second-user",
        ["[1] Tried bob from 192.0.2.1", "[1] Tried eve from 192.0.2.1", "[1] Accepted eve"],
        [None, "192.0.2.1", "192.0.2.1"],
    ),
    ("forgotten", ["[1] Connect from 192.0.2.1", "[1] Closed", "[1] Bad user bob"], [None, None, None]),
]


@pytest.mark.parametrize(("lines", "found"), [case[1:] for case in SCENES], ids=[case[0] for case in SCENES])
def test_session(lines, found):
    """What the lines of one connection tell is put together; lines that are no failure by themselves do not match."""
    assert hosts(sessions(), *lines) == found


def test_session_is_told():
    """The failure has its session's id, all its users, and the lines that belong to it."""
    detector = sessions()
    detector.examine("[1] Connect from 192.0.2.1")
    first = detector.examine("[1] Failed pw for bob from 192.0.2.1").failure
    second = detector.examine("[1] Failed pw for eve from 192.0.2.1").failure
    assert (first.session, first.users, first.attempts) == ("1", ("bob",), 2)
    assert (second.session, second.users, second.attempts, second.user) == ("1", ("bob", "eve"), 1, "eve")
    assert first.lines == ("[1] Connect from 192.0.2.1", "[1] Failed pw for bob from 192.0.2.1")


def test_session_ends():
    """A session is remembered for five minutes."""
    now = [NOW]
    detector = sessions(lambda: now[0])
    detector.examine("[1] Connect from 192.0.2.1")
    now[0] += 299
    assert detector.examine("[1] Bad user bob").matched
    now[0] += 2
    assert not detector.examine("[1] Bad user bob").matched


def test_sessions_are_bounded():
    """Thousands of connections, or of users within one, do not fill the memory."""
    detector = sessions()
    for number in range(3000):
        detector.examine(f"[{number}] Connect from 192.0.2.1")
        detector.examine(f"[0] Failed pw for user{number} from 192.0.2.2")
    failure = detector.examine("[0] Failed pw for last from 192.0.2.2").failure
    assert len(failure.users) <= 100
    assert len(failure.lines) <= 100
    assert detector.examine("[2999] Bad user bob").matched
    assert not detector.examine("[5] Bad user bob").matched
