"""A banned address that reaches the server all the same: the log, `status` and a metric say so, and what the counter shows."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time

import pytest
from running import RunningDaemon, append, failure

from sipguard.cli.client import ask
from sipguard.daemon.jail_runner import RECENT
from tests.netns import namespace

ATTACKER, SERVER = "203.0.113.66", "198.51.100.2"


@pytest.mark.root
@pytest.mark.parametrize(
    ("packets", "said"), [(0, "none of its packets has met the rule"), (3, "3 of its packets were rejected")]
)
def test_a_ban_that_does_not_work(tmp_path, packets, said):
    """Its packets come by a proxy, so that none is rejected; or some are, and others find another way."""
    with namespace("nft") as net, contextlib.ExitStack() as stack:
        for address in (ATTACKER, SERVER):
            subprocess.run(["ip", "-n", net.name, "address", "add", f"{address}/32", "dev", "lo"], check=True)
        log = tmp_path / "freeswitch.log"
        log.touch()
        inside = ("ip", "netns", "exec", net.name)
        jail = {"logpath": str(log), "maxretry": 3, "ignoreself": False, "bantime": "1h"}
        daemon = RunningDaemon(tmp_path, {"freeswitch": jail}, firewall="nftables", prefix=inside).start()
        stack.callback(daemon.stop)
        append(log, failure(ATTACKER) * 3)
        daemon.wait_logged(f"Ban {ATTACKER}")
        with net.inside():
            sock = stack.enter_context(contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
        sock.bind((ATTACKER, 0))
        for _ in range(packets):
            with contextlib.suppress(OSError):
                sock.sendto(b"x", (SERVER, 5060))
        append(log, failure(ATTACKER) * 2)
        time.sleep(1)
        assert ask(daemon.socket, "status")["unenforced"] == {}  # what was under way when it was banned
        time.sleep(RECENT)
        append(log, failure(ATTACKER) * 2)
        daemon.wait_for(lambda: ask(daemon.socket, "status")["unenforced"], "it is noticed")
        assert said in ask(daemon.socket, "status")["unenforced"][ATTACKER]
        assert f"the ban of {ATTACKER} does not work" in daemon.sipguard("status", check=False).stdout
        assert daemon.logged().count(f"the ban of {ATTACKER} does not work") == 1
