"""The wire at work: HEP packets to the tracker, its attempts to the jails that want them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from sipguard.detection.sip.replies import PATIENCE
from sipguard.detection.sip.tracker import Tracker
from sipguard.policy.ignore import own_addresses
from sipguard.policy.wire import event_of
from sipguard.sources.hep import HepListener

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sipguard.config.settings import Settings
    from sipguard.daemon.jail_runner import JailRunner
    from sipguard.daemon.state_writer import StateWriter
    from sipguard.model import Clock, LogEvent
    from sipguard.wire_model import Attempt, Packet

log = logging.getLogger("fail2ban.server")

START = 300.0
"""Seconds after the start in which proof may still be missing: servers go on accepting nonces of before."""
_LOSS = 60.0
"""Seconds around a loss in which packets may be missing."""
_WAITING = 10_000
"""Events that may wait while a reload is under way."""
_TOLD = "its nonces prove nothing, as it has sent one to two addresses; in Kamailio: %s"
_MEND = 'modparam("auth", "one_time_nonce", 1)'


class Wire:
    """Owns the listener and the tracker. `paused` is held by whoever replaces the jails."""

    def __init__(
        self, runners: Mapping[str, JailRunner], store: StateWriter, *, clock: Clock, paused: asyncio.Lock
    ) -> None:
        self.listener: HepListener | None = None
        self.tracker = Tracker()
        self.problem: str | None = None
        """Why nothing is received, though it should be."""
        self._runners = runners
        self._store = store
        self._clock = clock
        self._paused = paused
        self._own: set[str] = set()
        self._configured: tuple[object, ...] = ()
        self._waiting: deque[LogEvent] = deque(maxlen=_WAITING)
        self._spoilt: set[str] = set()

    def start(self, settings: Settings) -> None:
        """Listen as the settings say; what is known stays where they say the same as before."""
        configured = (settings.hep_listen, settings.hep_key, settings.hep_from)
        if configured != self._configured:
            self.stop()
            self._configured = configured
            if settings.hep_listen:
                self._begin(settings)
        self.check()

    def _begin(self, settings: Settings) -> None:
        now = self._clock()
        key = settings.hep_key.reveal()
        self._own = set(own_addresses())
        self._spoilt = set(self._store.spoilt())
        self.tracker = Tracker(own=self._own, spoilt=self._spoilt, trusted=bool(key), patience=PATIENCE)
        self.tracker.blind(0.0, now + START, "sipguard has just started")
        self.listener = HepListener(
            settings.hep_listen,
            key=key,
            senders=settings.hep_from,
            deliver=self._take,
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
            if problem != self.problem:
                log.error("%s; trying again", problem)
            self.problem = problem
        else:
            self.problem = None
            log.info("HEP packets are received at %s", self.listener.listen)

    def stop(self) -> None:
        """Listen no more."""
        if self.listener is not None:
            self.listener.stop()
        self.listener, self.problem = None, None

    def check(self) -> None:
        """What is to be looked at every few seconds."""
        if self.listener is None:
            return
        self._open()
        own = set(own_addresses())
        self._own |= own
        self._own &= own
        self._give(self.tracker.expire(self._clock()))
        self._keep_spoilt()

    def received(self) -> dict[str, int]:
        """Packets by what became of them."""
        return dict(self.listener.received) if self.listener else {}

    def _take(self, packets: list[Packet]) -> None:
        feed = self.tracker.feed
        attempts: list[Attempt] = []
        for packet in packets:
            if found := feed(packet):
                attempts += found
        if attempts or self._waiting:
            self._give(attempts)

    def _give(self, attempts: Iterable[Attempt]) -> None:
        """Let every jail of the wire weigh these attempts."""
        events = [*self._waiting, *(event for one in attempts if (event := event_of(one)) is not None)]
        self._waiting.clear()
        if not events:
            return
        if self._paused.locked():
            self._waiting.extend(events)
            return
        for runner in self._runners.values():
            if runner.jail.source == "wire" and not runner.jail.idle:
                runner.take_events(events, self._store.changes)
        self._store.touched()

    def _lost(self, packets: int) -> None:
        now = self._clock()
        log.warning("%d HEP packets were lost: more came than could be read", packets)
        self.tracker.blind(now - _LOSS, now + 1, "packets were lost")

    def _keep_spoilt(self) -> None:
        """A server that has shown predictable nonces is remembered beyond a restart."""
        new = self.tracker.nonces.spoilt - self._spoilt
        for place in sorted(new):
            address, _, port = place.rpartition(" ")
            log.warning(f"The SIP server at {address or 'this machine'}, port {port}: {_TOLD}", _MEND)
            self._store.changes.spoilt[place] = self._clock()
        if new:
            self._spoilt |= new
            self._store.touched()
