"""`sipguard explain`: why an address is, was or is not banned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_option
from sipguard.text import printable


@click.command("explain")
@click.argument("address")
@json_option
@socket_option
def command(address: str, as_json: bool, path: Path) -> None:
    """Why ADDRESS is, was or is not banned: the lines, counts and times. Exit status 1 if it is not banned."""
    story = ask(path, "explain", address=address)
    if as_json:
        output.as_json(story)
    else:
        _tell(story)
    if not story["bans"] and not any(one["rejected"] for one in (*story["feeds"], *story["fleet"])):
        raise click.exceptions.Exit(1)


def _tell(story: dict[str, Any]) -> None:
    address = story["address"]
    for ban in story["bans"]:
        end = "for good" if ban["until"] is None else f"until {output.moment(ban['until'])}"
        part = "" if ban["address"] == address else f" as part of {ban['address']}"
        since = output.moment(ban["since"])
        output.say(f"{address} is banned{part} by {ban['jail']} since {since} {end}: {ban['reason']}")
        times = "for the first time" if ban["count"] == 1 else f"{ban['count'] - 1} times before"
        output.say(f"banned {times}; to let it through: sipguard unban {ban['address']}")
    if story["rejected"] is not None:
        packets = "packet" if story["rejected"] == 1 else "packets"
        output.say(f"{story['rejected']} {packets} rejected since")
    if not story["bans"]:
        output.say(f"{address} is not banned")
    _tell_of_others(story)
    for jail, why in story["ignored"].items():
        output.say(f"{jail} never bans it: {why}")
    for jail, (count, limit) in story["counts"].items():
        output.say(f"{jail} counts {count} of {limit} failures")
    for ban in story["earlier"]:
        output.say(f"was banned by {ban['jail']} from {output.moment(ban['since'])} to {output.moment(ban['until'])}")
    output.table(
        ("when", "jail", "user", "regex", "line"),
        (
            [output.moment(a["time"]), a["jail"], a["user"] or "", _number(a["regex"]), a["line"]]
            for a in story["attempts"]
        ),
    )
    if story["doubts"]:
        output.say("not counted, since nothing proves that they came from this address:")
        output.table(
            ("when", "jail", "user", "line"),
            ([output.moment(a["time"]), a["jail"], a["user"] or "", a["line"]] for a in story["doubts"]),
        )
    used = {(a["jail"], a["regex"]): a["failregex"] for a in story["attempts"] if a["failregex"]}
    for (jail, regex), text in sorted(used.items()):
        output.say(f"{jail} regex {_number(regex)}: {printable(text, 300)}")


def _tell_of_others(story: dict[str, Any]) -> None:
    """What feeds and other nodes say of the address."""
    address = story["address"]
    for feed in story["feeds"]:
        part = "" if feed["network"] == address else f" as part of {feed['network']}"
        does = "is rejected" if feed["rejected"] else f"is not rejected ({feed['because']}), though listed"
        output.say(f"{address} {does} by feed {feed['feed']}{part} until {output.moment(feed['until'])}")
    for claim in story["fleet"]:
        part = "" if claim["network"] == address else f" as part of {claim['network']}"
        does = "is rejected" if claim["rejected"] else f"is not rejected ({claim['because'] or 'not yet'})"
        why = _by(claim["jail"], claim["reason"])
        until = output.moment(claim["until"])
        who = "CrowdSec" if claim["node"] == "crowdsec" and claim["evidence"] == "decision" else f"node {claim['node']}"
        banned = f"{who} has banned it{part} until {until} ({claim['evidence']}{why})"
        output.say(printable(f"{address} {does}: {banned}"))


def _by(jail: str, reason: str) -> str:
    by = f" by {jail}" if jail else ""
    return f"{by}: {reason}" if reason else by


def _number(regex: int | None) -> str:
    """Counted from 1, as people do."""
    return "" if regex is None or regex < 0 else str(regex + 1)
