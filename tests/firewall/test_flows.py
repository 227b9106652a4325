"""After a ban the address's entries in connection tracking are gone, and nobody else's."""

from __future__ import annotations

import socket

import pytest

from sipguard.firewall.flows import Flows
from sipguard.model import Ban
from tests.netns import namespace

pytestmark = pytest.mark.root

TRACK = """
add table inet t
add chain inet t c { type filter hook input priority 0; }
add rule inet t c ct state established accept
"""


def flow(stack, source, target):
    """One datagram from `source` to `target`, answered; both stay open."""
    kind = socket.AF_INET6 if ":" in source else socket.AF_INET
    ends = [socket.socket(kind, socket.SOCK_DGRAM) for _ in range(2)]
    stack.extend(ends)
    ends[0].bind((target, 0))
    ends[1].bind((source, 0))
    ends[1].sendto(b"x", ends[0].getsockname())
    _, peer = ends[0].recvfrom(10)
    ends[0].sendto(b"y", peer)


@pytest.fixture
def tracked():
    """A namespace with five flows: four addresses of loopback, and one of IPv6."""
    sockets = []
    with namespace("nft", "conntrack") as net, net.inside():
        net.run("nft", "-f", "-", script=TRACK)
        net.run("ip", "address", "add", "2001:db8::5", "dev", "lo", "nodad")
        for source in ("127.0.0.1", "127.0.0.5", "127.0.1.5", "127.0.1.6"):
            flow(sockets, source, "127.0.9.9")
        flow(sockets, "2001:db8::5", "::1")
        flow(sockets, "::1", "::1")
        yield net
        for one in sockets:
            one.close()


def sources(net):
    return sorted(
        line.split("src=")[1].split()[0]
        for family in ("ipv4", "ipv6")
        for line in net.run("conntrack", "-L", "-f", family).splitlines()
    )


ALL = ["127.0.0.1", "127.0.0.5", "127.0.1.5", "127.0.1.6", "2001:db8::5", "::1"]


@pytest.mark.parametrize(
    "banned",
    [
        pytest.param(["127.0.0.5"], id="ipv4"),
        pytest.param(["2001:db8::5"], id="ipv6"),
        pytest.param(["127.0.1.0/24"], id="network"),
        pytest.param(["2001:db8::/32"], id="ipv6-network"),
        pytest.param(["127.0.0.5", "2001:db8::5", "203.0.113.5"], id="both"),
        pytest.param(["203.0.113.5"], id="none-there"),
        pytest.param(["127.0.9.9"], id="not-the-one-who-was-called"),
        pytest.param(["127.0.0.5", *(f"203.0.113.{i}" for i in range(20))], id="many"),
    ],
)
def test_flows_end(tracked, banned):
    """Entries begun by the address go, all others stay."""
    gone = {
        "127.0.0.5": ["127.0.0.5"],
        "2001:db8::5": ["2001:db8::5"],
        "127.0.1.0/24": ["127.0.1.5", "127.0.1.6"],
        "2001:db8::/32": ["2001:db8::5"],
    }
    expected = [address for ban in banned for address in gone.get(ban, [])]
    assert sources(tracked) == ALL
    assert Flows().end([Ban(address, "asterisk", 0, 0) for address in banned]) == len(expected)
    assert sources(tracked) == [address for address in ALL if address not in expected]


def test_nothing_tracked():
    """A namespace without connection tracking is no error."""
    with namespace("nft") as net, net.inside():
        assert Flows().end([Ban("203.0.113.5", "asterisk", 0, 0)]) == 0
