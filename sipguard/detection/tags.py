"""Fail2ban's tags (`<HOST>`, `<F-USER>…</F-USER>`, `<SKIPLINES>`) turned into regex syntax with named groups.

The meaning is that of jail.conf(5), section FILTER FILES. A tag that is not known stays as it is written, as literal
text: filters match XML logs too.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sipguard.model import Filter

ID_GROUPS = ("fid", "ip4", "ip6", "dns")
"""Groups that can name the accused, in the order in which they are asked."""

_IP4 = r"(?:::f{4,6}:)?(?P<ip4>(?:\d{1,3}\.){3}\d{1,3})"
_IP6 = r"(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|::){1,7}(?:[0-9a-fA-F]{1,4}|(?<=:):))"
_DNS = r"(?P<dns>[\w\-.^_]*\w)"
_CIDR = r"(?P<cidr>\d+)"
_ADDR = rf"\[?(?:{_IP4}|{_IP6})\]?"
_SUBNET = rf"\[?(?:{_IP4}|{_IP6})(?:/{_CIDR})?\]?"

_WHOLE: Mapping[str, str] = {
    "HOST": f"(?:{_ADDR}|{_DNS})",
    "IP4": _IP4,
    "IP6": _IP6,
    "DNS": _DNS,
    "ADDR": _ADDR,
    "CIDR": _CIDR,
    "SUBNET": _SUBNET,
    "F-IP4/": _IP4,
    "F-IP6/": _IP6,
    "F-DNS/": _DNS,
    "F-ADDR/": _ADDR,
    "F-CIDR/": _CIDR,
    "F-SUBNET/": _SUBNET,
    "F-ID/": r"(?P<fid>\S+)",
    "F-PORT/": r"(?P<fport>\w+)",
}
"""Tags that stand for a whole pattern."""

_GROUP_OF = {"id": "fid", "port": "fport"}
"""Where the group has another name than the tag."""

_TAG = re.compile(r"</?[\w\-]+/?>")
_PAIRED = re.compile(r"F-([A-Z0-9_\-]+)")


def group_name(tag: str) -> str:
    """The group that a tag (`USER`, `ID`: its name behind `F-`) is captured in."""
    name = tag.lower()
    return _GROUP_OF.get(name, name)


def expand(pattern: str) -> str:
    """Replace every tag in `pattern` (a failregex, ignoreregex or prefregex) by regex syntax.

    Raises nothing: a pattern that makes no sense is found when it is compiled.
    """
    opened: set[str] = set()
    skips = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal skips
        tag = match.group()[1:-1]
        if tag == "SKIPLINES":
            skips += 1
            return rf"\n(?P<skiplines{skips - 1}>(?:(?:.*\n)*?))"
        if tag in _WHOLE:
            return _WHOLE[tag]
        if paired := _PAIRED.fullmatch(tag):
            opened.add(paired[1])
            return f"(?P<{group_name(paired[1])}>"
        if tag.startswith("/") and tag.removeprefix("/F-") in opened:
            return ")"
        return match.group()

    return _TAG.sub(replace, pattern)


def without_names(filter: Filter) -> Filter:  # noqa: A002 - the noun of the field
    """The filter as `usedns = no` has it: its `<HOST>` is an address, never a name."""

    def narrow(patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(pattern.replace("<HOST>", "<ADDR>") for pattern in patterns)

    prefregex = narrow((filter.prefregex,))[0] if filter.prefregex else None
    return replace(
        filter, failregex=narrow(filter.failregex), ignoreregex=narrow(filter.ignoreregex), prefregex=prefregex
    )


def accused(groups: Mapping[str, str | None]) -> tuple[str | None, str | None]:
    """The id to ban, and the address: they differ where a filter gives an id of its own (`<F-ID>`) beside it."""
    address, longest = groups.get("ip4"), 32
    if address is None:
        address, longest = groups.get("ip6"), 128
    length = groups.get("cidr")
    # What is longer is no network: in a session the length may even have come with another address.
    if address is not None and length and len(length) <= 3 and int(length) <= longest:
        address = f"{address}/{length}"
    if address is None:
        address = groups.get("dns")
    own = groups.get("fid")
    return (address if own is None else own), address
