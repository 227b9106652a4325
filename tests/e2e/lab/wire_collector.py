"""Receives HEP packets and writes the attempts in them, one JSON object a line: `wire_collector.py PORT KEY OWN FILE`."""

from __future__ import annotations

import asyncio
import sys

from collecting import collect

from sipguard.sources.hep import HepListener


async def main(port, key, own, path):
    """Until it is killed."""

    def start(_tracker, take):
        listener = HepListener(f"127.0.0.1:{port}", key=key, senders=[], deliver=take)
        listener.start()
        return listener

    await collect(own, path, start)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
