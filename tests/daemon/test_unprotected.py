"""A daemon that protects nobody says so: in its log, in `status`, by an exit status; `reload` names only what runs."""

from __future__ import annotations

import json

from ports import free_udp_port
from running import running

GOOD = {"filter": "asterisk", "maxretry": 3}


def test_no_jail(tmp_path):
    """None is enabled; then one whose log is not there; then one that works."""
    with running(tmp_path, {}) as daemon:
        daemon.wait_logged("No jail is running: nobody is protected.")
        done = daemon.sipguard("status", check=False)
        assert done.returncode == 1
        assert "NOBODY IS PROTECTED: no jail is running" in done.stdout
        assert daemon.sipguard("status", "--json", check=False).returncode == 1
        daemon.write_jail("pbx", logpath=str(tmp_path / "pbx.log"), **GOOD)
        daemon.sipguard("reload")
        daemon.wait_logged("None of the jails has anything to read: nobody is protected.")
        done = daemon.sipguard("status", check=False)
        assert done.returncode == 1
        assert "NOBODY IS PROTECTED: none of the jails has anything to read" in done.stdout
        (tmp_path / "pbx.log").touch()
        daemon.wait_for(lambda: daemon.sipguard("status", check=False).returncode == 0)
        assert "NOBODY" not in daemon.sipguard("status").stdout
        daemon.wait_logged("Protected now, by the jails: pbx\n")


def test_a_jail_of_the_wire_works_without_a_log(tmp_path):
    """It reads SIP messages: with nobody to send them it protects nobody."""
    with running(tmp_path, {"sip": {"source": "wire"}}) as daemon:
        assert daemon.sipguard("status", check=False).returncode == 1
        listen(daemon.config, free_udp_port())
        daemon.sipguard("reload")
        assert daemon.sipguard("status").returncode == 0


def listen(config, port):
    """Let the daemon of this file receive HEP packets."""
    config.write_text(config.read_text() + f'[hep]\nlisten = "127.0.0.1:{port}"\n')


def test_reload_names_what_runs(tmp_path):
    """A jail whose filter does not compile is an error, and not among those that run; the exit status is 2."""
    (tmp_path / "pbx.log").touch()
    (tmp_path / "filters.d").mkdir()
    (tmp_path / "filters.d" / "own.conf").write_text("[Definition]\nfailregex = ^bad (<HOST>$\n")
    with running(tmp_path, {"pbx": {**GOOD, "logpath": str(tmp_path / "pbx.log")}}) as daemon:
        daemon.write_jail("own", filter="own", logpath=str(tmp_path / "pbx.log"))
        done = daemon.sipguard("reload", check=False)
        assert done.returncode == 2
        assert done.stdout == "running: pbx\n"
        assert "jail own: failregex: missing )" in done.stderr
        answer = json.loads(daemon.sipguard("reload", "--json", check=False).stdout)
        assert answer["jails"] == ["pbx"]
        assert len(answer["errors"]) == 1


def test_a_reload_to_nothing(tmp_path):
    """The last jail is switched off: nothing is wrong, and nobody is protected."""
    (tmp_path / "log").touch()
    jail = {"filter": "freeswitch", "logpath": str(tmp_path / "log")}
    with running(tmp_path, {"pbx": jail}) as daemon:
        daemon.write_jail("pbx", **jail, enabled=False)
        done = daemon.sipguard("reload", check=False)
        assert (done.returncode, done.stdout) == (1, "running: no jail\n")
        daemon.wait_logged("No jail is running: nobody is protected.")


def test_the_last_log_goes(tmp_path):
    """While running, too: the log says it once, `status` exits with 1; another log ends it."""
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    for log in logs:
        log.touch()
    jails = {log.stem: {"filter": "freeswitch", "logpath": str(log)} for log in logs}
    with running(tmp_path, jails) as daemon:
        logs[0].unlink()
        daemon.wait_logged("a.log: no such file")
        assert daemon.sipguard("status").returncode == 0
        assert "nobody is protected" not in daemon.logged()
        logs[1].unlink()
        daemon.wait_logged("None of the jails has anything to read: nobody is protected")
        assert daemon.sipguard("status", check=False).returncode == 1
        logs[1].touch()
        daemon.wait_for(lambda: daemon.sipguard("status", check=False).returncode == 0)
        daemon.wait_logged("Protected now, by the jails: b\n")
        assert daemon.logged().count("nobody is protected") == 1


def test_a_firewall_for_trials(tmp_path):
    """`memory` rejects nothing: `status` says so."""
    with running(tmp_path, {}, firewall="memory") as daemon:
        told = daemon.sipguard("status", check=False).stdout
        assert "firewall: memory enforces nothing, it is for trials: bans reject no packet\n" in told
