"""The names of sipguard's ipset sets and iptables chains: as in `nft_names`, but much shorter.

A name that does not fit is cut and ends in `__` and a hash, which no whole name can hold.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from sipguard.firewall.nft_names import Family, escape, unescape_jail

Kind = Literal["a", "n", "f", "g", "t"]
"""Addresses and networks of a jail; a feed to reject, one to drop; a set that is being filled to take another's place."""

SET_LENGTH = 31
"""IPSET_MAXNAMELEN of linux/netfilter/ipset/ip_set.h, without the closing NUL."""
CHAIN_LENGTH = 28
"""XT_EXTENSION_MAXNAMELEN of linux/netfilter/x_tables.h, less the NUL: a chain's name is a jump's target."""

_PREFIX = "sg_"
_NAME = re.compile(r"sg_([anfgt])([46])_([A-Za-z0-9_-]*)")
_DIGEST = 8


class XtSet(NamedTuple):
    """An ipset's name taken apart; `owner` is the shortened name of a jail or feed."""

    kind: Kind
    family: Family
    owner: str

    def __str__(self) -> str:
        return f"{_PREFIX}{self.kind}{self.family}_{self.owner}"


def shorten(name: str, room: int) -> str:
    """Give a jail's or feed's name in letters that the kernel takes, at most `room` of them."""
    return escape(name, room, _DIGEST)


def set_owner(name: str) -> str:
    """Give the part of a set's name that stands for a jail or feed."""
    return shorten(name, SET_LENGTH - len("sg_a4_"))


def parse_set(name: str) -> XtSet | None:
    """Take a set's name apart; None for a set that sipguard did not name."""
    match = _NAME.fullmatch(name)
    if not match or not (readable(match[3]) is not None or "__" in match[3]):
        return None
    family: Family = "4" if match[2] == "4" else "6"
    kinds: dict[str, Kind] = {"a": "a", "n": "n", "f": "f", "g": "g", "t": "t"}
    return XtSet(kinds[match[1]], family, match[3])


def readable(owner: str) -> str | None:
    """Give the name that `shorten` was given; None when it cut it."""
    return unescape_jail(owner)
