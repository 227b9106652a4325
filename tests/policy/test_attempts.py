"""Attempts instead of lines: one attempt counts once, every guess counts."""

from __future__ import annotations

import pytest

from sipguard.errors import ConfigError
from sipguard.model import Failure, Filter
from sipguard.policy.attempts import COPIES, Attempts

ADDRESS = "203.0.113.66"
PROBE, ANSWER = {"probe": "x"}, {"answer": "x"}


def attempts(**options):
    """Attempts of a filter with these keys."""
    given = {"attempt_window": "32", "attempt_sources": "SECURITY NOTICE", **options}
    return Attempts(Filter("f", ("<HOST>",), options=given, origin="f.conf", lines={"attempt_window": 7}))


def counted(*tags, counting=None, step=0.01):
    """How many attempts these lines of one address are."""
    counting = counting or attempts()
    return sum(counting.new(ADDRESS, Failure(ADDRESS, n * step, tags=one), n * step) for n, one in enumerate(tags))


def line(kind, source="SECURITY", session="c1", once=None):
    """The tags of one line."""
    return {**kind, "source": source, "session": session} | ({"once": once} if once else {})


@pytest.mark.parametrize(
    ("tags", "made"),
    [
        pytest.param([{}, {}, {}], 3, id="a filter without tags counts lines"),
        pytest.param([line(PROBE, once="u"), line(PROBE, once="u"), line(ANSWER, once="r1")], 1, id="unknown account"),
        pytest.param([line(ANSWER, once=f"r{n}") for n in range(40)], 40, id="a word list in one session"),
        pytest.param([line(ANSWER, once="r")] * 3, 1, id="retransmissions"),
        pytest.param([line(PROBE, once=f"u{n}") for n in range(9)], 9, id="many users in one session"),
        pytest.param([line(PROBE, once="u")] * (COPIES + 5), 6, id="too many copies to be copies"),
        pytest.param([line(ANSWER, source="NOTICE"), line(ANSWER, once="r")], 1, id="NOTICE before SECURITY"),
        pytest.param([line(ANSWER, once="r"), line(ANSWER, source="NOTICE")], 1, id="SECURITY before NOTICE"),
        pytest.param([line(ANSWER, source="NOTICE")] * 5, 5, id="NOTICE alone"),
        pytest.param([{**ANSWER, "source": "NOTICE"}, {"source": "SECURITY"}] * 4, 4, id="without session"),
        pytest.param([PROBE, ANSWER] * 10, 10, id="unknown user, then failure"),
        pytest.param([ANSWER] * 10, 10, id="failure alone"),
        pytest.param([PROBE] * 10, 10, id="unknown user alone"),
        pytest.param(
            [line(PROBE, once="u"), line(PROBE, once="u"), line(ANSWER, once="r1")]
            + [one for n in range(30) for one in (*[line(PROBE, once="u")] * 2, line(ANSWER, once=f"s{n}"))],
            31,
            id="a word list for an unknown account",
        ),
    ],
)
def test_attempts(tags, made):
    """As many as were made, in whatever order the lines came."""
    assert counted(*tags) == made


LOST = {**PROBE, "source": "SECURITY"}
STRANGER = {**ANSWER, "stranger": "<unknown>"}


@pytest.mark.parametrize(
    ("tags", "made"),
    [
        pytest.param([LOST] * 15, 15, id="a scan of accounts"),
        pytest.param([one for n in range(3) for one in (LOST, line(STRANGER, once=f"r{n}"))], 3, id="guesses"),
        pytest.param(
            [LOST] * 3 + [line(STRANGER, session=f"c{n}", once="r") for n in range(3)], 3, id="in their order"
        ),
        pytest.param([LOST, line(ANSWER, once="r")], 2, id="a guess at an account that exists is another attempt"),
        pytest.param([LOST, line(STRANGER, once="r"), line(STRANGER, once="s")], 2, id="each explains one answer"),
    ],
)
def test_requests_whose_session_was_lost(tags, made):
    """An ESC in the account has taken the Call-ID out of the first of two lines: copies are not known, answers are."""
    assert counted(*tags) == made


def test_what_is_told_too_late_is_another_attempt():
    """Beyond the window nothing belongs together."""
    counting = attempts()
    assert counted(line(PROBE, once="u"), line(ANSWER, once="r"), counting=counting, step=40) == 2


def test_addresses_and_sessions_do_not_mix():
    """An answer from elsewhere is an attempt of its own."""
    counting = attempts()
    assert counting.new(ADDRESS, Failure(ADDRESS, 0.0, tags=line(PROBE)), 0.0)
    assert counting.new("203.0.113.67", Failure("203.0.113.67", 0.0, tags=line(ANSWER)), 0.0)
    assert counting.new(ADDRESS, Failure(ADDRESS, 0.0, tags=line(ANSWER, session="c2")), 0.0)


def test_memory_is_bounded():
    """Sessions are the attacker's to choose."""
    counting = attempts()
    for n in range(10_000):
        counting.new(ADDRESS, Failure(ADDRESS, 0.0, tags=line(ANSWER, session=str(n), once="r")), 0.0)
    assert len(counting._sessions) <= 4096


def test_sessions_that_are_over_are_forgotten():
    """Memory is for what lies within the window, however many addresses have come and gone."""
    counting = attempts()
    for n in range(1000):
        counting.new(f"203.0.113.{n}", Failure(ADDRESS, float(n), tags=line(ANSWER)), float(n))
    assert len(counting._sessions) <= 34


def test_a_window_that_is_no_number_is_refused():
    """With file and line."""
    with pytest.raises(ConfigError, match=r"f.conf:7: attempt_window = 'soon'"):
        attempts(attempt_window="soon")
