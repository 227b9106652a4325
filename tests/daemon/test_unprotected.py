"""A daemon that protects nobody says so: in its log, in `status`, by an exit status; `reload` names only what runs."""

from __future__ import annotations

import json

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
        daemon.wait_logged("None of the jails can read a log: nobody is protected.")
        done = daemon.sipguard("status", check=False)
        assert done.returncode == 1
        assert "NOBODY IS PROTECTED: none of the jails can read a log" in done.stdout
        (tmp_path / "pbx.log").touch()
        daemon.wait_for(lambda: daemon.sipguard("status", check=False).returncode == 0)
        assert "NOBODY" not in daemon.sipguard("status").stdout


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
