"""Reads all that another node has published, as long as it is not too much."""

from __future__ import annotations

from sipguard.fleet.link import Link
from sipguard.fleet.messages import AHEAD, LONGEST, BadMessageError, read_network, read_time
from sipguard.fleet.replica import Contents, Replica
from sipguard.fleet.roster import Roster


async def read_contents(link: Link, replica: Replica, roster: Roster) -> Contents | None:
    """The sets of a node; None if they are too large, and the node is held. Invalid elements are skipped and counted."""
    bans = [f"bans:{evidence}" for evidence in roster.accept]
    taken = ["unbans", *(["pardons"] if roster.is_trusted(replica.name) else [])]
    size = await link.sizes(replica.name, bans)
    if not replica.fits(size) or not replica.fits_all(size + await link.sizes(replica.name, taken)):
        return None
    contents = Contents()
    for what in (*bans, *taken):
        told: dict[str, float] = {}
        async for page in link.pages(replica.name, what):
            now = link.now()
            for member, score in page:
                try:
                    network, until = read_network(member), read_time(score)
                    if until > now + LONGEST + AHEAD:
                        raise BadMessageError("a time in the future")
                except BadMessageError as error:
                    replica.refuse(error)
                    continue
                if until > now:
                    told[network] = max(until, told.get(network, 0.0))
            if not replica.fits_all(len(contents) + len(told)):  # it grows while it is read
                return None
        if what.startswith("bans:"):
            contents.bans[what.removeprefix("bans:")] = told
        else:
            setattr(contents, what, told)
    return contents
