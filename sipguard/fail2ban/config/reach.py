"""Finds the ports and protocols that a firewall action's commands reject.

Only entry points count: rules in chains that no other rule jumps to. Chains behind them can only narrow the match, and a
ban by sipguard may cover more than the action's, never less.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sipguard.fail2ban.config.actions import commands_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sipguard.model import Action

# Separators of commands; `\;` belongs to nft.
_SEPARATOR = re.compile(r"\n|(?<!\\);|&&|\|\|")
# The chain to which iptables, firewall-cmd or nft adds a rule.
_RULE = re.compile(
    r"\s(?:-[IA]|--insert|--append)\s+(?P<iptables>\S+)|--add-rule\s+\S+\s+\S+\s+(?P<direct>\S+)"
    r"|\b(?:add|insert)\s+rule\s+(?:(?:ip6?|inet|bridge|netdev|arp)\s+)?\S+\s+(?P<nft>\S+)"
)
_TARGET = re.compile(r"\s(?:-[jg]|--jump|--goto|jump|goto)\s+(\S+)")
_LETS_PASS = frozenset({"RETURN", "ACCEPT", "LOG", "NFLOG"})
_PORT = re.compile(r"(?:--d(?:estination-)?ports?\s|\bdport\s)\s*(\\?\{[^{}]*\}|\S+)")
_PROTOCOL = re.compile(r"(?:\s-p|\s--protocol|\bl4proto|\bprotocol)\s+(\\?\{[^{}]*\}|\S+)|(\S+)(?=\s+dport\b)")
_ALL_BUT = re.compile(r"!\s+(?:-p|--protocol|--d)")
# Programs that know no ports, or are given none.
_EVERYTHING = re.compile(r"\b(?:csf|ufw|apf|shorewall6?|route|hosts\.deny|--add-source|--add-entry)\b")

Reach = tuple[str, str]
"""Ports and protocols as written; empty for all."""

ALL: Reach = ("", "")


def ban_commands(action: Action) -> str:
    """The commands of an action before and at a ban, for both address families. Raises ConfigError."""
    both = [commands_for(action, family) for family in ("inet4", "inet6")]
    return "\n".join(commands.get(key, "") for commands in both for key in ("actionstart", "actionban"))


def reaches(action: Action) -> tuple[Reach, ...]:
    """Ports and protocols of each entry point of the action. Raises ConfigError if a tag refers to itself."""
    commands = ban_commands(action)
    if _EVERYTHING.search(commands):
        return (ALL,)
    entries = [text for _, text in _entries(commands)] or [commands]
    return tuple(dict.fromkeys(_reach(action, entry, commands) for entry in entries))


def forwards(action: Action) -> bool:
    """Whether the action rejects packets that this host only passes on. Raises ConfigError if a tag refers to itself."""
    return any(chain in ("FORWARD", "PREROUTING") for chain, _ in _entries(ban_commands(action)))


def _entries(commands: str) -> Iterator[tuple[str, str]]:
    """The rules that packets reach first, each with its chain."""
    rules = [(text, match) for text in _SEPARATOR.split(commands) if (match := _RULE.search(text))]
    targets = {match[1] for text, _ in rules for match in _TARGET.finditer(text)}
    for text, match in rules:
        chain = next(filter(None, match.groups()))
        if chain not in targets and not _LETS_PASS & set(_TARGET.findall(text)):
            yield chain, text


def _reach(action: Action, entry: str, commands: str) -> Reach:
    if _ALL_BUT.search(entry):
        return ALL
    return _named(action, "port", _PORT, entry, commands), _named(action, "protocol", _PROTOCOL, entry, commands)


def _named(action: Action, option: str, written: re.Pattern[str], entry: str, commands: str) -> str:
    """The action's own option if the commands use it, else the value written in them."""
    given = action.properties.get(option, "")
    found = [next(filter(None, match.groups())).strip("{}\\'\"") for match in written.finditer(entry)]
    # A shell variable: assume that the commands set it from the option.
    if entry is commands or any("$" in text for text in found):
        entry, found = commands, []
    if given and re.search(rf"(?<![\w.-]){re.escape(given)}(?![\w.-])", entry):
        return given
    return ",".join(found)
