"""Another program writes in a tight loop while bans come and go: none of its rules is lost, and none of ours."""

from __future__ import annotations

import subprocess
import threading
import time

import pytest

from sipguard.model import Ban, PortRange, Rule
from tests.backends import backend_of
from tests.netns import namespace

pytestmark = pytest.mark.root

SIP = Rule("asterisk", (PortRange(5060, 5061),), ("tcp", "udp"))
WRITERS = {
    "nftables": (
        "nft add element inet theirs kept {{ {address} }}",
        "nft delete element inet theirs kept {{ {address} }}",
    ),
    "ipset": ("iptables -w -A OUTPUT -d {address} -j ACCEPT", "iptables -w -D OUTPUT -d {address} -j ACCEPT"),
    "iptables": (
        "iptables-legacy -w -A OUTPUT -d {address} -j ACCEPT",
        "iptables-legacy -w -D OUTPUT -d {address} -j ACCEPT",
    ),
}
LISTS = {
    "nftables": "nft list set inet theirs kept",
    "ipset": "iptables -S OUTPUT",
    "iptables": "iptables-legacy -S OUTPUT",
}


class Writer(threading.Thread):
    """Adds one address after another and takes every second out again."""

    def __init__(self, net, backend):
        super().__init__()
        self.net = net
        self.add, self.delete = WRITERS[backend]
        self.kept, self.refused = [], []
        self.end = threading.Event()

    def run(self):
        with self.net.inside():
            number = 0
            while not self.end.is_set():
                address = f"192.0.2.{number % 250}" if number < 250 else f"198.18.{number // 250}.{number % 250}"
                self._do(self.add, address)
                if number % 2:
                    self._do(self.delete, address)
                else:
                    self.kept.append(address)
                number += 1

    def _do(self, command, address):
        done = subprocess.run(command.format(address=address).split(" "), capture_output=True, text=True, check=False)
        if done.returncode:
            self.refused.append((command, address, done.stderr))


@pytest.mark.parametrize("backend", ["nftables", "ipset", "iptables"])
def test_none_is_lost(capsys, backend):
    """2,000 bans and 1,000 unbans in batches of 20, beside a writer that never pauses."""
    with namespace("nft", "iptables", "ipset", "iptables-legacy") as net, net.inside():
        net.run("nft", "-f", "-", script="add table inet theirs\nadd set inet theirs kept { type ipv4_addr; }\n")
        firewall = backend_of(backend)
        firewall.open([SIP])
        writer = Writer(net, backend)
        writer.start()
        try:
            now = time.time()
            bans = [Ban(f"10.{i // 65536}.{i // 256 % 256}.{i % 256}", "asterisk", now, now + 600) for i in range(2000)]
            for begin in range(0, 2000, 20):
                batch = bans[begin : begin + 20]
                firewall.ban(batch)
                firewall.unban(batch[::2])
        finally:
            writer.end.set()
            writer.join()
        assert {entry.address for entry in firewall.entries()} == {ban.address for ban in bans[1::2]}
        listing = net.run(*LISTS[backend].split(" "))
        assert not writer.refused
        assert [address for address in writer.kept if address not in listing] == []
        assert firewall.verify() == []
        with capsys.disabled():
            print(
                f"\n{backend}: 2,000 bans and 1,000 unbans beside {len(writer.kept) * 2} changes of others: none lost"
            )
