"""`sipguard explain` tells how many packets of a banned address the kernel has rejected: real daemons, real packets."""

from __future__ import annotations

import contextlib
import json
import signal
import socket

import pytest
from running import append, ask, failure, running

from tests.backends import host_prefix
from tests.netns import link, namespace

pytestmark = pytest.mark.root

ATTACKER, SERVER = "198.51.100.66", "198.51.100.1"


def knock(attacker, times, port=5060):
    """Send datagrams to the SIP port or another, each after the answer to the one before."""
    with attacker.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.settimeout(0.2)
        end.connect((SERVER, port))
        for _ in range(times):
            with contextlib.suppress(ConnectionRefusedError, TimeoutError):
                end.send(b"OPTIONS sip:example.com SIP/2.0\r\n\r\n")
            with contextlib.suppress(ConnectionRefusedError, TimeoutError):
                end.recv(1)


@pytest.mark.parametrize("backend", ["nftables", "ipset"])
def test_explain_counts_rejected_packets(tmp_path, backend):
    """Nothing before the ban, then each packet; with nftables a daemon that was killed goes on counting where it was."""
    log = tmp_path / "freeswitch.log"
    log.touch()
    jails = {"freeswitch": {"logpath": str(log)}}
    with namespace("nft", "iptables", "ipset") as server, namespace("ip") as attacker:
        link(attacker, [f"{ATTACKER}/24"], server, [f"{SERVER}/24"])
        with running(tmp_path, jails, firewall=backend, prefix=host_prefix(server, backend)) as daemon:

            def story():
                return json.loads(daemon.sipguard("explain", ATTACKER, "--json", check=False).stdout)

            assert story()["rejected"] is None
            knock(attacker, 2)
            append(log, failure(ATTACKER) * 5)
            daemon.wait_logged(f"Ban {ATTACKER}")
            assert story()["rejected"] == 0
            knock(attacker, 3)
            assert story()["rejected"] == 3
            assert "3 packets rejected since\n" in daemon.sipguard("explain", ATTACKER).stdout
            assert [ban["packets"] for ban in ask(daemon.socket, "bans")["bans"]] == [3]
            if backend == "nftables":
                daemon.wait_for(lambda: daemon.stored() == {ATTACKER}, "the ban on disk")
                daemon.stop(signal.SIGKILL)
                daemon.start()
                knock(attacker, 1)
                assert story()["rejected"] == 4
            daemon.sipguard("unban", ATTACKER)
            assert story()["rejected"] is None
            daemon.sipguard("ban", ATTACKER)
            knock(attacker, 2, port=7777)
            knock(attacker, 1)
            assert [ban["packets"] for ban in ask(daemon.socket, "bans")["bans"]] == [3], "by hand: on every port"
