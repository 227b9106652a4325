"""The tags of a ban in an action's text, and how their values get there: jail.conf(5), `ACTION CONFIGURATION FILES`.

A log line is written in part by whoever attacks, and so is the name of a host. A value that could mean anything to a
shell is therefore never put into a command: it goes into an environment variable `f2bV_…`, and the command gets
`$f2bV_…`, which a shell expands after it has parsed the command. Names and choice are Fail2ban's (0.11 and later).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from sipguard.actions.ticket import Ticket

MAX_VALUE = 65_536
"""Bytes of one value: Linux takes 128 KiB in one environment variable."""
MAX_PLAIN = 4_096
"""Characters of a value that is put into the command itself."""

_TAG = re.compile(r"<([^ <>]+)>")
_CAPTURED = re.compile(r"F-[A-Z0-9_-]+")
_SHELL = frozenset("\\#&;`|*?~<>^()[]{}$'\"")
# Fail2ban's names of groups that are tags by another name.
_GROUPS = {"id": "fid", "port": "fport"}


@dataclass(frozen=True, slots=True)
class Filled:
    """A text with its tags replaced, and the variables that it refers to."""

    text: str
    variables: Mapping[str, str]


@cache
def host_name(full: bool) -> str:
    """This host's name, `full` with its domain where the resolver knows one."""
    name = socket.gethostname()
    if full:
        with contextlib.suppress(OSError, UnicodeError):  # no resolver, or a name that is none
            found = socket.getaddrinfo(name, None, 0, socket.SOCK_DGRAM, 0, socket.AI_CANONNAME)
            names = [one[3] for one in found if one[3]]
            return next((one for one in names if one.startswith(f"{name}.")), names[0] if names else name)
    return name


class Values:
    """The value of each tag for one ticket. `host` is the address's name, where it has been looked up."""

    def __init__(self, ticket: Ticket, host: str | None = None) -> None:
        self._ticket = ticket
        self._host = host
        self._failures = ticket.ban.attempts

    def get(self, tag: str) -> str | None:
        """The tag's value, as Fail2ban writes it; None when it is no tag of a ban."""
        if read := _READERS.get(tag):
            return read(self)
        if _CAPTURED.fullmatch(tag):
            name = tag[2:].lower()
            return str(self._data().get(_GROUPS.get(name, name), ""))
        return None

    def _data(self) -> Mapping[str, object]:
        """What a filter has captured, and what Fail2ban keeps beside it."""
        return {"matches": list(self._ticket.matches), "failures": self._failures, **self._ticket.data}

    def all(self) -> dict[str, str]:
        """Every tag but the captured groups: for those who get them all at once."""
        return {tag: read(self) for tag, read in _READERS.items()}

    def _past(self, jail: str | None) -> tuple[int, str]:
        past = self._ticket.jail.past(self._ticket.ban.address, jail)
        if not past.failures:
            return self._failures, "\n".join(self._ticket.matches)
        return past.failures, "\n".join(past.lines)

    def _raw(self) -> str:
        ban = self._ticket.ban
        return (
            f"BanTicket: ip={ban.address} time={ban.since} bantime={self._ticket.bantime} bancount={ban.count} "
            f"#attempts={self._failures} matches={list(self._ticket.matches)!r}"
        )

    def _reversed(self) -> str:
        """The address as a name in the DNS begins, with a dot behind it."""
        if not self._ticket.ban.address:
            return ""
        address = ipaddress.ip_network(self._ticket.ban.address).network_address
        return address.reverse_pointer.removesuffix("in-addr.arpa").removesuffix("ip6.arpa")

    def _id(self) -> str:
        return self._ticket.data.get("fid") or self._ticket.ban.address


_READERS: Mapping[str, Callable[[Values], str]] = {
    "ip": lambda v: v._ticket.ban.address,
    "family": lambda v: v._ticket.family,
    "ip-rev": Values._reversed,
    "ip-host": lambda v: str(v._host),
    "fid": Values._id,
    "failures": lambda v: str(v._failures),
    "time": lambda v: str(v._ticket.ban.since),
    "bantime": lambda v: str(v._ticket.bantime),
    "bancount": lambda v: str(v._ticket.ban.count),
    "matches": lambda v: "\n".join(v._ticket.matches),
    "restored": lambda v: str(int(v._ticket.restored)),
    "F-*": lambda v: str(v._data()),
    "ipmatches": lambda v: v._past(None)[1],
    "ipjailmatches": lambda v: v._past(v._ticket.jail.name)[1],
    "ipfailures": lambda v: str(v._past(None)[0]),
    "ipjailfailures": lambda v: str(v._past(v._ticket.jail.name)[0]),
    "raw-ticket": Values._raw,
    "jail.banned": lambda v: str(v._ticket.jail.totals().banned),
    "jail.banned_total": lambda v: str(v._ticket.jail.totals().banned_total),
    "jail.found": lambda v: str(v._ticket.jail.totals().found),
    "jail.found_total": lambda v: str(v._ticket.jail.totals().found_total),
    "fq-hostname": lambda _v: host_name(True),
    "sh-hostname": lambda _v: host_name(False),
}


def tags_in(text: str) -> set[str]:
    """The names of the tags that a text uses."""
    return set(_TAG.findall(text))


def fill_command(text: str, values: Values) -> Filled:
    """Replace the tags of a shell command; what a shell could take for more than a word becomes a variable.

    A tag that is not a ban's stays, as in Fail2ban: `<STDIN>` may be meant.
    """
    variables: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if value is None:
            return match[0]
        value = _cut(value)
        if is_plain(value):
            return value
        name = _variable(match[1], value, variables)
        variables[name] = value
        # Without the braces `<matches>x` would name the variable `f2bV_matchesx`.
        following = text[match.end() : match.end() + 1]
        return f"${{{name}}}" if following.isalnum() or following == "_" else f"${name}"

    return Filled(_TAG.sub(replace, text), variables)


def fill_text(text: str, values: Values) -> str:
    """Replace the tags of a text that is no command: whoever uses the result encodes it."""

    def replace(match: re.Match[str]) -> str:
        value = values.get(match[1])
        return match[0] if value is None else _cut(value)

    return _TAG.sub(replace, text)


def is_plain(value: str) -> bool:
    """Whether a shell takes the value for nothing but words."""
    return len(value) <= MAX_PLAIN and (not value or (value.isprintable() and _SHELL.isdisjoint(value)))


def _cut(value: str) -> str:
    """Without NUL, which no variable can hold, and no longer than the kernel takes."""
    encoded = value.replace("\0", "").encode("utf-8", "surrogateescape" if _is_escaped(value) else "backslashreplace")
    return encoded[:MAX_VALUE].decode("utf-8", "surrogateescape") if encoded else ""


def _is_escaped(value: str) -> bool:
    """Whether every surrogate in it stands for a byte, so that it can be written as that byte."""
    return all(not "\ud800" <= c <= "\udfff" or "\udc80" <= c <= "\udcff" for c in value)


def _variable(tag: str, value: str, taken: Mapping[str, str]) -> str:
    """A name for the tag's variable, another one if that name already holds another value."""
    word = f"F_{_GROUPS.get(tag[2:].lower(), tag[2:].lower())}" if _CAPTURED.fullmatch(tag) else tag
    name = "f2bV_" + re.sub(r"\W", "_", word, flags=re.ASCII)
    while taken.get(name, value) != value:
        name += "_"
    return name
