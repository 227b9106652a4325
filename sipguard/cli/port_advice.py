"""What `sipguard check` says of the ports of this machine's SIP servers: a ban that leaves one out lets the attacker in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sipguard.enable.machine import Machine
from sipguard.enable.proposal import SERVERS, find, uncovered

if TYPE_CHECKING:
    from sipguard.enable.found import FoundServer
    from sipguard.model import Jail


def port_advice(jails: Sequence[Jail], machine: Machine | None = None) -> Iterator[str]:
    """One line for each jail and server: the ports beyond the usual ones that the server has and the jail has not."""
    machine = machine or Machine()
    servers: dict[str, FoundServer | None] = {}
    for jail in jails:
        for name in _servers_of(jail):
            if name not in servers:
                servers[name] = find(machine, name)
            found = servers[name]
            ports = [port for port in uncovered(found) if not _covers(jail, port)] if found else []
            if found and ports:
                shown = ", ".join(map(str, ports))
                yield (
                    f"jail {jail.name}: {found.title} listens on {shown} too, which its bans do not reject; "
                    f"add {'it' if len(ports) == 1 else 'them'} to port in jails.d/{jail.name}.toml"
                )


def _servers_of(jail: Jail) -> Sequence[str]:
    """The servers that a jail protects: by its filter, such as `freeswitch-scan`; the wire's jail protects all."""
    if jail.source == "wire":
        return SERVERS
    return [name for name in SERVERS if jail.filter.name == name or jail.filter.name.startswith(f"{name}-")]


def _covers(jail: Jail, port: int) -> bool:
    return not jail.rule.ports or any(one.first <= port <= one.last for one in jail.rule.ports)
