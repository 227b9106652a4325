"""A jail that is wrong, as Fail2ban's client and `status` see it: named with its reason, and never called OK."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.running import running

FILTERS = {"good": "^ bad <HOST>$", "broken": "^ bad (<HOST>$"}
CONF = "[Definition]\nsocket = {0}/f2b.sock\nlogtarget = {0}/sipguard.log\npidfile = {0}/f.pid\ndbfile = None\n"
HEAD = "[DEFAULT]\nenabled = yes\nbackend = polling\nlogpath = {0}/log\naction =\n"
GOOD = "[a]\nfilter = good\n"
NO_FILTER = "[c]\nfilter = none-such\n"
BROKEN = "[b]\nfilter = broken\n"


@pytest.fixture
def tree(tmp_path):
    """Writes the jails of a tree; gives its folder."""
    folder = tmp_path / "f2b"
    (folder / "filter.d").mkdir(parents=True)
    for name, regex in FILTERS.items():
        (folder / "filter.d" / f"{name}.conf").write_text(f"[Definition]\nfailregex = {regex}\n")
    (folder / "fail2ban.conf").write_text(CONF.format(tmp_path))
    (tmp_path / "log").touch()

    def write(*jails):
        (folder / "jail.conf").write_text(HEAD.format(tmp_path) + "".join(jails))
        return folder

    return write


def client(folder, *words, program=(sys.executable, "-m", "sipguard", "client")):
    """One call of fail2ban-client."""
    command = [*program, "-c", folder, "-s", folder.parent / "f2b.sock", "-p", folder.parent / "f.pid", *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


@pytest.mark.fail2ban
def test_dump(tree):
    """Line for line as Fail2ban, in its order; the reason in our words."""
    folder = tree(NO_FILTER, GOOD, BROKEN)
    theirs = client(folder, "-d", program=(shutil.which("fail2ban-client"),))
    ours = client(folder, "-d")
    assert (ours.returncode, theirs.returncode) == (0, 0)
    lead = "['config-error', \"Jail 'c' skipped, because of wrong configuration: "
    own_lines, their_lines = (
        [line for line in one.stdout.splitlines() if "set', 'allowipv6" not in line] for one in (ours, theirs)
    )
    assert [line for line in own_lines if not line.startswith(lead)] == [
        line for line in their_lines if not line.startswith(lead)
    ]
    (place,) = [number for number, line in enumerate(own_lines) if line.startswith(lead)]
    assert their_lines[place].startswith(lead)
    assert "there is no filter 'none-such'" in own_lines[place]


def test_reload_and_status(tree, tmp_path):
    """NOK and 255 as from Fail2ban for a regex that does not compile; the jail and why it does not run in `status`."""
    arguments = ["--fail2ban-dir", tree(GOOD)]
    with running(tmp_path, {}, arguments=arguments) as daemon:
        assert client(tmp_path / "f2b", "reload").stdout == "OK\n"
        done = client(tree(GOOD, BROKEN), "reload")
        assert done.returncode == 255
        first, last = done.stdout.splitlines()
        assert first.startswith("Unable to compile regular expression '^ bad ((?:")
        assert last.startswith("missing ), unterminated subpattern at position 6")
        assert "NOK: (" in done.stderr
        assert "Jail list:\ta\n" in client(tmp_path / "f2b", "status").stdout
        done = client(tree(GOOD, NO_FILTER), "reload")
        assert done.returncode == 255
        assert "OK" not in done.stdout
        assert "jail c: there is no filter 'none-such'" in done.stdout
        assert "not running: " in daemon.sipguard("status").stdout
        asked = daemon.sipguard("status", "c", check=False)
        assert asked.returncode == 2
        assert "no jail named c is running; " in asked.stderr
        assert "there is no filter 'none-such'" in asked.stderr
