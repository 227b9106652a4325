"""sipguard's own log: where it goes, how it looks there, and that a recidive jail reads it."""

import json
import logging
import os
import shutil
import socket
import time
from pathlib import Path

import pytest
from limits import PATIENCE
from running import append, failure, running

from sipguard.config.filters import read_filter
from sipguard.daemon import own_log as logs
from sipguard.detection.detector import Detector

ATTACKER = "203.0.113.66"


@pytest.fixture(autouse=True)
def quiet():
    """The loggers are as before afterwards."""
    yield
    for name in ("fail2ban", "sipguard"):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True


def _say(message="[sip] Ban 203.0.113.66"):
    logging.getLogger("fail2ban.actions").log(logs.NOTICE, message)


def test_file_is_fail2bans(tmp_path, monkeypatch):
    """Byte for byte Fail2ban's line; a file that was moved away is begun anew."""
    monkeypatch.setattr(logs, "REOPEN", 0.0)
    target = tmp_path / "own.log"
    logs.start(str(target), "INFO")
    _say()
    date, clock, rest = target.read_text().split(" ", 2)
    assert time.strptime(f"{date} {clock[:8]}", "%Y-%m-%d %H:%M:%S")
    assert rest == f"fail2ban.actions        [{os.getpid()}]: NOTICE  [sip] Ban 203.0.113.66\n"
    target.rename(tmp_path / "own.log.1")
    _say()
    assert target.read_text().count("\n") == 1


def test_json_lines(tmp_path):
    """One object a line, whatever an attacker has put into it."""
    target = tmp_path / "own.log"
    logs.start(str(target), "INFO", "json")
    _say("[sip] Ban 203.0.113.66")
    _say("a\nb\x1b[31m \u2028")
    first, second = [json.loads(line) for line in target.read_text().splitlines()]
    assert (first["jail"], first["message"], first["level"]) == ("sip", "Ban 203.0.113.66", "NOTICE")
    assert first["pid"] == os.getpid()
    assert first["time"].endswith("+00:00")
    assert "jail" not in second
    assert "\x1b" not in target.read_text()


def test_syslog(tmp_path, monkeypatch):
    """NOTICE arrives as NOTICE, of facility daemon."""
    monkeypatch.setattr(logs, "SYSLOG_SOCKET", str(tmp_path / "log"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "log"))
        ear.settimeout(PATIENCE)
        logs.start("SYSLOG", "INFO")
        _say()
        daemon, notice = 3, 5
        told = ear.recv(1000).rstrip(b"\0").decode()
    assert told == f"<{daemon * 8 + notice}>fail2ban.actions[{os.getpid()}]: NOTICE [sip] Ban 203.0.113.66"


def test_no_syslog(tmp_path, monkeypatch, capfd):
    """Nothing stops for want of a syslog, and no traceback is printed for each line; one that comes later is used."""
    monkeypatch.setattr(logs, "SYSLOG_SOCKET", str(tmp_path / "log"))
    logs.start("SYSLOG", "INFO")
    _say()
    assert capfd.readouterr() == ("", "")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "log"))
        ear.settimeout(PATIENCE)
        _say()
        assert b"Ban 203.0.113.66" in ear.recv(1000)


def test_a_log_that_cannot_be_written(tmp_path, capfd):
    """A full disk is told once on standard error, without a traceback; nothing stops, and nothing is raised."""
    target = tmp_path / "own.log"
    target.symlink_to("/dev/full")
    logs.start(str(target), "INFO")
    for _ in range(3):
        _say()
    said = "sipguard: its log cannot be written: No space left on device; lines are lost until it can, bans go on\n"
    assert capfd.readouterr() == ("", said)
    target.unlink()
    _say()
    _say()
    assert target.read_text().count("Ban 203.0.113.66") >= 1
    assert capfd.readouterr() == ("", "")


def test_a_log_whose_folder_is_gone(tmp_path, monkeypatch, capfd):
    """Neither ends anything; with the folder the log comes back."""
    monkeypatch.setattr(logs, "REOPEN", 0.0)
    target = tmp_path / "folder" / "own.log"
    target.parent.mkdir()
    logs.start(str(target), "INFO")
    _say()
    shutil.rmtree(target.parent)
    for _ in range(3):
        _say()
    assert capfd.readouterr().err.count("\n") == 1
    target.parent.mkdir()
    _say("[sip] Unban 203.0.113.66")
    assert "Unban 203.0.113.66" in target.read_text()


def test_standard_output_that_nobody_reads(tmp_path, log):
    """Whoever read it has gone: the daemon protects all the same, and ends as it should."""
    with running(tmp_path, {"freeswitch": {"logpath": str(log)}}, imported=True) as daemon:
        daemon.stop()
        daemon.config.write_text(daemon.config.read_text().replace(str(daemon.log), "STDOUT"))
        daemon.start()
        daemon.process.stdout.close()
        append(log, failure(ATTACKER) * 5)
        daemon.wait_for(lambda: daemon.banned("freeswitch") == {ATTACKER})
        daemon.process.terminate()
        assert daemon.process.wait(45) == 0


def test_standard_output_that_is_the_journal(monkeypatch):
    """The journal gets the level in front (sd-daemon(3)), and no second date."""
    here, there = socket.socketpair()
    with here, there, here.makefile("w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        monkeypatch.setattr("sys.stdout", stream)
        logs.start("STDOUT", "INFO")
        _say()
        stream.flush()
        assert there.recv(1000) == b"<5>fail2ban.actions: NOTICE [sip] Ban 203.0.113.66\n"


FAIL2BANS_FILTERS = Path("/etc/fail2ban/filter.d")


@pytest.mark.parametrize(
    "directory",
    [
        pytest.param(FAIL2BANS_FILTERS, marks=pytest.mark.fail2ban, id="theirs"),
        pytest.param(Path(__file__).parents[2] / "filters", id="ours"),
    ],
)
def test_recidive_reads_it(tmp_path, directory):
    """Bans of other jails count, its own, unbans and repetitions do not."""
    target = tmp_path / "own.log"
    logs.start(str(target), "INFO")
    for message in (
        "[sip] Ban 203.0.113.66",
        "[sip] Ban 2001:db8::5",
        "[recidive] Ban 203.0.113.67",
        "[sip] Unban 203.0.113.68",
        "[sip] 203.0.113.69 already banned",
        "[sip] Found 203.0.113.70 - 2026-11-21 20:00:00",
        "[sip] Increase Ban 203.0.113.71 (2 # 1h)",
    ):
        _say(message)
    detector = Detector(read_filter("recidive", [directory]))
    assert [failure.host for failure in detector.feed(target.read_bytes())] == ["203.0.113.66", "2001:db8::5"]


def test_recidive_jail(tmp_path):
    """Three bans by another jail are one for long, on all ports."""
    log = tmp_path / "freeswitch.log"
    log.touch()
    jails = {
        "freeswitch": {"logpath": str(log), "maxretry": 2},
        "recidive": {"logpath": str(tmp_path / "sipguard.log")},
    }
    with running(tmp_path, jails) as daemon:
        for n in range(1, 4):
            append(log, failure(ATTACKER) * 2)
            daemon.wait_logged(f"[freeswitch] Ban {ATTACKER}", times=n)
            if n < 3:
                daemon.sipguard("unban", ATTACKER, "--jail", "freeswitch")
        daemon.wait_logged(f"[recidive] Ban {ATTACKER}")
        ban = daemon.status("recidive")["banned"][0]
        assert ban["until"] - ban["since"] == 7 * 86400
