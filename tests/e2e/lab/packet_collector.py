"""Watches the host's packets and writes the attempts in them, as `wire_collector.py` does for HEP; the same arguments."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from sipguard.detection.sip.messages import may_carry_credentials
from sipguard.detection.sip.replies import PATIENCE
from sipguard.detection.sip.tracker import Tracker
from sipguard.firewall.nftables import NftablesFirewall
from sipguard.sources.packets.listener import PacketListener
from sipguard.wire_model import Watch

PORTS = ((5060, 5061), (8088, 8088))


async def main(_port, _key, own, path):
    """Until it is killed."""
    tracker = Tracker(own=set(own.split(",")), patience=PATIENCE)
    with Path(path).open("w") as file:

        def write(attempts):
            for attempt in attempts:
                file.write(json.dumps(attempt._asdict()) + "\n")
            file.flush()

        def take(packets):
            for packet in packets:
                write(tracker.feed(packet))

        listener = PacketListener(deliver=take, blind=tracker.blind, wanted=may_carry_credentials)
        listener.start(5060)
        firewall = NftablesFirewall(clock=time.time)
        firewall.wire.watch(Watch(PORTS, *listener.groups, 5000))
        print("ready", flush=True)
        while True:
            await asyncio.sleep(1)
            write(tracker.expire(time.time()))
            file.write(json.dumps({"received": listener.received}) + "\n")
            file.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
