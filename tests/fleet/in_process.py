"""Nodes of a fleet without the daemon around them: the real node, a real Redis, and a note of what it would reject."""

from __future__ import annotations

import asyncio
import contextlib
import time

import redis as redis_library
from limits import PATIENCE

from sipguard.fleet import teller
from sipguard.fleet.node import Node
from sipguard.model import Ban, Fleet

QUICK = 0.3
"""Seconds between two beats, here."""


class Member:
    """One node, and its daemon as far as the fleet sees it."""

    def __init__(self, url, name, **keys):
        self.live, self.rejected, self.offset = {}, {}, 0.0
        settings = Fleet(url, name, share=("proven",), accept=("proven",), **keys)
        self.node = Node(settings, self, clock=lambda: time.time() + self.offset)
        self.task = None

    # What the node asks.

    def bans(self, network):
        return [self.live[network]] if network in self.live else []

    def networks(self):
        return list(self.live)

    def is_complete(self):
        return True

    def changed(self, changes):
        for network, _, after in changes:
            self.rejected.pop(network, None)
            if after:
                self.rejected[network] = after

    def release(self, network):
        self.unban(network)

    def caught_up(self):
        pass

    def own_addresses(self):
        return []

    # What happens to it.

    def ban(self, address, seconds=3600):
        now = time.time() + self.offset
        self.live[address] = Ban(address, "sip", now, now + seconds, reason="5 failures", evidence="proven")
        self.node.moved([address])

    def unban(self, address):
        self.live.pop(address, None)
        self.node.moved([address])

    def knows(self, name):
        replica = self.node.roster.replicas.get(name)
        return replica is not None and not replica.gap

    def told(self, name):
        return self.node.roster.replicas[name]


@contextlib.asynccontextmanager
async def members(url, *names, **keys):
    """Running nodes, that know each other."""
    found = [Member(url, name, **keys) for name in names]
    try:
        for one in found:
            one.task = asyncio.create_task(one.node.run())
        for one in found:
            for other in names:
                if other != one.node.settings.name:
                    await until(lambda o=one, n=other: o.knows(n), f"{other} is known")
        await asyncio.sleep(0.3)
        yield found
    finally:
        for one in found:
            one.node.ending = True
            one.task.cancel()
        await asyncio.gather(*(one.task for one in found), return_exceptions=True)


async def until(holds, what, seconds=PATIENCE):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)


def quickly(monkeypatch, beat=QUICK):
    """Beats follow one another fast."""
    monkeypatch.setattr(teller, "BEAT", beat)
    monkeypatch.setattr(teller, "SILENT", PATIENCE)


def client_of(server):
    return contextlib.closing(redis_library.Redis(port=server.port, protocol=2))
