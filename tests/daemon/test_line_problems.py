"""Lines that somebody has written into are told of in the log: which jail and log, at most once a minute each."""

from __future__ import annotations

from sipguard.daemon.line_problems import TOLD_EVERY, LineProblems
from sipguard.detection.results import Counts


def test_tampered_lines(caplog):
    """At once, then together with what has come within a minute; each log by itself; a jump of the clock moves that."""
    now = [1000.0]
    problems = LineProblems(lambda: now[0])
    for lines in range(3):
        problems.grew("/log", Counts(tampered=lines + 1), 0, lines)
        problems.tell("j", "f")
    problems.grew("/other", Counts(tampered=5), 0, 0)
    problems.tell("j", "f")
    assert [message.partition(" of it")[0] for message in caplog.messages] == [
        "[j] /log: somebody has written into 1 line",
        "[j] /other: somebody has written into 5 lines",
    ]
    now[0] += TOLD_EVERY
    problems.shift(1)
    problems.tell("j", "f")
    assert len(caplog.messages) == 2
    now[0] += 1
    problems.tell("j", "f")
    problems.tell("j", "f")
    assert len(caplog.messages) == 3
    assert "[j] /log: somebody has written into 2 lines" in caplog.messages[2]


def test_logs_that_are_gone(caplog):
    """Nothing is kept of them."""
    problems = LineProblems(lambda: 0.0)
    problems.grew("/log", Counts(tampered=1), 0, 0)
    problems.keep(())
    problems.tell("j", "f")
    assert not caplog.messages


def test_slow_lines(caplog):
    problems = LineProblems(lambda: 0.0)
    problems.grew("/log", Counts(timed_out=2), 0, 0)
    problems.tell("j", "f")
    assert "[j] a regex of filter f took too long on 2 lines, skipped" in caplog.text
