"""What is wrong with a running daemon, and the command that mends it: from what it answers to `overview` and `status`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from sipguard.text import printable

Level = Literal["bad", "warning"]
"""`bad`: somebody may get in who should not."""
_MOST_LOGS = 4
"""That one line names."""
_LISTENS = {
    "asterisk": "asterisk -rx 'manager show settings' says whether it listens; docs/events.md",
    "freeswitch": "fs_cli -x 'module_exists mod_event_socket' says whether it listens; docs/events.md",
}
"""Where events come from → what shows why none do."""
_NAMES = {"fleet": "fleet", "crowdsec": "CrowdSec"}
GOES_ON = "goes on as before"
"""How the problem of a jail ends that runs as it did before it was wrong."""
MOST_NAMED = 3
"""Addresses that are named one by one."""


class Trouble(NamedTuple):
    """One thing that is wrong."""

    text: str
    mend: str = ""
    """A command, or what to do; empty where `text` says it."""
    level: Level = "bad"


def unprotected(status: Mapping[str, Any]) -> str:
    """Why nobody is protected, or nothing enforced; empty where somebody is."""
    if not status["working"]:
        if status["jails"] and (status["firewall"]["problem"] or status["firewall"]["unruled"]):
            return "nobody is protected: the firewall takes no bans"
        why = "none of the jails has anything to read" if status["jails"] else "no jail is running"
        return f"nobody is protected: {why}"
    if status["firewall"]["backend"] == "memory":
        return "not enforced: a trial, bans reject no packet"
    return ""


def troubles(
    status: Mapping[str, Any], feeds: Iterable[Mapping[str, Any]] = (), nodes: Iterable[Mapping[str, Any]] = ()
) -> list[Trouble]:
    """All that is wrong, the worst first. `feeds` and `nodes` are what `feeds` and `fleet` answer, where that was asked."""
    found = [*_of_firewall(status["firewall"]), *_of_state(status["state"]), *_of_wire(status.get("wire"))]
    for address, why in list(status.get("unenforced", {}).items())[:MOST_NAMED]:
        found.append(Trouble(f"the ban of {printable(address)} does not work: {printable(why, 500)}"))
    for name, problem in status.get("others", {}).items():
        found.append(Trouble(f"{_NAMES.get(name, name)}: {printable(problem, 500)}", "sipguard fleet", "warning"))
    if not status["jails"] and not status["errors"]:
        found.append(Trouble("no jail is enabled", "sipguard enable"))
    for jail in status["jails"]:
        found += _of_jail(jail, status["firewall"]["unruled"])
    for error in status["errors"]:
        state = "not in force" if error.endswith(GOES_ON) else "not running"
        found.append(Trouble(f"{state}: {printable(error, 500)}", "sipguard check"))
    found += [*_of_feeds(feeds), *_of_nodes(nodes)]
    return sorted(found, key=lambda one: one.level != "bad")


def _of_firewall(firewall: Mapping[str, Any]) -> Iterator[Trouble]:
    if firewall["backend"] == "memory":
        yield Trouble(
            "firewall: memory enforces nothing, it is for trials: bans reject no packet",
            'set backend = "auto" below [firewall] in sipguard.toml; then restart sipguard',
        )
    if firewall["problem"]:
        yield Trouble(f"firewall: {printable(firewall['problem'], 500)}", "sipguard firewall verify")
    for jail, why in firewall["unruled"].items():
        yield Trouble(f"firewall: refuses the rule of jail {jail}: {printable(why, 500)}", "sipguard firewall verify")


def _of_state(state: Mapping[str, Any]) -> Iterator[Trouble]:
    if state["problem"]:
        where = shlex.quote(printable(state["directory"]))
        yield Trouble(f"state: {printable(state['problem'], 500)}", f"df -h {where}; ls -la {where}", "warning")


def _of_wire(wire: Mapping[str, Any] | None) -> Iterator[Trouble]:
    if not wire:
        return
    if wire["problem"]:
        yield Trouble(f"wire: {printable(wire['problem'], 500)}", "sipguard check")
    watched = wire["watched"] or {"unwatched": (), "elsewhere": (), "relays": ()}
    for one in watched["unwatched"]:
        yield Trouble(f"wire: not watched: {printable(one)}", "name the port in `ports` below [wire]", "warning")
    for one in watched["elsewhere"]:
        what = f"wire: {printable(one)} runs in a network namespace of its own; what does not pass this one is not seen"
        yield Trouble(what, "", "warning")
    for one in watched["relays"]:
        mend = "if it is a SIP proxy of yours, name it in `proxies` below [wire]"
        yield Trouble(
            f"wire: {printable(one)} relays for many users, and may be banned for what one does", mend, "warning"
        )


def _of_jail(jail: Mapping[str, Any], unruled: Mapping[str, str]) -> Iterator[Trouble]:
    name = jail["name"]
    if jail["problem"] and name not in unruled:
        yield Trouble(f"jail {name}: {printable(jail['problem'], 500)}", "sipguard check")
    events = jail["events"]
    if events and not events["speaks"]:
        why = printable(events["problem"] or "", 300)
        text = f"jail {name}: no events of {printable(events['url'])}: {why}"
        yield Trouble(text, _LISTENS.get(events["url"].partition(":")[0], "see docs/events.md"), "warning")
    none = all(jail["logs"].values()) and not (events and events["speaks"])
    for problem, paths in _by_problem(jail["logs"]).items():
        mend = f"name the right log in logpath of jails.d/{name}.toml; sipguard check says which"
        if problem.startswith("permission denied"):
            mend = f"namei -l {shlex.quote(printable(paths[0]))}"
        more = f" and {len(paths) - _MOST_LOGS} more" if len(paths) > _MOST_LOGS else ""
        text = f"jail {name}: {', '.join(map(printable, paths[:_MOST_LOGS]))}{more}: {printable(problem, 300)}"
        yield Trouble(text, mend, "bad" if none else "warning")
    for action in jail["actions"]:
        if action["problem"]:
            text = f"jail {name}: action {printable(action['name'])}: {printable(action['problem'], 300)}"
            mend = f"sipguard test-action {shlex.quote(printable(action['name']))} --jail {shlex.quote(name)}"
            yield Trouble(text, mend, "warning")


def _by_problem(logs: Mapping[str, str | None]) -> dict[str, list[str]]:
    """What is wrong with logs → those that it is wrong with: what is not there is mended at once."""
    found: dict[str, list[str]] = {}
    for path, problem in logs.items():
        if problem:
            found.setdefault(problem, []).append(path)
    return found


def _of_feeds(feeds: Iterable[Mapping[str, Any]]) -> Iterator[Trouble]:
    for feed in feeds:
        refresh = f"sipguard feeds refresh {shlex.quote(feed['name'])}"
        if feed["held"]:
            yield Trouble(f"feed {feed['name']} is held: {printable(feed['held'])}", f"{refresh} --accept", "warning")
        elif feed["problem"]:
            yield Trouble(f"feed {feed['name']}: {printable(feed['problem'])}", refresh, "warning")


def _of_nodes(nodes: Iterable[Mapping[str, Any]]) -> Iterator[Trouble]:
    for node in nodes:
        if node["held"]:
            mend = f"sipguard fleet accept {shlex.quote(node['name'])}"
            yield Trouble(f"node {printable(node['name'])} is held: {printable(node['held'])}", mend, "warning")
