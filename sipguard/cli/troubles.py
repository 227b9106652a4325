"""What is wrong with a running daemon, and the command that mends it: from what it answers to `status`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

from sipguard.text import printable

BY_HAND = "by-hand"
"""The jail of bans by hand, as `daemon.by_hand` names it: it reads nothing."""


class Trouble(NamedTuple):
    """One thing that is wrong."""

    what: str
    mend: str = ""
    """A command, or what to do; empty where `what` says it."""
    serious: bool = True
    """Whether somebody may go unprotected for it."""


def troubles(status: dict[str, Any]) -> list[Trouble]:
    """The worst first: what concerns all jails, then jail by jail."""
    found = [*_of_firewall(status["firewall"]), *_of_state(status["state"]), *_of_wire(status.get("wire"))]
    for name, problem in status.get("others", {}).items():
        found.append(Trouble(f"{name}: {printable(problem, 500)}", "sipguard fleet", False))
    if not status["jails"] and not status["errors"]:
        found.append(Trouble("no jail is enabled", "sipguard enable, or write `enabled = true` to a file of jails.d"))
    for jail in status["jails"]:
        found += _of_jail(jail)
    for source, problem in status.get("others", {}).items():
        found.append(Trouble(f"{source}: {printable(problem, 500)}", "sipguard fleet", False))
    found += [Trouble(f"not running: {printable(error, 500)}", "sipguard check") for error in status["errors"]]
    return found


def _of_firewall(firewall: dict[str, Any]) -> Iterator[Trouble]:
    if firewall["backend"] == "memory":
        yield Trouble(
            "firewall: memory enforces nothing, it is for trials: bans reject no packet",
            'set backend = "auto" below [firewall] in sipguard.toml; then: systemctl restart sipguard',
        )
    if firewall["problem"]:
        yield Trouble(f"firewall: {printable(firewall['problem'], 500)}", "sipguard firewall verify")


def _of_state(state: dict[str, Any]) -> Iterator[Trouble]:
    if state["problem"]:
        yield Trouble(
            f"state: {printable(state['problem'], 500)}", f"df -h {shlex.quote(printable(state['directory']))}", False
        )


def _of_wire(wire: dict[str, Any] | None) -> Iterator[Trouble]:
    if not wire:
        return
    if wire["problem"]:
        yield Trouble(f"wire: {printable(wire['problem'], 500)}", "sipguard check")
    watched = wire["watched"] or {"unwatched": (), "elsewhere": ()}
    for one in watched["unwatched"]:
        yield Trouble(f"wire: not watched: {printable(one)}", "name the port in `ports` below [wire]", False)
    for one in watched["elsewhere"]:
        what = f"wire: {printable(one)} runs in a network namespace of its own; what does not pass this one is not seen"
        yield Trouble(what, "", False)


def _of_jail(jail: dict[str, Any]) -> Iterator[Trouble]:
    name = jail["name"]
    if jail["problem"]:
        yield Trouble(f"jail {name}: {printable(jail['problem'], 500)}", "sipguard check")
    events = jail["events"]
    if events and not events["speaks"]:
        why = printable(events["problem"] or "", 300)
        yield Trouble(f"jail {name}: no events of {printable(events['url'])}: {why}", "sipguard check")
    none = all(jail["logs"].values()) and not (events and events["speaks"])
    for path, problem in jail["logs"].items():
        if problem:
            mend = f"name the right log in logpath of jails.d/{name}.toml; sipguard check says which"
            yield Trouble(f"jail {name}: {printable(path)}: {printable(problem, 300)}", mend, none)
