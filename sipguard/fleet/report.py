"""Answers to the operator's questions about the fleet. Times are by this machine's clock."""

from __future__ import annotations

from typing import Any

from sipguard.fleet.node import Node
from sipguard.fleet.roster import Claim


def claims(node: Node, address: str) -> list[Claim]:
    """What the other nodes say of an address."""
    offset, now = node.link.offset, node.link.now()
    return [
        one._replace(until=one.until - offset)
        for one in node.roster.claims(address)
        if one.until > max(now, node.roster.pardoned(one.network))
    ]


def status(node: Node) -> dict[str, Any]:
    """For `sipguard fleet`."""
    offset, now = node.link.offset, node.link.now()
    return {
        "url": node.place,
        "name": node.settings.name,
        "problem": node.problem,
        "untold": node.untold,
        "offset": offset,
        "share": list(node.settings.share),
        "accept": list(node.settings.accept),
        "shared": node.publisher.live(now),
        "rejected": len(node.roster.ends),
        "nodes": [
            {
                "name": name,
                "heard": replica.beat.at - offset if replica.beat else None,
                "bans": replica.contents.count(),
                "published": replica.beat.bans if replica.beat else None,
                "version": replica.beat.version if replica.beat else "",
                "lag": replica.lag,
                "held": replica.held or None,
                "refused": dict(replica.refused),
            }
            for name, replica in sorted(node.roster.replicas.items())
        ],
    }
