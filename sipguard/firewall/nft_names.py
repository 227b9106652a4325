"""The names of sipguard's nftables sets: which jail and which kind of address a set holds, readable in both directions.

A jail's name may hold any character, a set's may not, and after a restart the set's name is all there is. So the
mapping is injective and, but for very long names, can be read backwards: ASCII letters, digits and `-` stand for
themselves, every other byte of the UTF-8 text is `_` and two hexadecimal digits. A name too long for the kernel is cut
and ends in `__` and a hash; otherwise a digit follows every `_`, so that no short name can look like a cut one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

Family = Literal["4", "6"]
Kind = Literal["a", "p", "n"]
"""Addresses, and IPv6 networks of the length `PREFIX` (plain sets: constant cost per ban); other networks (an interval set,
which nft reads whole on a change)."""

PREFIX = 64
"""Jails count and ban IPv6 by networks of this length unless they say otherwise, so there may be many."""

MAX_LENGTH = 255
"""NFT_NAME_MAXLEN of linux/netfilter/nf_tables.h, without the closing NUL. nft itself stops at the same length."""

_OTHER = re.compile(rb"[^A-Za-z0-9-]")
_ESCAPED = re.compile(rb"_([0-9a-f]{2})")
_NAME = re.compile(r"([apn])([46])_([A-Za-z0-9_-]*)")
_CUT = re.compile(r"[A-Za-z0-9_-]+__[0-9a-f]{32}")
_READABLE = MAX_LENGTH - len("a4_")
_DIGEST = 32


class SetName(NamedTuple):
    """A set's name taken apart. `jail` is the escaped form, as `escape_jail` gives it."""

    kind: Kind
    family: Family
    jail: str

    def __str__(self) -> str:
        # The leading letter keeps a jail named `tcp` or `5060` from being read as a keyword or a number.
        return f"{self.kind}{self.family}_{self.jail}"


@lru_cache(maxsize=1024)  # every ban of a burst asks
def escape_jail(jail: str) -> str:
    """Give the part of a set's name that stands for the jail."""
    return escape(jail, _READABLE, _DIGEST)


@lru_cache(maxsize=1024)  # as above
def escape(name: str, room: int, digest: int) -> str:
    """Escape a name; one that needs more than `room` letters is cut and ends in `__` and `digest` digits of its hash."""
    # surrogatepass: a jail's name may come from a file that was not UTF-8, and must not crash the firewall.
    raw = name.encode("utf-8", "surrogatepass")
    escaped = _OTHER.sub(lambda match: b"_%02x" % match[0][0], raw).decode("ascii")
    if len(escaped) <= room:
        return escaped
    from hashlib import sha256  # noqa: PLC0415 - loads OpenSSL, 4 MB, and few names are long

    return f"{escaped[: room - digest - 2]}__{sha256(raw).hexdigest()[:digest]}"


def unescape_jail(escaped: str) -> str | None:
    """Give the jail's name, or None when `escape_jail` made this from a longer one, or did not make it at all."""
    raw = _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode("ascii")), escaped.encode("ascii"))
    try:
        jail = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return jail if escape_jail(jail) == escaped else None


def parse_set_name(name: str) -> SetName | None:
    """Take a set's name apart; None for a set that sipguard did not name."""
    match = _NAME.fullmatch(name)
    if not match or (unescape_jail(match[3]) is None and not _CUT.fullmatch(match[3])):
        return None
    kinds: dict[str, Kind] = {"a": "a", "p": "p", "n": "n"}
    family: Family = "4" if match[2] == "4" else "6"
    return SetName(kinds[match[1]], family, match[3])
