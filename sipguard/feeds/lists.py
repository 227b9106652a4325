"""Parses block lists as published: one address or network per line, `ipset save`, or JSON lines.

An error page or login form with status 200 must not count as an empty list. Too many lines without an address therefore
reject the whole file.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sipguard.errors import FeedError
from sipguard.networks import NetworkRefusedError, admit

MOST = 1_000_000
"""Most networks in one list: five times the largest published one."""

_ENDS_ADDRESS = re.compile(r"[\s,;|]")
_JSON_KEYS = ("cidr", "network", "prefix", "subnet", "ip", "address", "ipaddress", "ip_address", "ip_prefix")
_NONSENSE = 0.1
"""Largest share of lines without an address."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A parsed list: networks in canonical text, and the number of refused entries by reason."""

    networks: dict[str, None]
    refused: Counter[str]
    nonsense: int
    """Lines without an address."""


def parse_list(data: bytes, form: str = "auto") -> Parsed:
    """Parse a list. Raises `FeedError` if it is not a list, or contains nothing that may be rejected."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    networks: dict[str, None] = {}
    refused: Counter[str] = Counter()
    nonsense = 0
    for word in _words(text, form if form != "auto" else _guess(text)):
        try:
            networks[admit(word, is_cut=True)] = None
        except NetworkRefusedError as why:
            refused[str(why)] += 1
        except ValueError:
            nonsense += 1
        if len(networks) > MOST:
            raise FeedError(f"more than {MOST:,} networks: too many for a list of attackers")
    found = len(networks) + refused.total()
    if nonsense > _NONSENSE * (found + nonsense):
        raise FeedError(f"{nonsense} of {found + nonsense} lines contain no address; check the url and `format`")
    if not networks:
        raise FeedError("the list contains no address that may be rejected")
    return Parsed(networks, refused, nonsense)


def _lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        bare = line.strip()
        if bare and bare[0] not in "#;":
            yield bare


def _guess(text: str) -> str:
    first = next(_lines(text), "")
    if first[0:1] in ("{", '"'):
        return "jsonl"
    return "ipset" if first.split(" ", 1)[0] in ("create", "add", "-N", "-A") else "plain"


def _words(text: str, form: str) -> Iterator[str]:
    """The word of each line that should be an address; empty if there is none."""
    for line in _lines(text):
        if form == "ipset":
            # ipset(8) save: create NAME TYPE …, add NAME ENTRY [timeout N] …
            parts = line.split()
            if parts[0] in ("add", "-A"):
                yield parts[2].partition(",")[0] if len(parts) > 2 else ""
        elif form == "jsonl":
            yield from _json_word(line)
        else:
            yield _ENDS_ADDRESS.split(line.partition("#")[0], maxsplit=1)[0]


def _json_word(line: str) -> Iterator[str]:
    """The address in one JSON object, or the line itself if it is a string. Objects without one describe the list."""
    try:
        value = json.loads(line.rstrip(","))
    except (ValueError, RecursionError):
        yield ""
        return
    if isinstance(value, dict):
        found = next((value[key] for key in _JSON_KEYS if key in value), None)
        if found is None:
            # The last line of Spamhaus's lists states their size and terms.
            if "type" not in value:
                yield ""
            return
        value = found
    yield value if isinstance(value, str) else ""
