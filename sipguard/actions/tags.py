"""Computes the values of the tags in an action's commands (jail.conf(5), `ACTION CONFIGURATION FILES`).

`sipguard.shell` puts the values into the commands.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping
from functools import cache

from sipguard.actions.ticket import Ticket
from sipguard.addresses import reverse_name
from sipguard.shell import captured_group


@cache
def host_name(full: bool) -> str:
    """This host's name; with `full`, including its domain if the resolver knows one."""
    name = socket.gethostname()
    if full:
        with contextlib.suppress(OSError, UnicodeError):  # no resolver, or an invalid name
            found = socket.getaddrinfo(name, None, 0, socket.SOCK_DGRAM, 0, socket.AI_CANONNAME)
            names = [canonical for *_, canonical, _ in found if canonical]
            with_domain = [each for each in names if each.startswith(f"{name}.")]
            return [*with_domain, *names, name][0]
    return name


class Values:
    """The tag values of one ticket. `host` is the host name of the banned address, or None if it is not known."""

    def __init__(self, ticket: Ticket, host: str | None = None) -> None:
        self._ticket = ticket
        self._host = host
        self._failures = ticket.ban.attempts

    def get(self, tag: str) -> str | None:
        """The tag's value as Fail2ban writes it; None if there is no such tag. A group that captured nothing is empty."""
        if read := _READERS.get(tag):
            return read(self)
        group = captured_group(tag)
        return None if group is None else str(self._data().get(group, ""))

    def _data(self) -> Mapping[str, object]:
        """The groups that the filter captured, and `matches` and `failures`, which Fail2ban adds to them."""
        return {"matches": list(self._ticket.matches), "failures": self._failures, **self._ticket.data}

    def all(self) -> dict[str, str]:
        """Every tag except those of single groups (`<F-NAME>`)."""
        return {tag: read(self) for tag, read in _READERS.items()}

    def _past(self, jail: str | None) -> tuple[int, str]:
        """Stored failures of the address in `jail` (None: in all) and their lines; this ban's own if none are stored."""
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

    def _id(self) -> str:
        return self._ticket.data.get("fid") or self._ticket.ban.address


_READERS: Mapping[str, Callable[[Values], str]] = {
    "ip": lambda v: v._ticket.ban.address,
    "family": lambda v: v._ticket.family,
    "ip-rev": lambda v: reverse_name(v._ticket.ban.address) if v._ticket.ban.address else "",
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
