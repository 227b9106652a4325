"""Keeps the firewall as it should be: what others take away is put back, and kernel and live bans are compared every minute.

nf_tables tells of every change, and who made it; elsewhere a look every second must do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from sipguard.daemon.ban_ledger import BanLedger
from sipguard.daemon.firewall_worker import FirewallWorker
from sipguard.errors import FirewallError
from sipguard.firewall.host import saved_sets
from sipguard.firewall.nft_events import Change, NftEvents
from sipguard.model import Ban, Clock

log = logging.getLogger("fail2ban.firewall")

LOOK, REST = 1.0, 4.0
"""Seconds between two looks where the kernel tells nothing: all is back within two. A look rests so many times its length."""
COMPARE = 60.0
"""Seconds between two comparisons of kernel and live bans."""
SOON = 1.0
"""Seconds between two comparisons when others have taken elements out."""
LAZY = 20.0
"""A comparison that takes long is made so many times its own length apart, so that it never takes more than a twentieth."""
NOTICED = 1.0
"""Seconds within which a change of which the kernel tells is noticed."""
WINDOW, TOLD = 60.0, 10
"""Seconds within which so many repairs are logged one by one; more are summed up."""
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds until the next try when to put back failed: whoever flushes often does so twice (`systemctl restart nftables`)."""
REMEMBERED = 100
"""Changes by others that are kept until all is back: whoever does it again and again is named all the same."""
DRIFT = 5.0
"""Seconds by which a ban's end in the kernel may differ: backends round."""
ALARM, CALM = 0.9, 0.8
"""Warn at this share of a set's size; re-arm below the second."""
_HUNDRED_YEARS = 99 * 365 * 86_400.0
"""Longer times may be cut by a backend."""


class FirewallMonitor:
    """Checks the firewall repeatedly. `size` is the most addresses in a set; `feeds` gives the firewall its lists again."""

    def __init__(
        self,
        firewall_worker: FirewallWorker,
        live: BanLedger,
        *,
        feeds: Callable[[], Awaitable[None]],
        clock: Clock,
        size: int,
        complete: Callable[[], bool] = lambda: True,
    ) -> None:
        """`complete` tells whether every ban is known: until then what seems left over may be one."""
        self.lost = 0
        """How often something of sipguard's was missing."""
        self.repaired: Callable[[float], None] = lambda _since: None
        """Told, before and after something of ours is put back, since when it may have been gone: POSIX seconds."""
        self.drift = 0
        """Bans that were missing in the kernel, had another end, or were in it without being live."""
        self._firewall_worker = firewall_worker
        self._live = live
        self._feeds = feeds
        self._clock = clock
        self._size = size
        self._complete = complete
        self._events: NftEvents | None = None
        self._heard: list[Change] = []
        self._disturbed = asyncio.Event()
        self._pause = FIRST_PAUSE
        self._look = LOOK
        self._compared = time.monotonic()
        self._next_gap = COMPARE
        self._repairs: list[float] = []
        self._summed = -WINDOW
        self._full: set[tuple[str, str]] = set()
        self._told_saved = ""

    async def run(self) -> None:
        """Watch until cancelled."""
        if not self._firewall_worker.firewall.in_kernel:
            await asyncio.Event().wait()
        self._listen()
        self._look_at_saved()
        try:
            while True:
                await self._wait()
                heard = len(self._heard)
                try:
                    whole = await self._put_back(self._heard)
                    if whole and time.monotonic() - self._compared >= self._next_gap:
                        await self._compare()
                except FirewallError as error:
                    log.debug("Firewall: %s; looking again", error)
                    whole = False
                if whole:
                    del self._heard[:heard]
                    self._pause = FIRST_PAUSE
                else:
                    del self._heard[:-REMEMBERED]
                    asyncio.get_running_loop().call_later(self._pause, self._disturbed.set)
                    self._pause = min(2 * self._pause, LONGEST_PAUSE)
        finally:
            if self._events:
                asyncio.get_running_loop().remove_reader(self._events.fileno())
                self._events.close()

    def _look_at_saved(self) -> None:
        """A rule set may have been saved while the backend ipset was in use: say so before the next boot does."""
        path = saved_sets()
        if path and path != self._told_saved:
            log.error(
                "Firewall: %s cannot be restored at boot, and none of its rules then: it names sets of sipguard. "
                "Choose the backend nftables, run `sipguard flush --kernel`, and save the rules anew", path
            )  # fmt: skip
        self._told_saved = path

    def _listen(self) -> None:
        try:
            self._events = NftEvents()
        except OSError as error:
            if self._firewall_worker.firewall.told_of_all:
                log.warning("Firewall: the kernel does not tell of changes (%s): looking every %g s", error, LOOK)
            return
        asyncio.get_running_loop().add_reader(self._events.fileno(), self._hear, self._events)

    def _hear(self, events: NftEvents) -> None:
        firewall = self._firewall_worker.firewall
        for change in events.read():
            what = change.what & firewall.changes
            if not what or firewall.made_by_us(change.pid):
                continue
            self._heard.append(change)
            # To put a table back is to give it all bans; a comparison finds those that went between that and a second loss.
            if what & {"element", "set", "table"}:
                self._next_gap = min(self._next_gap, SOON)
            self._disturbed.set()

    async def _wait(self) -> None:
        """Until something was heard, or it is time to look anyway."""
        told = self._events is not None and self._firewall_worker.firewall.told_of_all
        due = self._compared + self._next_gap - time.monotonic()
        with contextlib.suppress(TimeoutError):
            # Not wait_for: until Python 3.12 it swallows a cancellation that comes together with the event.
            async with asyncio.timeout(max(0.0, due) if told else min(max(0.0, due), self._look)):
                await self._disturbed.wait()
        self._disturbed.clear()

    async def _put_back(self, heard: Sequence[Change]) -> bool:
        """Make what is missing again; False when it has to be tried once more."""
        firewall_worker = self._firewall_worker
        if not firewall_worker.is_open and not heard:
            return True  # nothing of ours is there yet, or the kernel refuses: the worker tries on
        begin = time.monotonic()
        problems = await firewall_worker.call(firewall_worker.firewall.verify)
        self._look = max(LOOK, REST * (time.monotonic() - begin))
        if not problems and firewall_worker.is_open:
            return True
        self.lost += bool(problems)
        since = self._clock() - (NOTICED if firewall_worker.firewall.told_of_all and self._events else self._look)
        if problems:
            self.repaired(since)
        done = await firewall_worker.open(firewall_worker.rules)
        still = await firewall_worker.call(firewall_worker.firewall.verify) if done else []
        if still:
            await self._feeds()  # what `open` does not make
        if problems:
            self.repaired(since)
        took = (time.monotonic() - begin) * 1000
        result = f"put back with {len(self._live)} bans in {took:.0f} ms" if done else "trying to put it back"
        if problems:
            self._tell(f"{_shortened(problems)}{_culprits(heard)}; {result}")
        return done

    def _tell(self, text: str) -> None:
        """Log it, but not every time when another program does it again and again."""
        now = time.monotonic()
        self._repairs = [moment for moment in self._repairs if moment > now - WINDOW]
        self._repairs.append(now)
        if len(self._repairs) <= TOLD:
            log.warning("Firewall: %s", text)
        elif now - self._summed > WINDOW:
            self._summed = now
            log.warning("Firewall: %d times in the last minute; now: %s", len(self._repairs), text)

    async def _compare(self) -> None:
        """One listing against the live bans. What is on its way to the kernel is neither missing nor left over."""
        self._look_at_saved()
        firewall_worker = self._firewall_worker
        begin = time.monotonic()
        if self._busy():
            self._compared = begin - self._next_gap + SOON
            return
        entries = await firewall_worker.call(firewall_worker.firewall.entries)
        self._compared = time.monotonic()
        self._next_gap = max(COMPARE, LAZY * (self._compared - begin))
        if self._busy():
            return
        now = self._clock()
        kernel = {(entry.jail, entry.address): entry.until for entry in entries}
        missing, moved = self._wrong(kernel, now)
        jails = {rule.jail for rule in firewall_worker.rules}
        leftover = [
            Ban(entry.address, entry.jail, now, entry.until)
            for entry in (entries if self._complete() else ())
            if entry.jail in jails and self._live.get(entry.jail, entry.address) is None
            and (entry.until > now + DRIFT or not firewall_worker.firewall.ends_bans)
        ]  # fmt: skip
        firewall_worker.order("ban", missing + moved)
        firewall_worker.order("unban", leftover)
        if missing or moved or leftover:
            self.drift += len(missing) + len(moved) + len(leftover)
            log.warning(
                "Firewall: %d bans were missing in the kernel, %d had another end, %d were left over: mended",
                len(missing), len(moved), len(leftover),
            )  # fmt: skip
        self._alarm(self._live)

    def _busy(self) -> bool:
        return bool(self._firewall_worker.queued) or not self._firewall_worker.is_open

    def _wrong(self, kernel: dict[tuple[str, str], float], now: float) -> tuple[list[Ban], list[Ban]]:
        missing, moved = [], []
        unruled = self._firewall_worker.unruled
        for ban in self._live:
            if ban.jail in unruled:
                continue
            until = kernel.get((ban.jail, ban.address))
            if until is None:
                if ban.until > now + DRIFT:
                    missing.append(ban)
            elif ban.until != until and abs(ban.until - until) > DRIFT and ban.until < now + _HUNDRED_YEARS:
                moved.append(ban)
        return missing, moved

    def _alarm(self, bans: Iterable[Ban]) -> None:
        room = self._firewall_worker.firewall.room
        counts: dict[tuple[str, tuple[str, int] | None], int] = {}
        for ban in bans:
            key = (ban.jail, room(ban.address))
            counts[key] = counts.get(key, 0) + 1
        told, self._full = self._full, set()
        for (jail, held), count in counts.items():
            if held is None:
                continue
            what, limit = held
            known = (jail, what) in told
            if count >= (CALM if known else ALARM) * limit:
                self._full.add((jail, what))
                if not known:
                    larger = "raise set_size in [firewall], or " if limit == self._size else ""
                    log.warning(
                        "Firewall: jail %s holds %d of at most %d %s: %sban for less time",
                        jail, count, limit, what, larger,
                    )  # fmt: skip


def _shortened(problems: Sequence[str]) -> str:
    more = f" and {len(problems) - 2} more" if len(problems) > 3 else ""
    return "; ".join(problems[: 2 if more else 3]) + more


def _culprits(heard: Sequence[Change]) -> str:
    """Who did it, as far as the kernel told."""
    names = dict.fromkeys(f"{change.who} (process {change.pid})" for change in heard if change.who)
    return f", by {', '.join(list(names)[-3:])}" if names else ""
