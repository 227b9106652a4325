"""A kernel that refuses: failures are counted, the configuration is read, and who asks is told."""

import signal

import pytest
from running import append, failure, running

from tests.netns import missing, namespace

pytestmark = pytest.mark.root


def test_reload_while_the_firewall_refuses(tmp_path, log):
    """The ban waits for the kernel; nothing else waits for the ban."""
    if reason := missing("nft", "unshare"):
        pytest.skip(reason)
    with namespace("nft") as net:
        # It has the right in a user namespace of its own, which the network is not of: as in many a container.
        prefix = ["ip", "netns", "exec", net.name, "unshare", "--user", "--map-root-user"]
        jails = {"freeswitch": {"logpath": str(log)}}
        with running(tmp_path, jails, firewall="nftables", prefix=prefix) as daemon:
            daemon.wait_logged("nft may not change the firewall")
            append(log, failure("203.0.113.66") * 5)
            daemon.wait_logged("Found 203.0.113.66", times=5)
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_logged("Reloaded: freeswitch")
            append(log, failure("203.0.113.5"))
            daemon.wait_logged("Found 203.0.113.5")
            status = daemon.sipguard("status", check=False)
            assert "may not change the firewall" in status.stdout
            assert "NOBODY IS PROTECTED: the firewall takes no bans" in status.stdout
            assert status.returncode == 1
            assert "Ban 203.0.113.66" not in daemon.logged()
