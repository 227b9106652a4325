"""Others flush again and again while a banned address keeps sending: how long, and how many packets, slip through."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from limits import within
from running import running

from tests.backends import host_prefix, host_run
from tests.netns import SO_TIMESTAMP, arrival, link, namespace

pytestmark = pytest.mark.root

ATTACKER, SERVER = "198.51.100.66", "198.51.100.1"
SAVED = "printf '*filter\\n:INPUT ACCEPT [0:0]\\n-A INPUT -s 192.0.2.7 -j DROP\\nCOMMIT\\n' | iptables-restore"
XTABLES = ["iptables -F; iptables -X", SAVED, "iptables -I INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"]
STORMS = {
    "nftables": (
        ["nft flush ruleset", *XTABLES, "nft delete table inet sipguard", "nft flush ruleset; ipset destroy"],
        1.0,
        2.0,
    ),
    "ipset": (["nft flush ruleset", *XTABLES, "iptables -F; iptables -X; ipset destroy"], 5.0, 3.0),
    "iptables": (XTABLES, 5.0, 3.0),
}


class Flood(contextlib.AbstractContextManager):
    """A packet every millisecond from the attacker, and the times at which they arrived."""

    def __init__(self, attacker, server):
        with attacker.inside():
            self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sender.bind((ATTACKER, 0))
        with server.inside():
            self._listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            # By the kernel's clock: when a packet came, not when this process had its turn to read it.
            self._listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
            self._listener.bind((SERVER, 5060))
            self._listener.settimeout(0.2)
        self.sent, self.arrived = 0, []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._send), threading.Thread(target=self._receive)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._sender.close()
        self._listener.close()

    def _send(self):
        while not self._end.wait(0.001):
            self._sender.sendto(b"REGISTER sip:example.com SIP/2.0\r\n\r\n", (SERVER, 5060))
            self.sent += 1

    def _receive(self):
        while not self._end.is_set():
            with contextlib.suppress(TimeoutError):
                self.arrived.append(arrival(self._listener))


@pytest.mark.timed
@pytest.mark.parametrize("backend", STORMS)
def test_flush_storm(tmp_path, capsys, backend):
    """After each flush the banned address is rejected again within the limit; the longest gap is printed."""
    commands, limit, pause = STORMS[backend]
    (tmp_path / "log").touch()
    with namespace("nft", "iptables", "ipset", "iptables-legacy") as server, namespace() as attacker:
        link(attacker, [f"{ATTACKER}/24"], server, [f"{SERVER}/24"])
        prefix = host_prefix(server, backend)
        jails = {"asterisk": {"logpath": str(tmp_path / "log")}}
        with running(tmp_path, jails, firewall=backend, prefix=prefix) as daemon, Flood(attacker, server) as flood:
            daemon.wait_for(lambda: flood.arrived, "the first packet")
            daemon.sipguard("ban", "--jail", "asterisk", ATTACKER)
            gaps, slipped = [], 0
            for command in commands:
                flood.arrived.clear()
                begin = time.time()
                host_run(server, backend, command)
                time.sleep(pause)
                daemon.wait_for(lambda: not flood.arrived or flood.arrived[-1] < time.time() - 1, "silence")
                gaps.append(flood.arrived[-1] - begin if flood.arrived else 0.0)
                slipped += len(flood.arrived)
            with capsys.disabled():
                print(f"\n{backend}: {len(commands)} flushes: longest gap {max(gaps):.3f} s,", end=" ")
                print(f"{slipped} of {flood.sent} packets slipped through")
            assert max(gaps) < within(limit)
            assert host_run(server, backend, "iptables -S").count("192.0.2.7") in (0, 1)
