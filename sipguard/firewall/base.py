"""What every firewall backend does, and the promise it keeps.

The promise: nothing that sipguard did not create is ever changed, reordered or removed. A backend works only inside its own
table, chain or sets, and can be told from others' by its name.

A backend is plain synchronous code. The daemon calls it from one worker thread of its own, so a backend needs no locks, may
block, and must not be called from anywhere else meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sipguard.model import Ban, Entry, Rule, Verdict
from sipguard.wire_model import Meter, Watch, Watched


class FirewallWire(Protocol):
    """A firewall that copies this machine's SIP packets to us (docs/wire.md), and holds addresses back without banning them.

    Every method raises `FirewallError` when the kernel refuses; then nothing was changed. Rules, and who is metered, come back
    with `Firewall.open` when others have taken them away.
    """

    can_meter: bool
    """False where nobody can be held back: then what is unproven has to be reported instead."""

    def watch(self, watch: Watch | None) -> None:
        """Have these packets copied from now on, and no others; None: none, and nobody is metered. Safe to call again.

        Whom an earlier run has metered still is.
        """

    def meter(self, meters: Sequence[Meter]) -> None:
        """Let at most so many further SIP requests over UDP of an address through until its time; `flows` of it pass freely.

        An address that is metered for as long already goes on with what it has left; only new `flows` are taken. One that is
        metered for longer now gets no more requests than it had in all. An order of no requests takes what is left. Nothing is
        told to it. What the kernel refuses is metered as soon as the rules are put back.
        """

    def unmeter(self, addresses: Sequence[str]) -> None:
        """Let these addresses through again. One that is not metered is no error."""

    def metered(self) -> list[Entry]:
        """Who is metered now, `jail` being empty."""

    def watched(self) -> Watched:
        """What the kernel has counted. A cheap call."""


class FirewallFeeds(Protocol):
    """The lists of others that a firewall rejects, each by its feed's name: on every port, in every protocol.

    Never a rule per address: the cost per packet does not depend on their number. Neither `Firewall.open` nor a ban touches
    feeds, and they stay when the daemon ends. Networks are canonical text (see `model`); times that have passed are left out.
    Every method raises `FirewallError` when the kernel refuses; then nothing was changed.
    """

    def set(self, name: str, networks: Sequence[tuple[str, float]], verdict: Verdict = "reject") -> None:
        """Reject exactly these (address or network, until) for a feed, each until its time. They do not overlap.

        What the feed had before is replaced in one step: no packet meets a set that is empty or half filled. 200,000 go in
        within 5 s. `open` need not come first: after another program flushed the firewall this alone puts the feed back.
        """

    def change(
        self, name: str, networks: Sequence[tuple[str, float]], gone: Sequence[str] = (), verdict: Verdict = "reject"
    ) -> None:
        """Reject `gone` no more for a feed that `set` made, then these as well, each until its time.

        For lists that change by single entries: costs what changes, not what is there. One that is in both gets the new time;
        one that is there already and not in `gone` keeps its own. Networks may overlap. `FirewallError` if the feed is gone.
        """

    def drop(self, name: str) -> None:
        """Reject nothing more for this feed, and remove its sets. One that is not there is no error."""

    def names(self) -> list[str]:
        """The feeds that are whole in the kernel, sorted. A cheap call, whatever the number of addresses.

        One of an earlier run is named too; one whose sets or rules another program removed is not.
        """

    def entries(self, name: str) -> list[Entry]:
        """What is rejected for one feed now, `jail` being the feed's name; empty when there is none. For people: slow."""


class Firewall(Protocol):
    """A place where bans are enforced. Every method raises `FirewallError` when the kernel refuses; then nothing was changed."""

    name: str
    why: str
    """Why this one was chosen, for people; empty where the configuration names it."""
    ends_bans: bool
    """Whether bans end by themselves at their time, without a call of `unban`."""
    in_kernel: bool
    """False where nobody is rejected: there is nothing that others could change, and there are no connections to end."""
    changes: frozenset[str]
    """The kinds of change, as the kernel tells of them (`nft_events.Change`), that may have hit what is ours."""
    told_of_all: bool
    """Whether it tells of every such change: what is ours need be looked at only then."""

    @property
    def wire(self) -> FirewallWire | None:
        """What copies packets; None where they cannot be watched."""

    @property
    def feeds(self) -> FirewallFeeds:
        """What rejects lists of others."""

    def open(self, rules: Sequence[Rule]) -> None:
        """Make what these jails need and leave what they have: live bans of earlier runs stay.

        Safe to call again, with other rules too: sets of jails no longer named go, bans in the others stay.
        """

    def ban(self, bans: Sequence[Ban]) -> None:
        """Reject these addresses until their time, all in one transaction. An address already there gets the new time.

        Times that have passed are left out. When this returns, the kernel has every one of them. Raises `FullError` where
        a set has no room.
        """

    def unban(self, bans: Sequence[Ban]) -> None:
        """Let these addresses through again. One that is not there is no error."""

    def entries(self) -> list[Entry]:
        """Every address that is banned now, feeds aside. `until` may be up to a second late, never early."""

    def reach(self, rule: Rule) -> Rule:
        """What a ban of this jail rejects, as the configuration has this backend make it."""

    def verify(self) -> list[str]:
        """What is missing of what `open` and `feeds` made, for people; empty when all is there."""

    def show(self) -> str:
        """What is ours, in the backend's own syntax."""

    def flush(self) -> None:
        """Remove all that is ours, bans and feeds included."""

    def room(self, address: str) -> tuple[str, int] | None:
        """Name what kind of thing a banned address or network is to this backend, and how many of it a jail can hold.

        `IPv6 networks`, say; None where there is no limit. A cheap call.
        """

    def made_by_us(self, pid: int) -> bool:
        """Whether this process was one that the backend started lately: what it changed is no intrusion. Any thread may ask."""

    def close(self) -> None:
        """Let go of handles. Bans stay: the kernel ends them."""
