"""The table of what was tried on real servers: a row for each server, transport and attack, with its figures."""

from __future__ import annotations

from typing import NamedTuple

HEAD = ("server", "transport", "attack", "made", "found", "")


class Row(NamedTuple):
    """One attack, and what came of it."""

    server: str
    transport: str
    attack: str
    made: object
    found: object
    holds: bool
    note: str = ""


def not_possible(server, transport, attack, why):
    """A row of what this server does not have."""
    return Row(server, transport, attack, "–", "–", holds=True, note=why)


def table(rows):
    """For people: one line a row, `FAILS` where it does not hold."""
    lines = [HEAD] + [
        (*map(str, row[:5]), "  ".join(filter(None, ("" if row.holds else "FAILS", row.note)))) for row in rows
    ]
    widths = [max(len(line[place]) for line in lines) for place in range(5)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line[:5], widths, strict=True)), line[5]]).rstrip()
        for line in lines
    )
