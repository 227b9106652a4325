"""What the tests of one followed log share."""

from __future__ import annotations

from pathlib import Path

from sipguard.sources.tail import Tail


def drain(tail, limit=262_144):
    """Everything that can be read now, as one string of bytes; and the last position."""
    data, position = b"", None
    while chunk := tail.read(limit):
        data += chunk.data
        position = chunk.position
    return data, position


def append(path, data):
    """Write to a log as its service does."""
    with Path(path).open("ab") as file:
        file.write(data)


def resume(log, position, **options):
    """Go on as after a restart."""
    return Tail(str(log), position=position, **options)
