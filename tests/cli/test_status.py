"""`sipguard status` counts every live ban, and `run` says which rights it lacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from running import append, failure, running

from sipguard.service_manager import has_systemd, starting
from tests.as_nobody import path_for_others

ATTACKER = "203.0.113.66"


def test_bans_of_a_jail_that_cannot_run(tmp_path):
    """They are live, and counted, while their jail is broken; the table names it."""
    log = tmp_path / "freeswitch.log"
    log.touch()
    with running(tmp_path, {"freeswitch": {"logpath": str(log), "maxretry": 2}}) as one:
        append(log, failure(ATTACKER) * 2)
        one.wait_logged(f"Ban {ATTACKER}")
        one.stop()
        one.write_jail("freeswitch", logpath=str(log), maxretry=0)
        one.start()
        told = one.sipguard("status", check=False)
        assert "1 live ban, " in told.stdout
        assert "freeswitch\tnothing\t\t\t1\t\n" in told.stdout
        assert "jail freeswitch does not run, its bans stay until their time" in told.stdout
        status = json.loads(one.sipguard("status", "--json", check=False).stdout)
        assert (status["live"], status["held"], status["jails"]) == (1, {"freeswitch": 1}, [])


def test_rights_that_run_lacks(tmp_path):
    """One line names them, with what has them and what needs none; a trial without a firewall is not refused."""
    nothing = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    (tmp_path / "sipguard.toml").touch()
    done = subprocess.run(
        [*nothing, sys.executable, "-m", "sipguard", "run", "-c", tmp_path / "sipguard.toml"],
        env={**os.environ, "PYTHONPATH": path_for_others()} if nothing else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "sipguard: run lacks rights: CAP_NET_ADMIN, to change the firewall; CAP_DAC_READ_SEARCH, to read others' logs. "
        f"Use sudo{f', or start the service: {starting()}' if has_systemd() else ''}. "
        "For a trial without them: --firewall memory --state-dir DIR --socket PATH\n"
    )
    assert done.stdout == ""
