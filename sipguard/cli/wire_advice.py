"""What `sipguard check` says of the wire: which SIP servers of this machine it would not see, and why it would be blind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sipguard.cli.client import ask
from sipguard.daemon.packets import ports_of, too_many, unwatched
from sipguard.errors import SipguardError
from sipguard.sources.packets.listening import SipServers, find
from sipguard.text import printable

if TYPE_CHECKING:
    from sipguard.config.settings import Settings


def wire_advice(
    settings: Settings, servers: SipServers | None = None, relays: Iterable[str] | None = None
) -> Iterator[str]:
    """One line each. `servers`: those of this machine, `relays`: what a running daemon has seen; by default as they are now."""
    servers = servers or find()
    ports = ports_of(settings.jails, settings.wire_ports, servers, settings.wire_corroborate)
    yield from _of_ports(ports)
    for one in unwatched(servers, ports):
        yield f"[wire]: {printable(one)} listens and is not watched; if that is SIP, name the port in ports below [wire]"
    for one in servers.elsewhere:
        yield (
            f"[wire]: {printable(one)} runs in a network namespace of its own: what reaches it through this machine is seen, "
            "what reaches it by an interface of its own (macvlan, ipvlan) is not, and its log lines count as without the wire"
        )
    for one in servers.unreadable:
        yield f"[wire]: {printable(one)} cannot be looked into: name its ports in ports below [wire], or run check as root"
    for one in _relays(settings) if relays is None else relays:
        yield (
            f"[wire]: {printable(one)} relays for many users: if it is a SIP proxy of yours, name it in proxies below [wire], "
            "or it may be banned for what one of them does"
        )
    names = {jail.name for jail in settings.jails}
    for name in settings.wire_corroborate:
        if name not in names:
            yield f"[wire] corroborate: no jail {printable(name)} runs"
    if settings.firewall == "memory":
        yield "[wire]: the firewall memory cannot watch packets; choose nftables"
    if settings.firewall == "iptables":
        yield "[wire]: the firewall iptables cannot meter nor drop who floods: unproven guesses count; choose nftables or ipset"


def _of_ports(ports: Sequence[tuple[int, int]]) -> Iterator[str]:
    """What is to be said of the ports themselves."""
    if not ports:
        yield "[wire]: no port to watch: no SIP jail names one, no SIP server listens; write ports below [wire]"
    for one in too_many(ports):
        yield f"[wire]: not watched: {one}; name fewer ranges of ports in the SIP jails, or wider ones"


def _relays(settings: Settings) -> Iterable[str]:
    """What a running daemon has seen; nothing where none runs, or may be asked."""
    try:
        wire = ask(Path(settings.socket), "status", jail=None)["wire"]
    except SipguardError:
        return ()
    watched = wire and wire["watched"]
    return watched["relays"] if watched else ()
