"""Receives HEP packets and writes the attempts in them, one JSON object a line: `wire_collector.py PORT KEY OWN FILE`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from sipguard.detection.sip.replies import PATIENCE
from sipguard.detection.sip.tracker import Tracker
from sipguard.sources.hep import HepListener


async def main(port, key, own, path):
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

        listener = HepListener(f"127.0.0.1:{port}", key=key, senders=[], deliver=take)
        listener.start()
        print("ready", flush=True)
        while True:
            await asyncio.sleep(1)
            write(tracker.expire(time.time()))
            file.write(json.dumps({"received": listener.received}) + "\n")
            file.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
