"""Two sipguards in one network namespace: the second says so and changes nothing, until the first has ended."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys

import pytest
from needs import needs
from running import RunningDaemon, append, failure

from sipguard.daemon import sole_owner
from sipguard.daemon.sole_owner import SoleOwner
from sipguard.errors import FirewallError
from tests.as_nobody import USER
from tests.netns import namespace

pytestmark = pytest.mark.root

FIRST, SECOND = "203.0.113.1", "203.0.113.2"
UNPRIVILEGED = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
SQUATTER = """
import socket
sign = socket.socket(socket.AF_UNIX)
sign.bind("\\0sipguard-firewall")
sign.listen(1)
print("has it", flush=True)
import time
time.sleep(600)
"""


@pytest.fixture
@needs("root")
def net():
    """An empty network namespace."""
    with namespace("nft") as made:
        yield made


def daemon_of(folder, net, address):
    """A daemon with a jail of its own, which has five failures of an address to ban it for."""
    log = folder / "freeswitch.log"
    folder.mkdir()
    log.touch()
    one = RunningDaemon(
        folder, {f"of-{folder.name}": {"filter": "freeswitch", "logpath": str(log), "port": "5060"}},
        firewall="nftables", prefix=["ip", "netns", "exec", net.name],
    )  # fmt: skip
    one.start()
    append(log, failure(address) * 5)
    one.wait_logged(f"Ban {address}" if address == FIRST else f"Found {address}")
    return one


def test_second(tmp_path, net):
    """The first one's table stays as it was; the second says who is there, and takes over when that is killed."""
    first = daemon_of(tmp_path / "first", net, FIRST)
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: first.process.poll() is None and first.stop())
        layout = net.run("nft", "-t", "list", "table", "inet", "sipguard")
        second = daemon_of(tmp_path / "second", net, SECOND)
        stack.callback(second.stop)
        said = f"another sipguard (process {first.process.pid}) guards this network namespace already"
        second.wait_logged(f"Firewall: {said}")
        status = json.loads(second.sipguard("status", "--json", check=False).stdout)
        assert said in status["firewall"]["problem"]
        assert said in second.sipguard("status", check=False).stdout
        assert net.run("nft", "-t", "list", "table", "inet", "sipguard") == layout
        assert FIRST in net.run("nft", "list", "table", "inet", "sipguard")
        assert second.logged().count(said) == 1
        assert "Firewall" not in first.logged()
        first.stop(signal.SIGKILL)
        second.wait_for(lambda: SECOND in net.run("nft", "list", "table", "inet", "sipguard"), "the second one's ban")
        second.wait_logged("Firewall: works again")


def test_name_of_somebody_else(net):
    """Who may not change firewalls cannot keep a sipguard from it by having its name; another sipguard can."""
    with net.inside():
        for prefix, refused in ((UNPRIVILEGED, False), ((), True)):
            command = ["ip", "netns", "exec", net.name, *prefix, sys.executable, "-c", SQUATTER]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
                assert other.stdout.readline() == "has it\n"
                owner = SoleOwner()
                try:
                    if refused:
                        for _ in range(5):
                            with pytest.raises(FirewallError, match=rf"process {other.pid}\b"):
                                owner.claim()
                    else:
                        owner.claim()
                finally:
                    other.kill()
                    owner.leave()
        mine, own = SoleOwner(), SoleOwner()
        mine.claim()
        own.claim()  # one process may have several
        mine.leave()
        assert sole_owner._owner() is None
