"""What both collectors do: write the attempts of one tracker, one JSON object a line, until they are killed."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from sipguard.detection.sip.replies import PATIENCE
from sipguard.detection.sip.tracker import Tracker


async def collect(own, path, start, *, ordered=False):
    """`start` is given the tracker and what takes packets, and gives the listener that it has started; `own` are addresses."""
    tracker = Tracker(own=set(own.split(",")), patience=PATIENCE, ordered=ordered)
    with Path(path).open("w") as file:

        def write(attempts):
            for attempt in attempts:
                file.write(json.dumps(attempt._asdict()) + "\n")
            file.flush()

        def take(packets):
            for packet in packets:
                write(tracker.feed(packet))

        listener = start(tracker, take)
        print("ready", flush=True)
        while True:
            await asyncio.sleep(1)
            write(tracker.expire(time.time()))
            file.write(json.dumps({"received": listener.received}) + "\n")
            file.flush()
