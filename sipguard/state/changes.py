"""What has happened since the state was last written: one transaction's worth.

The daemon collects here and writes all of it at once, so that the database always holds a moment that has been: log positions
never run ahead of the attempts that the lines before them have caused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sipguard.model import Ban, Position, Rule
from sipguard.wire_model import Unpaired

MAX_LINE = 1000
"""Characters of a log line that are kept for `explain`: an attacker chooses how long a line is."""

BURST = 500
"""Attempts of one moment from which on not each is stored by itself: nobody reads so many, and the disk is slow."""


StoredAttempt = tuple[str, str, float, int, str | None, str, float | None, int | None]
"""A row: jail, address, time, attempts, user, line, when the ban began that answers it, regex."""


class CountedAttempt(NamedTuple):
    """One counted failure, as it is kept until its address is banned or findtime has passed."""

    jail: str
    address: str
    time: float
    attempts: int = 1
    user: str | None = None
    line: str = ""
    regex: int | None = None
    """Index of the failregex that matched; None when that is not known."""


@dataclass(slots=True)
class Changes:
    """Everything to write; later entries win over earlier ones of the same key."""

    positions: dict[str, Position] = field(default_factory=dict)
    attempts: list[CountedAttempt] = field(default_factory=list)
    bans: dict[tuple[str, str], Ban] = field(default_factory=dict)
    """By (jail, address): bans that the kernel has."""
    decided: set[tuple[str, str]] = field(default_factory=set)
    """By (jail, address): attempts that are enough for a ban, which the kernel may have yet to make."""
    ended: dict[tuple[str, str], float] = field(default_factory=dict)
    """By (jail, address): when a ban ended, by its time or by hand."""
    forgotten: set[tuple[str, str]] = field(default_factory=set)
    """By (jail, address): earlier attempts and history that an unban by hand, or a login, takes back: see `forget`."""
    expired: dict[str, float] = field(default_factory=dict)
    """By jail: attempts before this time count no more."""
    rules: dict[str, Rule] = field(default_factory=dict)
    """By jail: what its bans reject, for a time when its configuration cannot be read."""
    spoilt: dict[str, float] = field(default_factory=dict)
    """SIP server → since when its nonces are known to be predictable."""
    waiting: dict[int, tuple[str, Unpaired]] = field(default_factory=dict)
    """Number → jail, and a line that waits for the wire or an attempt of the wire that waits for its line."""
    settled: set[int] = field(default_factory=set)
    """Numbers of those that wait no more."""
    logins: dict[str, float] = field(default_factory=dict)
    """Address → when it last logged in, while a fleet is told of: no other node's ban rejects it."""

    flows: dict[tuple[str, int], float] = field(default_factory=dict)
    """Address and source port of a login that the wire has proven → when."""

    def keep(self, jail: str, row: Unpaired) -> None:
        """Store what waits."""
        self.waiting[row.number] = jail, row

    def settle(self, number: int) -> None:
        """It waits no more."""
        if self.waiting.pop(number, None) is None:
            self.settled.add(number)

    def forget(self, keys: Iterable[tuple[str, str]]) -> None:
        """What was counted so far of these (jail, address) is taken back; what will be is not."""
        forgotten = set(keys)
        self.forgotten |= forgotten
        self.attempts[:] = [one for one in self.attempts if (one.jail, one.address) not in forgotten]

    def rows(self) -> list[StoredAttempt]:
        """The attempts, as they are stored: in a burst those on one user that have led to a ban are one, the latest.

        Those of the same moment come with their ban: to find them again would take as long as to write them.
        """
        rows: list[StoredAttempt] = []
        places: dict[tuple[str, str, str | None], int] = {}
        joined = self.decided if len(self.attempts) >= BURST else ()
        for jail, address, time, count, user, line, regex in self.attempts:
            ban = self.bans.get((jail, address))
            row = jail, address, time, count, user, line[:MAX_LINE], None if ban is None else ban.since, regex
            if (jail, address) in joined:
                place = places.setdefault((jail, address, user), len(rows))
                if place < len(rows):
                    rows[place] = (*row[:3], rows[place][3] + count, *row[4:])
                    continue
            rows.append(row)
        return rows
