"""What an attacker has written into a log is data in every stock action: no command runs because of it, no file appears.

Each action really runs, by /bin/sh, with a PATH of stubs that note what was called; once with plain values and once with
hostile ones. Both times the same programs must have been called, as often, and the same files been written. As root the
commands run as nobody, who can write nowhere but in the test's own folder.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import stock

from sipguard.actions.command import Runner
from sipguard.fail2ban.actions import command_action as fail2ban_action

pytestmark = [
    pytest.mark.fail2ban,
    pytest.mark.skipif(
        os.geteuid() == 0 and not shutil.which("setpriv"), reason="setpriv (util-linux) is not installed"
    ),
]

# Programs without harm, that the texts need to get on: called, and noted.
REAL = [
    "awk",
    "cat",
    "cut",
    "date",
    "grep",
    "head",
    "perl",
    "printf",
    "rm",
    "sed",
    "sort",
    "tail",
    "touch",
    "tr",
    "truncate",
    "uniq",
    "wc",
    "sleep",
    "id",
    "echo",
    "expr",
]
# What would change the host or speak to the world: noted only.
STUBS = [
    "apf",
    "apprise",
    "csf",
    "curl",
    "dig",
    "firewall-cmd",
    "geoiplookup",
    "host",
    "ip",
    "ip6tables",
    "ipfw",
    "ipset",
    "iptables",
    "jq",
    "mail",
    "nft",
    "nginx",
    "npfctl",
    "nsupdate",
    "pfctl",
    "ping",
    "route",
    "sendmail",
    "service",
    "shorewall",
    "shorewall6",
    "ssh",
    "systemctl",
    "ufw",
    "wget",
    "whois",
    "afctl",
]
STUB = """#!/bin/sh
printf '%s %s\\n' "${{0##*/}}" "$#" >> "$NOTED"
{body}
"""
PLAIN = ["Jan 1 00:00:00 plain text of an attempt by 203.0.113.7", "second"]


class Sandbox:
    """A folder where commands run and alone may write."""

    def __init__(self, folder, commands):
        self.folder = folder
        self.noted = folder / "noted"
        self._commands = commands
        self._runner = Runner()
        self.results = []
        for name in ("work", "log"):
            (folder / name).mkdir()
        (folder / "log" / "a.log").write_text("203.0.113.7 a line\n2001:db8::7 a line\n")
        self.noted.touch()
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777)

    async def __call__(self, script, variables, limit):
        # `setpriv` is found by the test's PATH; the shell gets that of the stubs.
        command = ["/usr/bin/env", f"PATH={self._commands}", "/bin/sh", "-c", script]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", *command]
        command = ["/usr/bin/env", "-C", str(self.folder / "work"), *command]
        environment = {**variables, "NOTED": str(self.noted), "HOME": str(self.folder)}
        result = await self._runner.run(command, 20, variables=environment)
        self.results.append(result)
        return result

    def take(self):
        return None

    def called(self):
        """Program and number of arguments of each call; pipes run in no order."""
        return sorted(self.noted.read_text().splitlines())

    def files(self):
        """What has been written."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))


@pytest.fixture(scope="module")
def stubs():
    """A folder of stubs, to be the PATH."""
    folder = Path(tempfile.mkdtemp(prefix="sipguard-stubs-"))
    folder.chmod(0o755)
    for name in REAL:
        real = shutil.which(name)
        if real:
            (folder / name).write_text(STUB.format(body=f'exec {real} "$@"'))
    for name in STUBS:
        reads = name in ("mail", "sendmail", "nsupdate")
        body = "/bin/cat >/dev/null" if reads else """echo '"abuse@example.com"'""" if name == "dig" else "exit 0"
        (folder / name).write_text(STUB.format(body=body))
    for path in folder.iterdir():
        path.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def sandbox(stubs):
    """Makes sandboxes, and removes them."""
    made = []

    def make():
        made.append(Path(tempfile.mkdtemp(prefix="sipguard-sandbox-")))
        return Sandbox(made[-1], stubs)

    yield make
    for folder in made:
        shutil.rmtree(folder)


def case(file, folder, lines, data):
    """One life of an action, whose files are all in `folder`."""
    ticket = {"time": stock.NOW, "bantime": 600, "matches": lines, "data": data, "restored": False}
    options = {
        "name": "sip",
        "port": "5060",
        "protocol": "udp",
        "file": f"{folder}/work/hosts.deny",
        "tmpfile": f"{folder}/work/buffer",
        "target": f"{folder}/work/dummy",
        "logpath": f"{folder}/log/a.log",
        "srv_cfg_path": f"{folder}/work",
        "srv_pid": f"{folder}/log/a.log",
        "mailcmd": "sendmail -t" if "sendmail" in file or "xarf" in file else "mail -s",
        "lines": "1",
        "debug": "0",
        "blocklist": f"{folder}/work/blocked",
        "keyfile": f"{folder}/log/a.log",
        "blocklist_path": f"{folder}/work/",
    }
    return {
        "file": file,
        "options": options,
        "tree": str(stock.ETC),
        "jail": "sip",
        "tickets": [{"ip": address, **ticket} for address in ("203.0.113.7", "2001:db8::7")],
    }


def live(file, sandbox, lines, data, host, monkeypatch):
    """Run the action's life; what was called and written."""

    async def host_of(_address):
        return host

    monkeypatch.setattr(fail2ban_action, "host_of", host_of)
    asyncio.run(stock.run(case(file, sandbox.folder, lines, data), sandbox))
    return sandbox.called(), sandbox.files()


def markers():
    """Files that an attacker's command would have made, wherever it could."""
    return [
        path
        for place in (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path.cwd())
        for path in place.glob("PWNED*")
    ]


@pytest.mark.parametrize("file", [] if stock.fail2ban_missing() else stock.action_files())
def test_nothing_else_runs(file, sandbox, monkeypatch):
    """The same programs with as many arguments, the same files: hostile values change nothing."""
    plain = live(file, sandbox(), PLAIN, {"user": "1000"}, "a.example.com", monkeypatch)
    lines = stock.hostile("PWNED") + stock.hostile("/tmp/PWNED")
    hostile = live(file, sandbox(), lines, {"user": lines[0]}, stock.HOST, monkeypatch)
    assert hostile == plain
    assert not markers()


@pytest.mark.parametrize("number", range(4))
def test_hostile_id(number, sandbox, monkeypatch):
    """`<fid>` is what `<F-ID>` has captured, and no address: the one stock action that writes it into a file and a regex."""
    value = stock.hostile("PWNED")[number].split("\n")[-1]
    plain = live("nginx-block-map", sandbox(), PLAIN, {"fid": "session"}, "", monkeypatch)
    hostile = live("nginx-block-map", sandbox(), PLAIN, {"fid": value}, "", monkeypatch)
    assert hostile == plain
    assert not markers()


def test_stubs_are_called(sandbox, monkeypatch):
    """The sandbox works: an action that mails is seen to mail, with the lines of the log."""
    box = sandbox()
    called, _ = live("sendmail-whois-matches", box, stock.hostile("PWNED"), {}, stock.HOST, monkeypatch)
    assert {"sendmail 1", "whois 1"} <= set(called)
    assert all(result.ok for result in box.results)


def test_sandbox_sees_a_command_that_escapes(sandbox, monkeypatch, tmp_path):
    """Were a value put into a command as code, this test would see it: an action file that does so is found out."""
    (tmp_path / "action.d").mkdir()
    (tmp_path / "action.d" / "bad.conf").write_text("[Definition]\nactionban = eval echo <matches>\n")
    monkeypatch.setattr(stock, "ETC", tmp_path)
    called, files = live("bad", sandbox(), ["; touch PWNED"], {}, "", monkeypatch)
    assert "touch 1" in called
    assert "work/PWNED" in files
