"""A real Fail2ban beside sipguard, in one namespace: each starts, bans and stops without harm to the other."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest
from limits import within
from running import running

from tests.backends import host_prefix, host_run
from tests.netns import missing, namespace
from tests.probe import BACK, BANNED, Probe, lay

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


@pytest.mark.timed
@pytest.mark.parametrize(("backend", "action"), CASES)
def test_both(tmp_path, backend, action):
    """Fail2ban starts, bans, reloads and stops while sipguard runs: theirs works, our banned address is rejected soon."""
    if reason := missing("fail2ban-client"):
        pytest.skip(reason)
    (tmp_path / "log").touch()
    with namespace("nft", "iptables", "ipset", "iptables-legacy") as net:
        lay(net)
        prefix = host_prefix(net, backend)
        theirs = RealFail2ban(tmp_path / "fail2ban", prefix, action)
        jails = {"asterisk": {"logpath": str(tmp_path / "log"), "ignoreself": False}}
        with running(tmp_path, jails, firewall=backend, prefix=prefix) as daemon:
            daemon.sipguard("ban", "--jail", "asterisk", BANNED)
            with net.inside():
                probe = Probe()

            def soon_ours(step):
                """Nothing of the banned address comes through any more, and all of ours is there."""
                done = time.monotonic()
                settled = done + BACK[backend]
                daemon.wait_for(lambda: time.monotonic() > max(settled, probe.through) + 1, step)
                print(f"{step}: {max(0.0, probe.through - done):.3f} s")
                assert probe.through < done + within(BACK[backend]), step
                assert daemon.sipguard("firewall", "verify").stdout == "all there\n", step
                assert BANNED in daemon.sipguard("firewall", "show").stdout, step

            look = "nft list ruleset; iptables -S; ipset list"
            with probe:
                soon_ours("our ban")
                theirs.client("start")
                try:
                    soon_ours("their start")
                    theirs.client("set", "theirs", "banip", "198.51.100.9")
                    daemon.wait_for(lambda: "198.51.100.9" in host_run(net, backend, look), "their ban")
                    soon_ours("their ban")
                    theirs.client("reload")
                    daemon.wait_for(lambda: "198.51.100.9" in host_run(net, backend, look), "their ban after a reload")
                    soon_ours("their reload")
                    daemon.sipguard("unban", BANNED)
                    daemon.sipguard("ban", "--jail", "asterisk", BANNED)
                    assert "198.51.100.9" in host_run(net, backend, look)
                finally:
                    theirs.client("stop")
                soon_ours("their stop")
            assert "198.51.100.9" not in host_run(net, backend, look)
            assert "f2b-theirs" not in host_run(net, backend, look)
