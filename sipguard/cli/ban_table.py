"""Lists of bans on a terminal: what `sipguard bans` and `sipguard history` share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from sipguard.cli import output
from sipguard.cli.completion import banned_addresses, jail_names
from sipguard.geoip import origins
from sipguard.text import in_words, short, span
from sipguard.wire_model import CLASSES

F = TypeVar("F", bound=Callable[..., Any])

ORDERS = ("since", "until", "address", "jail", "attempts", "count", "packets", "evidence")
"""As the daemon knows them (`daemon.ban_list`), which is not imported here: the command would start late."""
_BANNING = tuple(one for one in CLASSES if one != "contradicted")
_STATES = {"proven": "good", "lent": "good", "corroborated": "good", "unproven": "warn"}


def list_options(function: F) -> F:
    """The options of both commands."""
    for option in (
        click.argument("address", required=False, shell_complete=banned_addresses),
        click.option(
            "--limit",
            type=click.IntRange(1, 10_000),
            default=100,
            help="Bans on a page.  [default: 100]",
            metavar="NUMBER",
        ),
        click.option(
            "--from",
            type=click.IntRange(min=0),
            default=0,
            metavar="NUMBER",
            help="Leave out so many; each page names the number of the next one.",
        ),
        click.option("--reverse", is_flag=True, help="Reverse that order."),
        click.option(
            "--sort", type=click.Choice(ORDERS), default="since", show_default=True, help="Order of the list."
        ),
        click.option("--evidence", type=click.Choice(_BANNING), help="Only bans that rest on evidence of this class."),
        click.option("--user", metavar="NAME", help="Only addresses that tried this user."),
        click.option("--jail", metavar="NAME", shell_complete=jail_names, help="Only bans of this jail."),
    ):
        function = option(function)
    return function


def answer(page: dict[str, Any], *, past: bool, as_json: bool) -> None:
    """Print one page. Exit status 1 if there is no ban at all."""
    output.answer(page, as_json, lambda one: _show(one, past=past))
    if not page["total"]:
        raise click.exceptions.Exit(1)


def _show(page: dict[str, Any], *, past: bool) -> None:
    bans, now = page["bans"], time.time()
    if not page["total"]:
        output.say(f"nobody was banned since {output.moment(page['since'])}" if past else "nobody is banned")
        return
    places = origins([ban["address"] for ban in bans], page["geoip"])
    columns: dict[str, Callable[[dict[str, Any]], object]] = {
        "address": lambda ban: ban["address"],
        "jail": lambda ban: ban["jail"],
        "since": lambda ban: output.lately(ban["since"]),
        ("ended" if past else "left"): lambda ban: _end(ban, now, past),
    }
    if any(ban["evidence"] not in (None, "hand") for ban in bans):
        columns["evidence"] = lambda ban: output.cell(ban["evidence"] or "", _STATES.get(ban["evidence"], ""))
    if any(ban["packets"] for ban in bans):
        columns["packets"] = lambda ban: "" if ban["packets"] is None else ban["packets"]
    if places:
        columns["from"] = lambda ban: places.get(ban["address"], "")
    columns["why"] = _why
    output.table(list(columns), ([make(ban) for make in columns.values()] for ban in bans))
    _foot(page)


def _end(ban: dict[str, Any], now: float, past: bool) -> object:
    if ban["ended"] is not None:
        return output.lately(ban["ended"])
    left = span(None if ban["until"] is None else ban["until"] - now)
    return output.cell(f"{left} left" if past and ban["until"] is not None else left, "warn")


def _why(ban: dict[str, Any]) -> str:
    """The reason; the users of the attempts behind it, where it does not name them."""
    reason = short(in_words(str(ban["reason"])), 80)
    if not ban["users"] or "user" in reason:
        return reason
    more = f" … ({ban['user_count']} users)" if ban["user_count"] > 3 else ""
    return f"{reason}, users {' '.join(short(user, 16) for user in ban['users'][:3])}{more}"


def _foot(page: dict[str, Any]) -> None:
    begin, shown, total = page["from"], len(page["bans"]), page["total"]
    if shown == total:
        output.say(output.counted(total, "ban"), "dim")
        return
    rest = f"; the next page: --from {begin + shown}" if begin + shown < total else ""
    output.say(f"{begin + 1} to {begin + shown} of {output.counted(total, 'ban')}{rest}", "dim")
