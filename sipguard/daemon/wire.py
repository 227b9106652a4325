"""The wire at work: this machine's packets, and HEP packets, to a tracker each; their attempts to the jails that want them."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from sipguard.daemon.copied_places import CopiedPlaces
from sipguard.daemon.packets import PacketWatch, shown
from sipguard.detection.sip.replies import PATIENCE
from sipguard.detection.sip.tracker import Tracker
from sipguard.policy.ignore import own_addresses
from sipguard.policy.wire import event_of
from sipguard.sources.hep import HepListener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sipguard.config.settings import Settings
    from sipguard.daemon.firewall_worker import FirewallWorker
    from sipguard.daemon.jail_runner import JailRunner
    from sipguard.daemon.state_writer import StateWriter
    from sipguard.model import Clock
    from sipguard.wire_model import Attempt, Packet

log = logging.getLogger("fail2ban.server")

START = 300.0
"""Seconds after the start in which proof may still be missing: servers go on accepting nonces of before."""
_LOSS = 60.0
"""Seconds around a loss in which packets may be missing."""
_WAITING = 10_000
"""Events that may wait while a reload is under way."""
_TOLD_EVERY = 60.0
"""Seconds between two lines of the log about blindness."""
_MOST_PROXIES = 10_000
_TOLD = "its nonces prove nothing, as it has sent one to two addresses; in Kamailio: %s"
_MEND = 'modparam("auth", "one_time_nonce", 1)'


class Networks:
    """Whether an address is in one of some networks; asked for every packet."""

    def __init__(self) -> None:
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._known: dict[str, bool] = {}

    def set(self, networks: Iterable[str]) -> None:
        """These, from now on, in canonical form."""
        self._networks = [ipaddress.ip_network(one) for one in networks]
        self._known.clear()

    def __contains__(self, address: object) -> bool:
        if not self._networks or not isinstance(address, str) or not address:
            return False  # "" stands for nobody
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= _MOST_PROXIES:
                self._known.clear()
            one = ipaddress.ip_address(address.partition("%")[0])
            known = self._known[address] = any(one in network for network in self._networks)
        return known


class Wire:
    """Owns what listens, and the trackers. `paused` is held by whoever replaces the jails."""

    def __init__(
        self,
        runners: Mapping[str, JailRunner],
        store: StateWriter,
        *,
        worker: FirewallWorker,
        clock: Clock,
        paused: asyncio.Lock,
    ) -> None:
        self.listener: HepListener | None = None
        self.copied = Tracker()
        """What HEP packets tell."""
        self.live = Tracker()
        """What this machine's packets tell."""
        self.saw: Callable[[set[str], float], None] = lambda *_: None
        """Told who has sent anything to the SIP ports."""
        self.spoke: Callable[[str, float], None] = lambda *_: None
        """Told whom the server has sent payload over an encrypted connection."""
        self.packets = PacketWatch(
            worker,
            runners,
            deliver=self._take_live,
            blind=self._blind,
            spoke=lambda address, now: self.spoke(address, now),  # noqa: PLW0108 - others set them later
            seen=lambda addresses, now: self.saw(addresses, now),  # noqa: PLW0108
            clock=clock,
        )
        self.places = CopiedPlaces()
        self._listener_problem: str | None = None
        self._runners = runners
        self._store = store
        self._clock = clock
        self._paused = paused
        self._own: set[str] = set()
        self._proxies = Networks()
        self._configured: tuple[object, ...] = ()
        self._waiting: deque[Attempt] = deque(maxlen=_WAITING)
        self.told: Callable[[Sequence[Attempt]], None] = lambda _attempts: None
        """Told of every attempt: see `corroborator`."""
        self._spoilt: set[str] = set()
        self._told = 0.0
        self.heard = time.monotonic()
        """When a packet came last, by the monotonic clock; at first, when this was made."""
        self._streams: set[int] = set()
        """Ports of TCP at which SIP was read from packets: copies of it in HEP tell nothing new."""

    @property
    def tracker(self) -> Tracker:
        """The one that knows most: of the packets where they are watched, else of HEP."""
        return self.live if self.packets.enabled else self.copied

    @property
    def problem(self) -> str | None:
        """Why nothing is received, though it should be."""
        return self._listener_problem or self.packets.problem

    @property
    def reads(self) -> bool:
        """Whether SIP messages come in, from packets or by HEP."""
        listens = self.listener is not None and not self._listener_problem
        return listens or (self.packets.enabled and not self.packets.problem)

    async def start(self, settings: Settings) -> None:
        """Watch and listen as the settings say; what is known stays where they say the same as before."""
        self._proxies.set(settings.wire_proxies)
        self._own |= set(own_addresses())
        self._spoilt |= set(self._store.spoilt())
        configured = (settings.hep_listen, settings.hep_key, settings.hep_from)
        if configured != self._configured:
            self._stop_listening()
            self._configured = configured
            if settings.hep_listen:
                self._begin(settings)
        if settings.wire_enabled and not self.packets.enabled:
            self.live = self._tracker(trusted=True, ordered=True)
        await self.packets.start(settings)
        await self.check()

    def _tracker(self, *, trusted: bool, ordered: bool = False) -> Tracker:
        tracker = Tracker(
            own=self._own,
            proxies=self._proxies,
            spoilt=self._spoilt,
            trusted=trusted,
            patience=PATIENCE,
            ordered=ordered,
        )
        tracker.blind(0.0, self._clock() + START, "sipguard has just started")
        return tracker

    def _begin(self, settings: Settings) -> None:
        key = settings.hep_key.reveal()
        self.copied = self._tracker(trusted=bool(key))
        self.listener = HepListener(
            settings.hep_listen,
            key=key,
            senders=settings.hep_from,
            deliver=self._take_copies,
            lost=self._lost,
            clock=self._clock,
        )
        self._open()

    def _open(self) -> None:
        if self.listener is None or self.listener.port:
            return
        try:
            self.listener.start()
        except OSError as error:
            problem = f"[hep] listen = {self.listener.listen}: {error.strerror or error}"
            if problem != self._listener_problem:
                log.error("%s; trying again", problem)
            self._listener_problem = problem
        else:
            self._listener_problem = None
            log.info("HEP packets are received at %s", self.listener.listen)

    def stop(self) -> None:
        """Watch and listen no more."""
        self._stop_listening()
        self.packets.stop()

    def _stop_listening(self) -> None:
        if self.listener is not None:
            self.listener.stop()
        self.listener, self._listener_problem = None, None

    async def check(self) -> None:
        """What is to be looked at every few seconds."""
        if self.listener is None and not self.packets.enabled:
            return
        self._open()
        await self.packets.look()
        if self.listener is not None and not self.packets.enabled:
            await self.places.look()
        own = set(own_addresses())
        self._own |= own
        self._own &= own
        self.settle()
        self._keep_spoilt()

    def settle(self) -> None:
        """Judge what has waited for packets that may come out of order."""
        now = self._clock()
        self._give([*self.live.expire(now), *self.copied.expire(now)])

    def received(self) -> dict[str, int]:
        """HEP packets by what became of them."""
        return dict(self.listener.received) if self.listener else {}

    async def status(self) -> dict[str, Any] | None:
        """What comes in, and why not, for people; None where neither packets nor HEP are wanted."""
        if self.listener is None and not self.packets.enabled:
            return None
        return {
            "listen": self.listener.listen if self.listener else "",
            "problem": self.problem,
            "watched": await self._watched() if self.packets.enabled else None,
        }

    async def _watched(self) -> dict[str, Any]:
        """What is watched of this machine's packets, what was seen and what was not."""
        packets, blind = self.packets, self.live.blind_times
        counted = await packets.watched()
        return {
            "ports": shown(packets.ports),
            "packets": packets.received,
            "limited": counted.limited,
            "blind": blind.now(self._clock()),
            "blind_times": [one._asdict() for one in blind.latest()],
            "metered": counted.metered,
            "held_back": counted.held_back,
            "unwatched": packets.unwatched,
            "elsewhere": list(packets.servers.elsewhere),
            "relays": [one for one in self.live.relays.many() if one not in self._proxies],
        }

    def _take_live(self, packets: list[Packet]) -> None:
        for packet in packets:
            if packet.transport != "udp":
                self._streams.add(packet.destination_port if packet.inbound else packet.source_port)
        self._take(self.live, packets)

    def _take_copies(self, packets: list[Packet]) -> None:
        self.saw({packet.source for packet in packets}, self._clock())
        self.places.saw(packets, self._own)
        if self.packets.enabled and not self.packets.problem:
            packets = [packet for packet in packets if not self._was_seen(packet)]
        self._take(self.copied, packets)

    def _was_seen(self, packet: Packet) -> bool:
        """Whether the packets of this machine have told what this copy tells."""
        for address, port in (packet.source, packet.source_port), (packet.destination, packet.destination_port):
            if address in self._own and (packet.transport == "udp" or port in self._streams):
                return True
        return False

    def _take(self, tracker: Tracker, packets: list[Packet]) -> None:
        self.heard = time.monotonic()
        feed = tracker.feed
        attempts: list[Attempt] = []
        for packet in packets:
            if found := feed(packet):
                attempts += found
        if attempts or self._waiting:
            self._give(attempts)

    def _give(self, attempts: Iterable[Attempt]) -> None:
        """Let every jail weigh these attempts that the wire tells of anything."""
        attempts = [*self._waiting, *attempts]
        self._waiting.clear()
        if not attempts:
            return
        if self._paused.locked():
            self._waiting.extend(attempts)
            return
        events = [event for one in attempts if (event := event_of(self._alone(one))) is not None]
        for runner in self._runners.values():
            if events and runner.jail.source == "wire" and not runner.jail.idle:
                runner.take_events(events, self._store.changes)
        self.told(attempts)
        self._store.touched()

    def _alone(self, attempt: Attempt) -> Attempt:
        """The attempt as it counts where no log tells of it.

        A nonce that can be foreseen proves no address: whoever can be held back for it is not banned for it.
        """
        is_unproven = attempt.verdict == "failure" and self.is_foreseeable(attempt)
        return attempt._replace(evidence="unproven") if is_unproven else attempt

    def is_foreseeable(self, attempt: Attempt) -> bool:
        """Whether a server here has judged it by a nonce that can be foreseen, and its address can be held back for it."""
        return attempt.evidence == "reported" and attempt.server in self._own and self.packets.can_meter

    def _lost(self, packets: int) -> None:
        now = self._clock()
        log.warning("%d HEP packets were lost: more came than could be read", packets)
        self.copied.blind(now - _LOSS, now + 1, "packets were lost")

    def _blind(self, since: float, until: float, reason: str, address: str) -> None:
        """Packets of this machine may have gone unseen."""
        self.live.blind(since, until, reason, address)
        now = self._clock()
        if not address and not now - _TOLD_EVERY < self._told <= now:
            self._told = now
            log.warning("[wire] %s: what is missing now proves nobody's absence", reason)

    def _keep_spoilt(self) -> None:
        """A server that has shown predictable nonces is remembered beyond a restart."""
        new = (self.live.nonces.spoilt | self.copied.nonces.spoilt) - self._spoilt
        for place in sorted(new):
            address, _, port = place.rpartition(" ")
            log.warning(f"The SIP server at {address or 'this machine'}, port {port}: {_TOLD}", _MEND)
            self._store.changes.spoilt[place] = self._clock()
        if new:
            self._spoilt |= new
            self._store.touched()
