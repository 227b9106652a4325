"""What the tests of feeds share: certificates, a firewall in memory, managers that are always closed."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time

import pytest

from sipguard.feeds.manager import Manager
from sipguard.feeds.pace import Pace
from sipguard.firewall.memory import MemoryFirewall
from sipguard.model import Feed
from tests.feeds.web_server import make_certificates

KEY = "k3y-of-the-test-0123456789"
PACE = Pace(limit=11, window=0.8, silence=5.0, answer=5.0, download=15.0, first_pause=0.05, longest_pause=0.4)
"""Two minutes are 0.8 s; a server on this machine gets longer for its answers, as it may have to wait for its turn."""


class Sink:
    """A firewall called directly: in tests nothing else runs."""

    def __init__(self, firewall):
        self.firewall = firewall
        self.calls = []
        self.applied = 0.0

    async def set_feed(self, name, networks, verdict):
        self.calls.append((name, len(networks)))
        self.firewall.feeds.set(name, networks, verdict)
        self.applied = time.perf_counter()

    async def drop_feed(self, name):
        self.firewall.feeds.drop(name)

    async def feeds(self):
        return self.firewall.feeds.names()

    def addresses(self, name="apiban"):
        """Every single address that is rejected for a feed."""
        found = set()
        for entry in self.firewall.feeds.entries(name):
            # An address alone has no prefix, and most are: they are not taken apart and put together again.
            networks = ipaddress.ip_network(entry.address) if "/" in entry.address else [entry.address]
            found.update(map(str, networks))
        return found


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def ca_file(certificates, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return str(certificates[0])


@pytest.fixture
def sink():
    return Sink(MemoryFirewall(clock=time.time))


def apiban(server, ca_file, **more):
    return Feed("apiban", url=f"{server.url}/api", key=KEY, ca_file=ca_file, **({"interval": 60.0} | more))


@contextlib.asynccontextmanager
async def managing(feeds, folder, sink, *, protected=(), clock=time.time, pace=PACE, sleep=asyncio.sleep):
    """A manager that has put back its local copies and fetches only when told to."""
    manager = Manager(feeds, folder, sink, lambda: protected, clock=clock, pace=pace, sleep=sleep)
    try:
        await manager.prepare()
        yield manager
    finally:
        await manager.close()


def addresses(count):
    """Different addresses, IPv6 among them."""
    first4, first6 = int(ipaddress.ip_address("198.18.0.0")), int(ipaddress.ip_address("2001:db8::"))
    return [
        str(ipaddress.ip_address(first6 + i * 7 if i % 30 == 0 else first4 + i * 3 % 131_072)) for i in range(count)
    ]


def entries(count, first_id=1_700_000_000):
    """What an APIBAN server lists: (ID, address), IDs ascending."""
    return [(first_id + 13 * i, address) for i, address in enumerate(addresses(count))]
