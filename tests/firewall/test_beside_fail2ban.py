"""A real Fail2ban beside sipguard, in one namespace: each starts, bans and stops without harm to the other."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest
from running import running

from tests.backends import host_prefix, host_run, within
from tests.netns import missing, namespace

pytestmark = [pytest.mark.root, pytest.mark.fail2ban]

CASES = [
    pytest.param("nftables", "nftables-multiport", id="nftables"),
    pytest.param("nftables", "iptables-multiport", id="nftables-beside-iptables"),
    pytest.param("ipset", "iptables-multiport", id="ipset"),
    pytest.param("ipset", "iptables-ipset-proto6", id="ipset-beside-ipset"),
    pytest.param("iptables", "iptables-multiport", id="iptables"),
]


class RealFail2ban:
    """The installed Fail2ban with one jail, on files of its own."""

    def __init__(self, folder, prefix, action):
        self._folder = folder
        self._prefix = prefix
        shutil.copytree("/etc/fail2ban", folder)
        for extra in ("jail.d", "fail2ban.d"):
            shutil.rmtree(folder / extra, ignore_errors=True)
        (folder / "log").touch()
        (folder / "fail2ban.local").write_text(
            f"[Definition]\nlogtarget = {folder}/out\nsocket = {folder}/sock\npidfile = {folder}/pid\ndbfile = :memory:\n"
        )
        (folder / "jail.local").write_text(
            f"[theirs]\nenabled = true\nfilter = sshd\nlogpath = {folder}/log\nbackend = polling\nport = 5060\n"
            f"protocol = udp\nbanaction = {action}\naction = %(banaction)s[name=theirs, port=5060, protocol=udp]\n"
        )

    def client(self, *words):
        options = ["-c", self._folder, "-s", self._folder / "sock", "-p", self._folder / "pid"]
        command = [*self._prefix, "fail2ban-client", *options, *words]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.parametrize(("backend", "action"), CASES)
def test_both(tmp_path, backend, action):
    """Fail2ban starts, bans and stops while sipguard runs: theirs works, ours is whole within five seconds of each."""
    if reason := missing("fail2ban-client"):
        pytest.skip(reason)
    (tmp_path / "log").touch()
    with namespace("nft", "iptables", "ipset", "iptables-legacy") as net:
        prefix = host_prefix(net, backend)
        theirs = RealFail2ban(tmp_path / "fail2ban", prefix, action)
        jails = {"asterisk": {"logpath": str(tmp_path / "log")}}
        with running(tmp_path, jails, firewall=backend, prefix=prefix) as daemon:
            daemon.sipguard("ban", "203.0.113.5")

            def ours():
                verified = daemon.sipguard("firewall", "verify", check=False).stdout == "all there\n"
                return verified and "203.0.113.5" in daemon.sipguard("firewall", "show").stdout

            theirs.client("start")
            try:
                theirs.client("set", "theirs", "banip", "198.51.100.9")
                look = "nft list ruleset; iptables -S; ipset list"
                daemon.wait_for(lambda: "198.51.100.9" in host_run(net, backend, look), "their ban")
                begin = time.monotonic()
                daemon.wait_for(ours)
                assert time.monotonic() - begin < within(5)
                assert "198.51.100.9" in host_run(net, backend, look)
                daemon.sipguard("unban", "203.0.113.5")
                daemon.sipguard("ban", "203.0.113.5")
            finally:
                theirs.client("stop")
            daemon.wait_for(ours)
            assert "198.51.100.9" not in host_run(net, backend, look)
            assert "f2b-theirs" not in host_run(net, backend, look)
