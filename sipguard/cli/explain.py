"""`sipguard explain`: why an address is, was or is not banned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_option
from sipguard.cli.completion import banned_addresses
from sipguard.text import in_words, printable, short

MOST_GROUPS = 10
"""Most kinds of attempts shown without -v."""


@click.command("explain")
@click.argument("address", shell_complete=banned_addresses)
@click.option("-v", "--verbose", is_flag=True, help="Show each line, and the regexes that matched.")
@json_option
@socket_option
def command(address: str, verbose: bool, as_json: bool, path: Path) -> None:
    """Tell why ADDRESS is, was or is not banned: what it tried, how often, and when."""
    story = ask(path, "explain", address=address)
    output.answer(story, as_json, lambda one: tell(one, verbose=verbose))
    if not story["bans"] and not any(one["rejected"] for one in (*story["feeds"], *story["fleet"])):
        raise click.exceptions.Exit(1)


def tell(story: dict[str, Any], *, verbose: bool = False) -> None:
    address = story["address"]
    for ban in story["bans"]:
        end = "for good" if ban["until"] is None else f"until {output.moment(ban['until'])}"
        part = "" if ban["address"] == address else f" as part of {ban['address']}"
        since = output.moment(ban["since"])
        why = printable(in_words(ban["reason"]), 300)
        by = output.by(ban["jail"])
        output.say(f"{address} is banned{part} {by} since {since} {end}" + (f": {why}" if why != by else ""), "bad")
        times = "for the first time" if ban["count"] == 1 else f"{ban['count'] - 1} times before"
        output.say(f"banned {times}; to let it through: sipguard unban {ban['address']}")
        if ban["evidence"] and ban["evidence"] != "hand":
            output.say(f"evidence: {ban['evidence']}")
    if story["rejected"] is not None:
        packets = "packet" if story["rejected"] == 1 else "packets"
        output.say(f"{story['rejected']} {packets} rejected since")
    if not story["bans"]:
        output.say(f"{address} is not banned", "good")
    _tell_of_others(story)
    for jail, why in story["ignored"].items():
        output.say(f"{jail} never bans it: {printable(why, 300)}")
    for jail, (count, limit) in story["counts"].items():
        output.say(f"{jail} counts {count} of {limit} failures")
    for ban in story["earlier"]:
        output.say(
            f"was banned {output.by(ban['jail'])} from {output.moment(ban['since'])} to {output.moment(ban['until'])}"
        )
    if verbose:
        _tell_each(story["attempts"])
    else:
        _tell_kinds(story["attempts"])
    if story["doubts"]:
        output.say("not counted, since nothing proves that they came from this address:")
        _tell_kinds(story["doubts"])


def _tell_kinds(attempts: list[dict[str, Any]]) -> None:
    """Print attempts that differ only in time as one row, most frequent first, then a sample line of each kind."""
    kinds: dict[tuple[object, ...], list[dict[str, Any]]] = {}
    for one in attempts:
        kinds.setdefault((one["jail"], one.get("reason"), one.get("regex"), one["user"]), []).append(one)
    ranked = sorted(kinds.values(), key=lambda alike: (-_times(alike), alike[-1]["time"]))
    output.table(
        ("times", "last", "jail", "reason", "user"),
        (
            [_times(alike), output.lately(last["time"]), last["jail"], _reason(last), short(last["user"] or "", 40)]
            for alike in ranked[:MOST_GROUPS]
            if (last := alike[-1])
        ),
    )
    if len(ranked) > MOST_GROUPS:
        output.say(f"… and {len(ranked) - MOST_GROUPS} more users and reasons (-v shows each line)", "dim")
    lines = {(one["jail"], one.get("reason"), one.get("regex")): one["line"] for one in attempts if one["line"]}
    for line in lines.values():
        output.say(f"e.g. {printable(line, output.MOST_CHARACTERS)}", "dim")


def _times(alike: list[dict[str, Any]]) -> int:
    return sum(one.get("attempts", 1) for one in alike)


def _reason(attempt: dict[str, Any]) -> str:
    """The reason in words, or the number of the regex, from 1, if the filter gives none."""
    regex = attempt.get("regex")
    return attempt.get("reason") or ("" if regex is None or regex < 0 else f"failregex {regex + 1}")


def _tell_each(attempts: list[dict[str, Any]]) -> None:
    for one in attempts:
        head = " ".join(filter(None, (output.moment(one["time"]), one["jail"], _reason(one), one["user"])))
        output.say(printable(head, output.MOST_CHARACTERS))
        output.say(f"    {printable(one['line'], output.MOST_CHARACTERS)}", "dim")
    used = {(one["jail"], one["regex"]): one["failregex"] for one in attempts if one["failregex"]}
    for (jail, regex), text in sorted(used.items()):
        output.say(f"{jail} failregex {regex + 1}: {printable(text, 1000)}")


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
    return f"{by}: {in_words(reason)}" if reason else by
