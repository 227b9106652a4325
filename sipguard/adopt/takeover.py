"""Takes over from Fail2ban, or goes back to it. The order of the steps leaves no gap in protection.

First our own table gets the bans while Fail2ban's rules are still active. Then Fail2ban is stopped, which removes its rules;
bans that it made in its last moments are added. Finally sipguard starts reading each log where Fail2ban stopped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sipguard.adopt.fail2ban_file import Kept, read_file, write_file
from sipguard.adopt.positions import positions_of, rows_of
from sipguard.adopt.services import Services
from sipguard.config.settings import Settings
from sipguard.daemon.log_sources import reads
from sipguard.errors import FirewallError, SipguardError, StateBusyError
from sipguard.fail2ban.config.role import role_of
from sipguard.firewall.base import Firewall
from sipguard.model import Action, Ban, Clock
from sipguard.state.changes import Changes
from sipguard.state.database import Database

Say = Callable[[str], None]

LASTING = 300.0
"""Seconds that a ban must have left for ours to stay until Fail2ban has restored it."""
STILL = 60.0
"""Seconds without a further ban after which Fail2ban restores no more: it takes one command for each."""
ENDS_WITHIN = 30.0
"""Seconds for a stopping sipguard to write its final state."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """One takeover. `settings` come from the tree; `database` is Fail2ban's file."""

    settings: Settings
    database: Path
    services: Services
    firewall: Firewall
    clock: Clock
    say: Say

    def announce(self) -> Kept:
        """Print what will change, without changing anything. Raises `SipguardError` if a takeover is impossible."""
        if self.services.sipguard_pid() is not None:
            raise SipguardError(f"{self.services.socket}: sipguard is already running; stop it first, or use --undo")
        kept = self._read()
        say, settings = self.say, self.settings
        say(f"{settings.fail2ban_dir}: jails {', '.join(jail.name for jail in settings.jails) or 'none'}")
        for jail in settings.jails:
            for action in jail.actions:
                if isinstance(action, Action):
                    say(f"jail {jail.name}: action {role_of(action).told(action)}")
        for error in settings.errors:
            say(f"not taken over: {error}")
        for line in kept.left:
            say(f"not taken over: {line}")
        bans = Counter(ban.jail for ban in kept.bans)
        by_jail = ", ".join(f"{jail} {number}" for jail, number in sorted(bans.items()))
        live = f"{len(kept.bans)} live ban{'' if len(kept.bans) == 1 else 's'} ({by_jail or 'none'})"
        say(f"{self.database}: {live}, {len(kept.history)} that have ended")
        found = positions_of(kept.logs)
        for path, position in sorted(found.items()):
            say(f"{path}: read on at byte {position.offset}")
        for path in sorted({row.path for row in kept.logs if row.offset} - found.keys()):
            say(f"{path}: not the file that Fail2ban has read; read as a new one")
        say(f"1. the live bans go into the firewall ({self.firewall.name}) as sipguard's own")
        say(f"2. Fail2ban is stopped: {self.services.plan_stop_fail2ban()}")
        say(f"3. bans, history and positions go into {settings.state_dir}")
        say(f"4. sipguard is started: {self.services.plan_start_sipguard()}")
        return kept

    def carry_out(self, kept: Kept) -> None:
        """Take over. After a `SipguardError`, either Fail2ban runs as before or our bans are in the kernel."""
        state = Database(Path(self.settings.state_dir))  # opened before any change, to be sure that we may write it
        try:
            self._enforce(kept.bans)
            self.say(f"{len(kept.bans)} bans are in the firewall")
            if self.services.fail2ban_runs():
                self._stop_fail2ban()
            last = self._read()
            self._enforce([ban for ban in last.bans if ban not in kept.bans])
            for changes in _as_changes(last):
                state.save(changes)
        finally:
            state.close()
            self.firewall.close()
        try:
            self.services.up_sipguard()
        except SipguardError as error:
            stay = "the bans stay in the firewall until they expire; fix the problem, then start sipguard or run adopt --undo"
            raise SipguardError(f"{error}; {stay}") from error
        self.say(f"sipguard runs, with {len(last.bans)} bans; `sipguard adopt --undo` goes back")

    def undo(self) -> None:
        """Go back. Our bans stay in the kernel until Fail2ban has restored them. Raises `SipguardError`."""
        if self.services.sipguard_pid() is None and self.services.fail2ban_runs():
            raise SipguardError("Fail2ban is running and sipguard is not: nothing to undo")
        self.say("sipguard is stopped; its bans stay in the firewall")
        self.services.down_sipguard()
        bans = self._give_back()
        self.services.up_fail2ban()
        self._wait_restored(bans)
        self.firewall.flush()
        self.firewall.close()
        self.say("Fail2ban has the bans; sipguard's rules are gone")

    def _give_back(self) -> list[Ban]:
        """Write our live bans and positions into Fail2ban's database."""
        state = self._stopped_state()
        try:
            live, positions = state.bans(self.clock()), state.positions()
        finally:
            state.close()
        jails = {jail.name for jail in self.settings.jails if not jail.origin.endswith(".toml")}
        bans = [ban for ban in live if ban.jail in jails]
        for ban in live:
            if ban.jail not in jails:
                self.say(f"not given back: {ban.address} in jail {ban.jail}: Fail2ban has no such jail")
        logs = [(jail.name, path) for jail in self.settings.jails for path in positions if reads(jail, path)]
        try:
            write_file(self.database, bans, rows_of(positions.values(), logs))
        except SipguardError as error:  # start Fail2ban anyway: starting without our bans is better than not at all
            self.say(f"{error}; Fail2ban starts with its own old state")
            return []
        self.say(f"{self.database}: {len(bans)} live bans and the positions written")
        return bans

    def _stopped_state(self) -> Database:
        """Open the state of a stopped sipguard as soon as it has released it."""
        end = time.monotonic() + ENDS_WITHIN
        while True:
            try:
                return Database(Path(self.settings.state_dir))
            except StateBusyError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def _read(self) -> Kept:
        return read_file(self.database, {jail.name: jail.bantime for jail in self.settings.jails}, self.clock())

    def _enforce(self, bans: Iterable[Ban]) -> None:
        jails = [jail for jail in self.settings.jails if jail.enforced]
        names = {jail.name for jail in jails}
        self.firewall.open([jail.rule for jail in jails])
        self.firewall.ban([ban for ban in bans if ban.jail in names])

    def _stop_fail2ban(self) -> None:
        try:
            self.services.down_fail2ban()
        except SipguardError:
            if self.services.fail2ban_runs():  # as before: our bans are not needed, and nobody would end them
                self.firewall.flush()
            raise
        self.say("Fail2ban is stopped")

    def _wait_restored(self, bans: Iterable[Ban]) -> None:
        """Until Fail2ban has the bans, or restores no more. Raises `SipguardError`."""
        lacking = {(ban.jail, ban.address) for ban in bans if ban.until > self.clock() + LASTING}
        self.say(f"Fail2ban is started; waiting until it has restored {len(lacking)} bans")
        end = time.monotonic() + STILL
        while lacking:
            names = {jail for jail, _ in lacking}
            there = {(jail, address) for jail in names for address in self.services.banned_by_fail2ban(jail)}
            if lacking & there:
                lacking -= there
                end = time.monotonic() + STILL
            elif time.monotonic() > end:
                jail, address = min(lacking)
                raise FirewallError(
                    f"Fail2ban does not restore {len(lacking)} bans, such as {address} in jail {jail};"
                    " sipguard's stay in the firewall until they expire"
                )
            time.sleep(0.3)
        time.sleep(1.0)  # Fail2ban lists a ban before running its command


def _as_changes(kept: Kept) -> Iterator[Changes]:
    """The changes to write, ordered so that each ban of an address ends before its next one begins."""
    rounds: list[Changes] = []
    seen: Counter[tuple[str, str]] = Counter()
    for ban in kept.history:
        key = (ban.jail, ban.address)
        if seen[key] == len(rounds):
            rounds.append(Changes())
        rounds[seen[key]].bans[key] = ban
        seen[key] += 1
    for changes in rounds:
        yield changes
        yield Changes(ended={key: ban.until for key, ban in changes.bans.items()})
    yield Changes(bans={(ban.jail, ban.address): ban for ban in kept.bans}, positions=positions_of(kept.logs))
