"""What is wrong, in a sentence each, with the command that mends it or shows more."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

Level = Literal["bad", "warning"]
"""`bad`: somebody may get in who should not."""


class Ailment(NamedTuple):
    """One thing that is wrong."""

    level: Level
    text: str
    mend: str
    """A command for a shell; empty where there is none."""


def ailments(
    overview: Mapping[str, Any], feeds: list[dict[str, Any]], others: Mapping[str, Any] | None
) -> list[Ailment]:
    """All that is wrong, the worst first."""
    found = [*_protection(overview), *_jails(overview), *_feeds(feeds), *_others(others)]
    return sorted(found, key=lambda one: one.level != "bad")


def _protection(overview: Mapping[str, Any]) -> Iterator[Ailment]:
    firewall, state = overview["firewall"], overview["state"]
    if not overview["working"]:
        why = "no jail has anything to read" if overview["jails"] else "no jail is running"
        if firewall["problem"] or firewall["unruled"]:
            why = "the firewall takes no bans"
        yield Ailment("bad", f"Nobody is protected: {why}.", "sipguard check")
    if firewall["backend"] == "memory":
        yield Ailment(
            "bad", "The firewall is the one for trials: bans reject no packet.", "sipguard run --firewall auto"
        )
    if firewall["problem"]:
        yield Ailment("bad", f"The firewall refuses orders: {firewall['problem']}", "sipguard firewall verify")
    for jail, why in firewall["unruled"].items():
        yield Ailment("bad", f"The firewall refuses the rule of jail {jail}: {why}", "sipguard firewall verify")
    if state["problem"]:
        where = shlex.quote(state["directory"])
        yield Ailment("warning", f"The state cannot be written: {state['problem']}", f"df -h {where}; ls -la {where}")
    for error in overview["errors"]:
        yield Ailment("bad", f"Not running: {error}", "sipguard check")


def _jails(overview: Mapping[str, Any]) -> Iterator[Ailment]:
    for jail in overview["jails"]:
        name = jail["name"]
        status = f"sipguard status {shlex.quote(name)}"
        if jail["problem"] and name not in overview["firewall"]["unruled"]:
            yield Ailment("bad", f"Jail {name}: {jail['problem']}", status)
        for path, problem in jail["logs"].items():
            if problem:
                yield Ailment("bad", f"Jail {name}: {path}: {problem}", f"ls -l {shlex.quote(path)}")
        events = jail["events"]
        if events and not events["speaks"]:
            yield Ailment("warning", f"Jail {name}: no events of {events['url']}: {events['problem'] or ''}", status)
        for action in jail["actions"]:
            if action["problem"]:
                mend = f"sipguard test-action {shlex.quote(action['name'])}"
                yield Ailment("warning", f"Jail {name}: action {action['name']}: {action['problem']}", mend)


def _feeds(feeds: list[dict[str, Any]]) -> Iterator[Ailment]:
    for feed in feeds:
        refresh = f"sipguard feeds refresh {shlex.quote(feed['name'])}"
        if feed["held"]:
            yield Ailment("warning", f"Feed {feed['name']} is held: {feed['held']}", f"{refresh} --accept")
        elif feed["problem"]:
            yield Ailment("warning", f"Feed {feed['name']}: {feed['problem']}", refresh)


def _others(others: Mapping[str, Any] | None) -> Iterator[Ailment]:
    for name, told in (others or {}).items():
        if told and told["problem"]:
            yield Ailment(
                "warning", f"{'CrowdSec' if name == 'crowdsec' else 'Fleet'}: {told['problem']}", "sipguard fleet"
            )
    for node in ((others or {}).get("fleet") or {}).get("nodes", ()):
        if node["held"]:
            mend = f"sipguard fleet accept {shlex.quote(node['name'])}"
            yield Ailment("warning", f"Node {node['name']} is held: {node['held']}", mend)
