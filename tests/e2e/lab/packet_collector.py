"""Watches the host's packets and writes the attempts in them, as `wire_collector.py` does for HEP; the same arguments."""

from __future__ import annotations

import asyncio
import sys
import time

from collecting import collect

from sipguard.detection.sip.messages import may_carry_credentials
from sipguard.firewall.nftables import NftablesFirewall
from sipguard.sources.packets.listener import PacketListener
from sipguard.wire_model import Watch

PORTS = ((5060, 5061), (8088, 8088))


async def main(_port, _key, own, path):
    """Until it is killed."""

    def start(tracker, take):
        listener = PacketListener(deliver=take, blind=tracker.blind, wanted=may_carry_credentials)
        listener.start(5060)
        NftablesFirewall(clock=time.time).wire.watch(Watch(PORTS, *listener.groups, 5000))
        return listener

    await collect(own, path, start, ordered=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
