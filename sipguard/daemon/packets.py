"""This machine's own SIP packets: the rules that copy them, what reads them, and what of it is told to people."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from sipguard.detection.sip.messages import may_carry_credentials
from sipguard.errors import FirewallError
from sipguard.sources.packets.listener import PacketListener
from sipguard.sources.packets.listening import SipServers, find
from sipguard.wire_model import Watch, Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sipguard.config.settings import Settings
    from sipguard.daemon.firewall_worker import FirewallWorker
    from sipguard.daemon.jail_runner import JailRunner
    from sipguard.model import Clock, Entry, Jail, PortRange
    from sipguard.wire_model import Meter, Packet

log = logging.getLogger("fail2ban.server")

LOOK = 30.0
"""Seconds between two looks for SIP servers that have begun to listen."""
RETRY = 30.0
"""Seconds between two tries where the kernel refuses."""
SIP_FILTERS = frozenset({"freeswitch", "asterisk", "kamailio", "opensips", "sip-scanners"})
"""Filters of SIP servers, by the first part of their names."""
NOT_SIP = frozenset({5038, 8021})
"""Ports of SIP jails that speak something else: the manager interface, the event socket."""
MOST_RANGES = 100
"""Ranges of ports that are watched at most; which others are wanted is said."""
_SETTLES = 0.5
"""Seconds after which rules that are being put back are there."""
GONE = "others had changed the firewall's rules"
RESTARTED = "the watch was set up anew"
NEW_PORTS = "more ports are watched than before"


class PacketWatch:
    """Owns the listener, and has the firewall copy packets to it. `problem`: why nothing is read, though it should be."""

    def __init__(
        self,
        worker: FirewallWorker,
        runners: Mapping[str, JailRunner],
        *,
        deliver: Callable[[list[Packet]], None],
        blind: Callable[[float, float, str, str], None],
        spoke: Callable[[str, float], None],
        seen: Callable[[set[str], float], None],
        clock: Clock,
    ) -> None:
        self.problem: str | None = None
        self.enabled = False
        self._wanted: tuple[tuple[int, int], ...] = ()
        """First and last of the ranges that should be watched."""
        self.servers = SipServers((), (), (), ())
        self.found_held: Callable[[list[Entry]], None] = lambda _entries: None
        """Told whom the kernel holds back when the watch begins: an earlier run has left it so."""
        self._worker = worker
        self._runners = runners
        self._blind = blind
        self._clock = clock
        self._stopped = 0.0
        """Since when nothing is read, though it was before and may be again."""
        self._listener = PacketListener(
            deliver=deliver, blind=blind, spoke=spoke, seen=seen, wanted=may_carry_credentials, clock=clock
        )
        self._settings: Settings | None = None
        self._configured: tuple[int, int] = (0, 0)
        self._made: Watch | None = None
        self._looked = -LOOK
        self._next_try = 0.0
        self._watched = Watched(0, 0, 0)

    @property
    def received(self) -> dict[str, int]:
        """Packets by what became of them."""
        return dict(self._listener.received) if self.enabled else {}

    @property
    def read_until(self) -> float:
        """All packets that came before this time have been read."""
        return self._listener.read_until

    def read(self) -> None:
        """Read what is here now."""
        self._listener.look()

    @property
    def ports(self) -> tuple[tuple[int, int], ...]:
        """First and last of the ranges that are watched."""
        return self._wanted[:MOST_RANGES]

    @property
    def can_meter(self) -> bool:
        """Whether addresses can be held back without a ban (`FirewallWire.meter`)."""
        wire = self._worker.firewall.wire
        return self._made is not None and wire is not None and wire.can_meter

    async def start(self, settings: Settings) -> None:
        """Watch as the settings say; what is watched already goes on."""
        self._settings, self._looked, self._next_try = settings, -LOOK, 0.0
        configured = (settings.wire_group, settings.wire_rate)
        if not settings.wire_enabled or configured != self._configured:
            self._configured = configured
            self.stop()
        self.enabled = settings.wire_enabled
        if self.enabled:
            await self.look()
        elif self._worker.firewall.wire is not None:
            await self._forget()

    def stop(self) -> None:
        """Read nothing more. The rules stay: they cost next to nothing while nobody reads, and hold back whom they must."""
        if self._made is not None:
            self._stopped = self._clock()
        self._listener.stop()
        self._made = None

    def was_gone(self, since: float) -> None:
        """The rules may have been gone since then, and are just being put back."""
        if self._made is not None:
            self._blind(since, self._clock() + _SETTLES, GONE, "")

    def _begins(self, watch: Watch) -> None:
        """What has gone unseen until this is watched."""
        now, before = self._clock(), self._made
        if before is None and self._stopped:
            self._blind(self._stopped, now, RESTARTED, "")
        elif before is not None and not all(_covers(before.ports, one) for one in watch.ports):
            self._blind(now - LOOK, now, NEW_PORTS, "")
        self._stopped = 0.0

    async def _forget(self) -> None:
        """Rules of an earlier run, or from before a reload, are not wanted any more."""
        self._wanted, self.problem = (), None
        try:
            await self._worker.call(self._worker.firewall.wire.watch, None)  # type: ignore[union-attr]
        except FirewallError as error:
            if str(error) != self._worker.problem:  # else it is told already
                log.warning("Firewall: the rules for SIP packets cannot be removed: %s", error)

    async def look(self) -> None:
        """What is to be looked at every few seconds: whether all is watched that should be."""
        now = time.monotonic()
        if not self.enabled or now < self._next_try or (self._made and now < self._looked + LOOK):
            return
        self._looked = now
        try:
            await self._watch()
        except (OSError, FirewallError) as error:
            self._next_try = now + RETRY
            self._failed(str(error))
        else:
            if self.problem:
                log.info("[wire] works again")
            self.problem = None

    async def _watch(self) -> None:
        """Have the packets copied that are wanted now. Raises `OSError`, `FirewallError`."""
        wire = self._worker.firewall.wire
        settings = self._settings
        if wire is None or settings is None:
            raise FirewallError(f"the firewall {self._worker.firewall.name} cannot watch packets: choose nftables")
        servers = await asyncio.to_thread(find)  # /proc and the names of users: a directory of users may be slow
        if settings is not self._settings or not self.enabled:
            return  # read anew meanwhile, or stopped
        self.servers = servers
        jails = [runner.jail for runner in self._runners.values()]
        before = self._wanted
        self._wanted = ports_of(jails, settings.wire_ports, self.servers, settings.wire_corroborate)
        if not self.ports:
            raise FirewallError(
                "no port to watch: no SIP jail names one, no SIP server listens; write ports below [wire]"
            )
        if self._wanted != before:
            for one in too_many(self._wanted):
                log.warning("[wire] not watched: %s", one)
        if not self._listener.groups:
            self._listener.start(settings.wire_group)
            log.info("[wire] NFLOG groups %s", ", ".join(map(str, self._listener.groups)))
            if self._listener.groups[0] != settings.wire_group:
                log.warning("[wire] group = %d is read by another program: others are taken", settings.wire_group)
        requests, answers, streams = self._listener.groups
        watch = Watch(self.ports, requests, answers, streams, settings.wire_rate)
        if watch != self._made:
            await self._worker.call(wire.watch, watch)
            if self._made is None and wire.can_meter:
                self.found_held(await self._worker.call(wire.metered))
            self._begins(watch)
            self._made = watch
            log.info("[wire] SIP packets of ports %s are watched", shown(self.ports))

    def _failed(self, why: str) -> None:
        if why != self.problem:
            log.error("[wire] nothing is watched: %s; trying again", why)
        self.problem = why

    async def meter(self, meters: list[Meter]) -> None:
        """Let only a few more requests over UDP of these through (`FirewallWire.meter`). Raises `FirewallError`."""
        await self._worker.call(self._wire().meter, meters)

    async def unmeter(self, addresses: list[str]) -> None:
        """Let these through again. Raises `FirewallError`."""
        await self._worker.call(self._wire().unmeter, addresses)

    def _wire(self) -> Any:
        wire = self._worker.firewall.wire
        if wire is None or not self.can_meter:
            raise FirewallError("nobody can be metered: the wire is not watched, or this firewall cannot")
        return wire

    async def watched(self) -> Watched:
        """What the kernel has counted; the last known where it does not answer."""
        wire = self._worker.firewall.wire
        if self._made is not None and wire is not None:
            try:
                self._watched = await self._worker.call(wire.watched)
            except FirewallError as error:
                log.debug("Firewall: %s", error)
        return self._watched

    @property
    def unwatched(self) -> list[str]:
        """Listening SIP sockets that no rule watches, and ranges of ports that are too many."""
        return too_many(self._wanted) + unwatched(self.servers, self._wanted)


def ports_of(
    jails: Iterable[Jail], more: Iterable[PortRange], servers: SipServers, corroborated: Iterable[str] = ()
) -> tuple[tuple[int, int], ...]:
    """The ports to watch: those of SIP jails, of listening SIP servers, and what the operator names."""
    wanted = set(corroborated)
    ranges = [(port.first, port.last) for port in more]
    for jail in jails:
        if jail.source == "wire" or jail.name in wanted or jail.filter.name.split("-")[0].split("[")[0] in SIP_FILTERS:
            ranges += [(port.first, port.last) for port in jail.rule.ports if port.first not in NOT_SIP]
    ranges += [(one.port, one.port) for one in servers.sockets]
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def _covers(ports: Iterable[tuple[int, int]], one: tuple[int, int]) -> bool:
    """Whether one of these ranges holds all of this one."""
    return any(first <= one[0] and one[1] <= last for first, last in ports)


def unwatched(servers: SipServers, ports: Iterable[tuple[int, int]]) -> list[str]:
    """`asterisk: udp 5070` for each listening SIP socket that is not watched, where these ports are wanted."""
    ranges = list(ports)[:MOST_RANGES]
    return [
        f"{one.server}: {one.protocol} {one.port}"
        for one in (*servers.sockets, *servers.doubtful)
        if not any(first <= one.port <= last for first, last in ranges)
    ]


def too_many(ports: Sequence[tuple[int, int]]) -> list[str]:
    """What is said of the ranges beyond those that can be watched: nothing, or one line."""
    more = ports[MOST_RANGES:]
    if not more:
        return []
    return [f"ports from {more[0][0]} on, as {len(ports)} ranges are named and {MOST_RANGES} can be watched"]


def shown(ports: Iterable[tuple[int, int]]) -> str:
    """Ports for people: `5060-5061, 5080`."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ports)
