"""Rules of others by which a packet may get past ours: what translates addresses, and what offloads flows. Reads only.

nf_tables tells of its own rules and of those that iptables-nft makes; legacy tables are told of by `iptables-legacy-save` alone,
which needs CAP_NET_RAW. It is not asked about tables that are not in use: to ask would load them into the kernel.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sipguard.errors import FirewallError
from sipguard.firewall import nft_text, programs
from sipguard.firewall.nft_run import NftRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRANSLATES = {"dnat", "redirect", "tproxy"}
"""Statements of nft that send a packet elsewhere."""
_TARGETS = {"DNAT", "REDIRECT", "NETMAP", "TPROXY"}
"""The same as targets of iptables."""
_OURS = {"sipguard", "sipguard_feeds", "sipguard_wire"}
_LEGACY = {"iptables": Path("/proc/net/ip_tables_names"), "ip6tables": Path("/proc/net/ip6_tables_names")}
"""Program → the legacy tables that are in use; root alone may read them."""
_LINE = re.compile(rf"-A (\S+) .*-j (?:{'|'.join(sorted(_TARGETS))})\b")


class ForeignRule(NamedTuple):
    """One rule of somebody else's."""

    where: str
    """`table ip nat, chain PREROUTING`."""
    text: str
    """As it is listed."""

    def names_port(self, port: int) -> bool:
        """Whether it speaks of this port."""
        return re.search(rf"(?<!\d){port}(?!\d)", self.text) is not None


class ForeignRules(NamedTuple):
    """What was found."""

    translate: tuple[ForeignRule, ...] = ()
    legacy: tuple[ForeignRule, ...] = ()
    """What translates in legacy tables."""
    offload: tuple[ForeignRule, ...] = ()
    hidden: tuple[str, ...] = ()
    """What could not be read."""


def read_foreign_rules() -> ForeignRules:
    """Read the rules of this namespace. Raises nothing: what cannot be read is named."""
    hidden: list[str] = []
    translate: list[ForeignRule] = []
    offload: list[ForeignRule] = []
    try:
        for rule, expressions in _of_nft(NftRunner().query("list ruleset", terse=True)):
            if expressions & _TRANSLATES or expressions & _TARGETS:
                translate.append(rule)
            if "flow" in expressions:
                offload.append(rule)
    except FirewallError as error:
        hidden.append(f"nf_tables ({error})")
    legacy: list[ForeignRule] = []
    for program in _LEGACY:
        try:
            legacy += _of_legacy(program)
        except (OSError, FirewallError):
            hidden.append(f"legacy tables ({program}-legacy-save)")
    return ForeignRules(tuple(translate), tuple(legacy), tuple(offload), tuple(hidden))


def _of_nft(listing: str) -> Iterator[tuple[ForeignRule, set[str]]]:
    """Each rule that is not ours, and what its expressions are called."""
    for item in nft_text.read_items(listing):
        rule = item.get("rule")
        if rule and rule["table"] not in _OURS:
            where = f"table {rule['family']} {rule['table']}, chain {rule['chain']}"
            yield ForeignRule(where, json.dumps(rule["expr"])), {_called(one) for one in rule["expr"]}


def _called(expression: dict[str, Any]) -> str:
    """`dnat`, or of a rule of iptables the target's name."""
    name, value = next(iter(expression.items()))
    return str(value.get("name", "")) if name == "xt" and isinstance(value, dict) else str(name)


def _of_legacy(program: str) -> Iterator[ForeignRule]:
    """The rules of legacy tables that translate. Raises `OSError`, `FirewallError`: they cannot be read."""
    try:
        tables = _LEGACY[program].read_text().split()
    except FileNotFoundError:
        return
    if "nat" not in tables and "mangle" not in tables:
        return
    table = ""
    save = f"{program}-legacy-save"
    if not programs.installed(save):  # before iptables 1.8 there was no other kind
        save = f"{program}-save"
    for line in programs.run([save], package="iptables").splitlines():
        table = line[1:] if line.startswith("*") else table
        if match := _LINE.match(line):
            yield ForeignRule(f"{program}-legacy, table {table}, chain {match[1]}", line)
