"""Who is protected by `enabled = true` alone, and what `check` says to the others: common installations under attack."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from installations import ATTACKER, installations
from running import ROOT, RunningDaemon

pytestmark = pytest.mark.root

PROTECTED = {
    "freepbx-pjsip-known": "fail2ban",
    "freepbx-pjsip-unknown-slow": "fail2ban",
    "freepbx-emptyfail2ban": "security",
    "freepbx-stalefail2ban": "security",
    "issabel-pjsip": "messages",
    "ast20-pjsip-sample-sec": "security.log",
    "miko": "security_log",
    "fusionpbx": "freeswitch.log",
    "fs-vanilla-unknown": "freeswitch.log",
}
"""Which log is taken."""
ADVISED = {
    "freepbx16-chansip": ('filter = "asterisk[channels=sip]"', {"filter": "asterisk[channels=sip]"}),
    "issabel-chansip": ('filter = "asterisk[channels=sip]"', {"filter": "asterisk[channels=sip]"}),
    "ast13-chansip": ('filter = "asterisk[channels=sip]"', {"filter": "asterisk[channels=sip]"}),
    "ast13-chansip-few": ("its NOTICE lines do not count", {"filter": "asterisk[channels=sip]"}),
    "freepbx-oss-fullonly": ('filter = "asterisk[log=all]"', {"filter": "asterisk[log=all]"}),
    "ast20-pjsip-sample": ('filter = "asterisk[log=all]"', {"filter": "asterisk[log=all]"}),
    "chansip-security-only": ("nothing in this log counts for that", None),
    "fs-vanilla-known": ("log-auth-failures", None),
}
"""What the one piece of advice says, and the keys that it says to set; None where the server has to log more first."""


class Installation:
    """One of them, in a mount namespace in which its logs are /var/log."""

    def __init__(self, folder, name):
        self.jail = "freeswitch" if next(iter(installations()[name])).startswith("freeswitch") else "asterisk"
        for path, text in installations()[name].items():
            (folder / "log" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "log" / path).write_text(text)
        mount = f'mount --bind {folder}/log /var/log && exec "$@"'
        self.prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"]
        self.daemon = RunningDaemon(folder, {self.jail: {}}, prefix=self.prefix)

    def check(self):
        """What `check --json` says."""
        command = [*self.prefix, sys.executable, "-m", "sipguard", "check", "--json", "-c", str(self.daemon.config)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def banned(self, *, wait=False, **keys):
        """Who is banned when all that is there has been read, by the jail with these keys; `wait` for a ban."""
        self.daemon.write_jail(self.jail, **keys)
        shutil.rmtree(self.daemon.folder / "state", ignore_errors=True)  # what has been read is read again
        self.daemon.start()
        try:
            self.daemon.wait_for(lambda: self.daemon.status(self.jail)["detection"]["lines"] >= 10, "the log")
            if wait:
                self.daemon.wait_logged(f"Ban {ATTACKER}")
            return {ban["address"] for ban in self.daemon.status(self.jail)["banned"]}
        finally:
            self.daemon.stop()


@pytest.mark.parametrize("name", PROTECTED)
def test_protected_as_it_comes(tmp_path, name):
    """The attacker is banned, and `check` says which log is taken and why."""
    here = Installation(tmp_path, name)
    (jail,) = here.check()["jails"]
    assert jail["logpath"] == [f"/var/log/{here.jail}/{PROTECTED[name]}"]
    assert jail["log_choice"].startswith("the first of logpath_first that is written to")
    assert here.banned(wait=True) == {ATTACKER}


@pytest.mark.parametrize("name", ADVISED)
def test_one_piece_of_advice_that_works(tmp_path, name):
    """Nobody is banned by a log that cannot be trusted; who does what the advice says is protected."""
    words, keys = ADVISED[name]
    here = Installation(tmp_path, name)
    (advice,) = here.check()["advice"]
    assert words in advice
    assert here.banned() == set()
    if keys is not None:
        assert here.banned(wait=True, **keys) == {ATTACKER}


def test_no_log_at_all(tmp_path):
    """`check` warns, and the daemon waits."""
    here = Installation(tmp_path, "ast22-nologs")
    assert any("no log found yet; sipguard waits for each" in text for text in here.check()["warnings"])
    here.daemon.start()
    try:
        assert not here.daemon.status("asterisk")["banned"]
    finally:
        here.daemon.stop()
