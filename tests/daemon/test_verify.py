"""`firewall verify` where nothing is enforced, and bans that go on while the configuration is read again."""

from __future__ import annotations

import os
import time

import pytest
from limits import within
from running import running

from sipguard.cli.client import ask
from tests.backends import host_prefix
from tests.netns import namespace

MANY = 100_000


@pytest.mark.root
def test_no_firewall(tmp_path):
    """A daemon whose firewall cannot be had says what is wrong, and exits with 1; never that all is there."""
    (tmp_path / "log").touch()
    with namespace("nft", "unshare") as net:
        # Its right is that of a user namespace of its own, which the network is not of: nft cannot do a thing.
        prefix = [*host_prefix(net, "nftables"), "unshare", "--user", "--map-root-user"]
        with running(
            tmp_path, {"asterisk": {"logpath": str(tmp_path / "log")}}, firewall="nftables", prefix=prefix
        ) as daemon:
            told = daemon.sipguard("firewall", "verify", check=False)
            assert told.returncode == 1
            assert told.stdout.startswith("nothing is enforced: ")
            assert "CAP_NET_ADMIN" in told.stdout
            told = daemon.sipguard("firewall", "verify", "--json", check=False)
            assert told.returncode == 1
            assert "all there" not in told.stdout


@pytest.mark.timed
@pytest.mark.root
def test_reload_with_many_bans(tmp_path):
    """With 100,000 live bans a reload gives the kernel nothing twice: a ban right behind it is made within two seconds."""
    (tmp_path / "log").touch()
    jails = {"asterisk": {"logpath": str(tmp_path / "log"), "bantime": 3600}}
    with (
        namespace("nft") as net,
        running(tmp_path, jails, firewall="nftables", prefix=host_prefix(net, "nftables")) as daemon,
    ):
        addresses = [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in range(MANY)]
        for begin in range(0, MANY, 1000):
            ask(daemon.socket, "ban", jail="asterisk", addresses=addresses[begin : begin + 1000])
        taken = []
        while not taken or (min(taken) > within(2.0) and len(taken) < 3):
            begun = time.monotonic()
            daemon.process.send_signal(1)
            time.sleep(0.05)
            ask(daemon.socket, "ban", jail="asterisk", addresses=[f"198.51.100.{len(taken) + 1}"])
            taken.append(time.monotonic() - begun)
            daemon.wait_logged("Reloaded: ", times=len(taken))
        print(f"{taken} s, load {os.getloadavg()[0]}")
        assert min(taken) <= within(2.0)
        listed = net.run("nft", "list", "set", "inet", "sipguard", "a4_asterisk")
        assert listed.count("expires") == MANY + len(taken)
