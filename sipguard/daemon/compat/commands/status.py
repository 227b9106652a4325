"""`status` in its flavours, and `stats`.

The order of the pairs, and which are tuples and which lists, is what exporters rely on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from sipguard.daemon.compat.commands.jail_get import journal_matches
from sipguard.daemon.compat.host import Host
from sipguard.fail2ban.protocol.messages import InvalidCommandError

log = logging.getLogger("fail2ban.actions")

_FLAVORS = ("short", "basic", "cymru", "stats")


def status(host: Host, words: Sequence[str]) -> Any:
    """`status`, `status JAIL [FLAVOR]`, `status --all [FLAVOR]` (the last two from Fail2ban 1.1)."""
    if len(words) > 2:
        raise InvalidCommandError("Invalid command (no status)")
    flavor = words[1] if len(words) == 2 else "basic"
    if not words:
        return _server(host)
    if words[0] != "--all":
        return _jail(host, words[0], flavor)
    jails = {name: _jail(host, name, flavor) for name in sorted(host.names())}
    return jails if flavor == "stats" else [*_server(host), jails]


def _server(host: Host) -> list[Any]:
    names = sorted(host.names())
    return [("Number of jail", len(names)), ("Jail list", ", ".join(names))]


def _jail(host: Host, name: str, flavor: str) -> list[Any]:
    if flavor not in _FLAVORS:
        log.warning("Unsupported extended jail status flavor %r. Supported: %s", flavor, list(_FLAVORS))
    counts = host.counts(name)
    if flavor == "stats":
        return [host.backend(name), (counts.failed, counts.total_failed), (counts.banned, counts.total_banned)]
    filter_: list[Any] = [("Currently failed", counts.failed), ("Total failed", counts.total_failed)]
    if host.backend(name) == "systemd":
        filter_.append(("Journal matches", [" ".join(one) for one in journal_matches(host.jail(name))]))
    else:
        filter_.append(("File list", host.logs(name)))
    actions: list[Any] = [("Currently banned", counts.banned), ("Total banned", counts.total_banned)]
    if flavor != "short":
        actions.append(("Banned IP list", [ban.address for ban in host.bans(name)]))
    if flavor == "cymru":
        # What Fail2ban says where dnspython is not installed: sipguard asks no stranger's name server about its bans.
        actions += [(f"Banned {what} list", ["error"]) for what in ("ASN", "Country", "RIR")]
    return [("Filter", filter_), ("Actions", actions)]
