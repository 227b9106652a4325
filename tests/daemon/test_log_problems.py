"""Logs that cannot be read, and lines that are too long: said in the log, each once; what can be read is."""

from __future__ import annotations

import shutil

import pytest
from running import append, failure, running

from sipguard.daemon.log_problems import LogProblems

ATTACKER = "203.0.113.66"
LOGS = 100


def limited(soft, hard):
    if shutil.which("prlimit") is None:
        pytest.skip("needs prlimit")
    return ["prlimit", f"--nofile={soft}:{hard}"]


def many_logs(folder):
    (folder / "logs").mkdir()
    for number in range(LOGS):
        (folder / "logs" / f"{number:03}.log").write_text("")
    return {"freeswitch": {"logpath": f"{folder}/logs/*.log"}}


def test_the_soft_limit_is_raised(tmp_path):
    """More logs than the soft limit has descriptors: all are followed."""
    with running(tmp_path, many_logs(tmp_path), prefix=limited(60, 4096)) as daemon:
        append(tmp_path / "logs" / f"{LOGS - 1:03}.log", failure(ATTACKER) * 5)
        daemon.wait_logged(f"Ban {ATTACKER}")
        assert not any(daemon.status("freeswitch")["logs"].values())


def test_too_few_descriptors(tmp_path):
    """What cannot be opened is told in one line that says how to mend it; logs that are open are followed."""
    with running(tmp_path, many_logs(tmp_path), prefix=limited(60, 60)) as daemon:
        daemon.wait_logged("more: too many open files: raise LimitNOFILE, or follow fewer logs")
        append(tmp_path / "logs" / "000.log", failure(ATTACKER) * 5)
        daemon.wait_logged(f"Ban {ATTACKER}")
        assert daemon.logged().count("too many open files") == 1


def test_a_line_of_more_than_a_megabyte(tmp_path, log):
    """1.2 MB match as ten bytes do; what is longer than is read is told."""
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}) as daemon:
        append(log, failure(ATTACKER, user="1" * 1_200_000) * 5)
        daemon.wait_logged(f"Ban {ATTACKER}")
        append(log, failure(ATTACKER, user="1" * 3_000_000))
        daemon.wait_logged(f"{log}: skipped 1 line of more than 2 MB")


def test_what_passes_is_not_said(caplog):
    """Only what two looks in a row have seen, only once, and when it is over."""
    caplog.set_level("INFO")
    problems = LogProblems()
    problems.begin({"/a": "no such file", "/b": None})
    assert caplog.messages == ["/a: no such file"]
    problems.look({"/a": "no such file", "/b": "no such file"})
    problems.look({"/a": "no such file", "/b": None})
    assert len(caplog.messages) == 1
    for _ in range(3):
        problems.look({"/a": "permission denied", "/b": None})
    assert caplog.messages[1:] == ["/a: permission denied"]
    problems.look({"/a": None, "/b": None})
    assert caplog.messages[2:] == ["/a: can be read again"]


def test_many_of_a_kind(caplog):
    """A thousand logs are one line."""
    LogProblems().begin({f"/log/{number}": "too many open files" for number in range(1000)})
    assert caplog.messages == ["/log/0, /log/1, /log/2 and 997 more: too many open files"]
