"""Joins the stages in one event loop: chunks → failures → bans → kernel → state.

The loop owns all state. The file watcher's thread only wakes it; the firewall has one thread of its own (`firewall_worker`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from sipguard.config.log_choice import choose
from sipguard.config.settings import Settings
from sipguard.daemon import systemd
from sipguard.daemon.bans import Bans
from sipguard.daemon.clock_jump import ClockJumps
from sipguard.daemon.corroborator import Corroborator
from sipguard.daemon.event_reader import EventReader
from sipguard.daemon.feed_runner import FeedRunner
from sipguard.daemon.firewall_monitor import FirewallMonitor
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.jail_set import Jails
from sipguard.daemon.log_reader import LogReader
from sipguard.daemon.log_sources import LogSources
from sipguard.daemon.others import Others
from sipguard.daemon.own_log import start as start_log
from sipguard.daemon.resolver import Resolver
from sipguard.daemon.state_writer import StateWriter
from sipguard.daemon.surroundings import Surroundings
from sipguard.daemon.wire import Wire
from sipguard.errors import ConfigError
from sipguard.firewall.base import Firewall
from sipguard.model import Clock
from sipguard.policy.ignore import own_addresses
from sipguard.state.database import Database
from sipguard.text import printable

log = logging.getLogger("fail2ban.server")

LOOK_AROUND = 5.0
"""Seconds between checks of what announces itself by nothing: globs, own addresses, host names, the firewall."""
DEAF = 2
"""Looks in a row without anything to read after which that is told."""
RETRY_BROKEN = 20.0
"""Retry interval for jails that failed to start, in seconds."""


class Daemon:
    """sipguard at work. Raises `SipguardError` when it cannot even begin."""

    def __init__(
        self,
        settings: Settings,
        firewall: Firewall,
        *,
        clock: Clock = time.time,
        reload: Callable[[], Settings] | None = None,
    ) -> None:
        self.clock = clock
        self.started = clock()
        self._steps = ClockJumps(clock, self._clock_moved)
        self.runners: dict[str, JailRunner] = {}
        self.store = StateWriter(Path(settings.state_dir), clock=clock)
        self.bans = Bans(firewall, self.store, self.runners, clock=clock)
        self.feeding = FeedRunner(self.bans.firewall_worker, self.runners, clock=clock)
        self.others = Others(
            Surroundings(self.bans, self.runners, self.store, clock, self._is_complete, self.feeding.protected)
        )
        self.monitor = FirewallMonitor(
            self.bans.firewall_worker,
            self.bans.live,
            feeds=self._reapply_lists,
            clock=clock,
            size=settings.set_size,
            complete=self._is_complete,
        )
        self.names = Resolver(clock=clock)
        self.jails = Jails(
            settings,
            self.runners,
            bans=self.bans,
            store=self.store,
            names=self.names,
            registered=self._registered,
            clock=clock,
        )
        self._read_settings = reload
        self.reading = LogReader(self.runners, self.store, clock=clock, check_clock=self._steps.check)
        self.jails.lookups.paused, self.jails.know = self.reading.paused, self.reading.know
        self.events = EventReader(self.runners, self.store, clock=clock, paused=self.reading.paused)
        self.wire = Wire(
            self.runners, self.store, worker=self.bans.firewall_worker, clock=clock, paused=self.reading.paused
        )
        self.monitor.repaired = self.wire.packets.was_gone
        self.corroborator = Corroborator(self.wire, self.runners, self.store, clock=clock, paused=self.reading.paused)
        self._ends_moved = asyncio.Event()
        self._stop = asyncio.Event()
        self.ready = asyncio.Event()
        """Set when the logs are followed and the bans of the last run are on their way to the firewall."""
        self.tidy: Callable[[], object] = gc.collect
        """Called when all has started, and after a reload: followers of before refer to themselves, and would stay for hours."""
        self._deaf_looks = 0
        """Looks in a row at which no jail had anything to read."""
        self._was_told = False
        """Whether it was logged last that nobody is protected."""
        self._loop = asyncio.get_running_loop()
        self.bans.changed = self._ends_moved.set
        self.store.everything = self.jails.everything

    @property
    def settings(self) -> Settings:
        return self.jails.settings

    @property
    def logs(self) -> LogSources:
        return self.reading.logs

    @property
    def errors(self) -> list[str]:
        """Why some jails, or parts of them, do not run as the configuration says, and what they do instead."""
        return self.jails.problems

    @property
    def working(self) -> list[str]:
        """The jails that can ban now: they have something to read, and the firewall takes their bans."""
        worker = self.bans.firewall_worker
        return [
            name
            for name in self.reading_jails
            if not self.runners[name].jail.enforced or not (worker.problem or name in worker.unruled)
        ]

    @property
    def reading_jails(self) -> list[str]:
        """The jails that have something to read now: a log, a journal, a server's events, or the SIP messages of the wire."""
        logs, wire = self.reading.logs, self.wire.reads
        return [
            name
            for name, runner in self.runners.items()
            if self.events.speaks(name)
            or (wire if runner.jail.source == "wire" else None in logs.problems(runner.jail).values())
        ]

    def _tell_protection(self) -> None:
        """Log that nobody is protected, and why; or who is again."""
        reading = self.reading_jails
        deaf = not reading and not self.events.is_connecting
        if not self.runners:
            log.error("No jail is running: nobody is protected. `sipguard check` says what is wrong")
        elif deaf:
            log.error("None of the jails has anything to read: nobody is protected. `sipguard status` says why")
        elif reading and self._was_told:
            log.info("Protected now, by the jails: %s", ", ".join(reading))
        self._was_told = deaf
        self._deaf_looks = DEAF

    def _watch_protection(self) -> None:
        """Log it also when the last log goes later; a rotation is over at the next look."""
        reading = self.reading_jails
        deaf = bool(self.runners) and not reading and not self.events.is_connecting
        self._deaf_looks = self._deaf_looks + 1 if deaf else 0
        if self._deaf_looks == DEAF or (self._was_told and reading):
            self._tell_protection()

    async def run(self, serve: Callable[[], contextlib.AbstractAsyncContextManager[None]]) -> None:
        """Protect until `stop` is called. `serve` opens the control socket for as long as its context lasts."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        self._loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.reload()))
        jobs = [
            self._loop.create_task(job) for job in (self.bans.firewall_worker.run(), self.store.run(), self._end_bans())
        ]
        try:
            async with serve():
                await self.jails.begin(self.settings)
                self.events.start()
                self.reading.follow()
                await self.wire.start(self.settings)
                self.corroborator.start(self.settings)
                jobs += [
                    self._loop.create_task(job)
                    for job in (self.reading.run(), self._look_around(), self._tell_systemd(), self.monitor.run())
                ]
                self.ready.set()
                await self.feeding.start(self.settings)
                await self.others.start(self.settings)
                log.info("Jails started: %s", ", ".join(self.runners) or "none")
                self._tell_protection()
                self.tidy()
                stopped = self._loop.create_task(self._stop.wait())
                # A job ends only by an error that nobody foresaw: better to stop, and be started again, than to go on half.
                done, _ = await asyncio.wait([stopped, *jobs], return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                for job in done - {stopped}:
                    job.result()
        finally:
            await self._shut_down(jobs)

    def stop(self) -> None:
        """End after the present turn; bans stay in the kernel."""
        self._stop.set()

    async def reload(self) -> Settings:
        """Read the configuration again and run by it; bans of jails that go on stay. Raises `ConfigError`, changing nothing."""
        async with self.reading.paused:  # what is counted during a reload would be counted again from the state
            systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                return await self._reload()
            finally:
                # As ready as before, also when the new configuration was refused: the manager waits for this word.
                systemd.notify("READY=1")

    async def _reload(self) -> Settings:
        if self._read_settings is None:
            raise ConfigError("nothing to read the configuration from")
        settings = self._read_settings()
        self.reading.stop()
        self.store.save()
        await self.jails.begin(settings)
        self.events.start()
        self.reading.follow()
        await self.wire.start(settings)
        self.corroborator.start(settings)
        await self.feeding.start(settings)
        await self.others.start(settings)
        start_log(settings.logtarget, settings.loglevel, settings.logformat)
        log.info("Reloaded: %s", ", ".join(self.runners) or "no jail")
        self._tell_protection()
        self.tidy()
        return settings

    def _clock_moved(self, step: float) -> None:
        """All times move with a clock that was set: as much time is left, and as much has passed, as before."""
        log.warning("The clock was set by %+.0f s: the times of bans and counts move with it", step)
        self.store.save()
        self.bans.shift(step)
        for runner in self.runners.values():
            runner.shift(step)
        self.store.shift(step)
        self.others.shift(step)
        self.corroborator.shift(step)
        self.events.shift(step)
        self._ends_moved.set()

    def follow_again(self) -> None:
        """The jails' logs are others than before: read on where reading stopped."""
        self.store.save()
        self.reading.follow()

    def _is_complete(self) -> bool:
        """Whether every ban of earlier runs is known."""
        return self.jails.is_complete

    def _registered(self, addresses: Iterable[str]) -> None:
        """Somebody has logged in: no list of others rejects these addresses for a time."""
        self.feeding.registered(addresses)
        self.others.registered(addresses)

    async def _reapply_lists(self) -> None:
        """The firewall was flushed: what others have listed comes back too."""
        await self.feeding.reapply()
        await self.others.reapply()

    async def _end_bans(self) -> None:
        """Sleep until the next ban ends, or until that moment moves."""
        while True:
            end = self.bans.live.next_end()
            with contextlib.suppress(TimeoutError):
                # Not wait_for: until Python 3.12 it swallows a cancellation that comes together with the event.
                async with asyncio.timeout(None if end is None else max(0.0, end - self.clock())):
                    await self._ends_moved.wait()
            self._ends_moved.clear()
            self._steps.check()
            if end is not None and end <= self.clock():
                self.bans.end_due()

    async def _look_around(self) -> None:
        purged = 0.0
        retried = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_AROUND)
            self._steps.check()
            self._choose_logs()
            self.reading.rescan()
            await self.wire.check()
            self.corroborator.check()
            self.events.check()
            self._watch_protection()
            own, followed = own_addresses(), self.logs.problems()
            for runner in self.runners.values():
                with runner.degrading():
                    if runner.jail.ignoreself:
                        runner.judge.ignore.set_own(own)
                    runner.prune(self.clock(), self.store.changes)
                    runner.leave(followed)
            await self.jails.learn_ignored()
            if self.bans.firewall_worker.problem and not self.bans.firewall_worker.queued:
                await self.jails.open_firewall()
            await self.jails.adopt()
            await self.jails.tend_by_hand()
            self.store.ask(Database.trim)
            if self.errors and time.monotonic() > retried + RETRY_BROKEN:
                retried = time.monotonic()
                await self._retry_broken()
            await self.feeding.check()
            await self.others.check()
            now = self.clock()
            if now > purged + 3600 and not self.store.ask(Database.purge, now - self.settings.keep_history):
                purged = now
            self.store.touched()

    def _choose_logs(self) -> None:
        """A better log of a jail's places has appeared, or the one that is followed has died: follow that."""
        changed = False
        for runner in self.runners.values():
            jail = runner.jail
            if not set(jail.logpath) <= set(jail.log_places):  # a client has added one: the operator's choice wins
                continue
            chosen = choose(jail.log_places)
            if chosen is None or jail.logpath == (chosen.log,):
                continue
            log.warning("[%s] follows %s from now on: %s", jail.name, printable(str(chosen.log)), chosen.why)
            runner.reconfigure(replace(jail, logpath=(chosen.log,), log_choice=chosen.why))
            runner.judge.reads_another_log()
            changed = True
        if changed:
            self.follow_again()

    async def _retry_broken(self) -> None:
        """A jail that could not run is looked at again: whoever has mended its files need not remember to reload."""
        with contextlib.suppress(ConfigError):  # told of when it was new
            if self._read_settings and _written(self._read_settings()) != _written(self.settings):
                await self.reload()

    async def _tell_systemd(self) -> None:
        systemd.notify("READY=1")
        interval = systemd.watchdog_interval()
        while True:
            await asyncio.sleep(interval or 3600)
            systemd.notify("WATCHDOG=1")

    def _spawn(self, job: object) -> None:
        """Run a reload that a signal asked for; what is wrong goes to the log, since nobody waits for an answer."""

        async def run() -> None:
            try:
                await job  # type: ignore[misc]
            except ConfigError as error:
                log.error("Reload: %s; going on as before", error)

        self._spawned = self._loop.create_task(run())

    async def _shut_down(self, jobs: Sequence[asyncio.Task[None]]) -> None:
        systemd.notify("STOPPING=1")
        self.reading.stop()
        self.wire.stop()
        self.corroborator.stop()
        await self.events.stop()
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await self.feeding.stop()
        await self.others.stop()
        await self.jails.lookups.stop()
        await self.bans.dispatcher.stop()
        self.bans.firewall_worker.stop()
        self.bans.firewall_worker.leave(flush=self.settings.flush_on_stop)
        self.store.close()
        stay = self.bans.firewall_worker.firewall.in_kernel and not self.settings.flush_on_stop
        where = "stay in the firewall until their time" if stay else "come back at the next start"
        log.info("Stopped; bans that %s: %d", where, len(self.bans.live))


def _written(settings: Settings) -> tuple[object, ...]:
    """What the files say of jails, for comparison."""
    return settings.jails, [str(error) for error in settings.errors]
