"""Every operator command, once: what sipguard's own sockets and Fail2ban's protocol translate to.

Each is marked `read` (it only answers) or `write` (it changes something): a socket may be for reading alone. Arguments and
answers are the model's nouns. All raise `SipguardError`, one line for whoever asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, NoReturn, TypeVar

from sipguard.addresses import canonical, covers
from sipguard.daemon.advice import Review
from sipguard.daemon.ban_list import BanList, BanPage, BanQuery
from sipguard.daemon.daemon import Daemon
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.log_detectors import reading_of
from sipguard.errors import FirewallError, SipguardError
from sipguard.model import BY_HAND, NO_REGEX, Ban, Failure, Jail
from sipguard.sources.journal_query import query_of
from sipguard.state.changes import CountedAttempt
from sipguard.text import printable

F = TypeVar("F", bound=Callable[..., object])

_LONGEST_REASON = 300
"""Characters of what is given as the reason of a ban by hand."""


class NoError(SipguardError):
    """The answer is no: nothing wrong with the question."""

    exit_status = 1


class NoSuchJailError(SipguardError):
    """A jail was named that does not run."""

    def __init__(self, name: str, running: Iterable[str], reasons: Iterable[str] = ()) -> None:
        """`reasons` are why it does not run, where the configuration has it."""
        why = "; ".join(reasons) or f"running: {', '.join(running) or 'none'}"
        super().__init__(f"no jail named {printable(name, 100)} is running; {why}")
        self.name = name


def read(operation: F) -> F:
    """Mark an operation that only answers."""
    operation.right = "read"  # type: ignore[attr-defined]
    return operation


def write(operation: F) -> F:
    """Mark an operation that changes something."""
    operation.right = "write"  # type: ignore[attr-defined]
    return operation


@dataclass(slots=True)
class Banned:
    """What became of bans by hand."""

    bans: list[Ban] = field(default_factory=list)
    """Live now, one for each address that may be banned; one that ends later than was asked for is left as it is."""
    new: int = 0
    """How many addresses were not banned before."""
    kept: list[str] = field(default_factory=list)
    """Addresses whose ban ends later than was asked for, and does so still."""
    refused: list[str] = field(default_factory=list)
    """Why the others are not banned, one line each."""


class AddressStory(NamedTuple):
    """Why an address is, was or is not banned."""

    address: str
    bans: list[Ban]
    earlier: list[Ban]
    attempts: list[CountedAttempt]
    rejected: int | None
    """Packets of it that the kernel has rejected; None where the firewall does not count them, or it is not banned."""
    feeds: list[dict[str, Any]]
    """The feeds that list it."""
    fleet: list[dict[str, Any]]
    """The other nodes that ban it, each with its evidence."""
    ignored: dict[str, str]
    """Jail → why it never bans this address."""
    doubts: list[dict[str, Any]]
    """Attempts that count for nothing, since nothing proves the address."""
    counts: dict[str, tuple[int, int]]
    """Jail → attempts that count now, and how many lead to a ban."""


class Operations:
    """The operator commands of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._review = Review()
        self._lists = BanList(daemon)

    @read
    async def advice(self) -> dict[str, Any]:
        """What `sipguard check` says of the running configuration; good for five minutes."""
        return await self._review.ask(self.daemon.settings)

    @read
    def jails(self) -> list[str]:
        """The running jails, in the order of the configuration."""
        return list(self.daemon.runners)

    @read
    def runner(self, name: str) -> JailRunner:
        """One running jail. Raises `NoSuchJailError`."""
        try:
            return self.daemon.runners[name]
        except KeyError:
            raise NoSuchJailError(name, self.daemon.runners, self.daemon.jails.problems_of(name)) from None

    @read
    def bans(self, jail: str | None = None) -> list[Ban]:
        """Live bans, in the order of banning: of one jail, or of all."""
        if jail is None:
            return list(self.daemon.bans.live)
        return self.daemon.bans.live.of_jail(self.runner(jail).jail.name)

    @read
    def latest(self, most: int) -> list[Ban]:
        """Up to `most` live bans, those that began last first."""
        return self.daemon.bans.live.latest(most)

    @read
    async def list_bans(self, query: BanQuery) -> BanPage:
        """Live bans of all jails or one: filtered, sorted, a page of them."""
        return await self._lists.live(self._checked(query))

    @read
    async def history(self, query: BanQuery, since: float) -> BanPage:
        """The same of every ban that was live at some time from `since` on, POSIX seconds."""
        return await self._lists.past(query, since)

    def _checked(self, query: BanQuery) -> BanQuery:
        if query.jail is not None and query.jail not in self.daemon.bans.held:
            self.runner(query.jail)
        return query

    @read
    async def explain(self, address: str) -> AddressStory:
        daemon, address = self.daemon, address_of(address)
        runners = daemon.runners.values()
        # A jail may count the address by its network (`ipv6prefix`).
        names = dict.fromkeys([address, *(runner.judge.subject(address) for runner in runners)])
        daemon.store.save()  # what has just been counted belongs to it
        stories = [daemon.store.story(name) for name in names]
        now = daemon.clock()
        return AddressStory(
            address,
            bans=daemon.bans.live.of_address(address),
            earlier=[ban for _, bans in stories for ban in bans],
            attempts=[attempt for told, _ in stories for attempt in told],
            rejected=await self._rejected(address),
            feeds=await daemon.feeding.holding(address),
            fleet=daemon.others.claims(address),
            ignored={runner.jail.name: why for runner in runners if (why := runner.judge.ignore.reason(address))},
            doubts=[
                {"jail": runner.jail.name, **doubt._asdict()}
                for runner in runners
                for doubt in runner.unproven.doubts.of(address)
            ],
            counts={
                runner.jail.name: (count, runner.jail.maxretry)
                for runner in runners
                if (count := runner.judge.window.count(runner.judge.subject(address), now))
            },
        )

    async def _rejected(self, address: str) -> int | None:
        if not self.daemon.bans.live.of_address(address):
            return None
        worker = self.daemon.bans.firewall_worker
        count = getattr(worker.firewall, "rejected", None)
        try:
            return int(await worker.call(count, address)) if count else None
        except FirewallError:
            return None

    @read
    async def firewall(self, *, verify: bool) -> object:
        """What the firewall has of ours: in its own syntax, or with `verify` what is missing."""
        worker = self.daemon.bans.firewall_worker
        if verify and not worker.is_open:
            return [f"nothing is enforced: {worker.problem or 'the firewall is not made yet'}"]
        if not verify:
            return await worker.call(worker.firewall.show)
        refused = [f"the rule of jail {jail} is refused: {why}" for jail, why in worker.unruled.items()]
        return refused + await worker.call(worker.firewall.verify)

    @write
    async def ban(
        self, jail: str | None, addresses: Iterable[str], *, seconds: float | None = None, reason: str = "by hand"
    ) -> Banned:
        """Ban by hand, for `seconds` or the jail's bantime. What cannot be banned is refused, the others are banned.

        Without a jail: on every port, in a jail of its own.
        """
        if jail is not None:
            return await self._ban(jail, addresses, seconds, reason)
        async with self.daemon.jails.hand:
            await self.daemon.jails.begin_by_hand()
            return await self._ban(BY_HAND, addresses, seconds, reason)

    async def _ban(self, jail: str, addresses: Iterable[str], seconds: float | None, reason: str) -> Banned:
        runner, bans = self.runner(jail), self.daemon.bans
        now = self.daemon.clock()
        until = now + (runner.jail.bantime if seconds is None else seconds)
        done, asked = Banned(), []
        for address in dict.fromkeys(addresses):
            try:
                asked.append(self._may_be_banned(runner, address))
            except SipguardError as error:
                done.refused.append(str(error))
        for address in dict.fromkeys(asked):
            if address in runner.banned:
                continue
            runner.totals.bans += 1
            done.new += 1
            reason = printable(reason, _LONGEST_REASON)
            bans.decide(Ban(address, jail, now, until, reason=reason, evidence="hand"))
        await bans.settle([Ban(address, jail, now, until) for address in asked])
        for address in asked:
            bans.prolong(jail, address, until)
        await bans.settle()
        done.bans = [ban for address in dict.fromkeys(asked) if (ban := bans.live.get(jail, address))]
        done.kept = [ban.address for ban in done.bans if ban.until > until]
        return done

    def _may_be_banned(self, runner: JailRunner, text: str) -> str:
        """The canonical address. Raises `SipguardError` for one that is none or must not be banned."""
        address = address_of(text)
        if why := runner.judge.ignore.reason(address):
            raise SipguardError(f"{address} is not banned: {why}")
        return address

    @write
    async def unban(self, jail: str | None, addresses: Sequence[str] | None) -> list[Ban]:
        """Let addresses through (None: all), in one jail or in every one, and forget what was counted there.

        They are canonical. An address stands for the network that it is banned with, a network for every address within.
        """
        daemon = self.daemon
        names = [*daemon.runners, *daemon.bans.held] if jail is None else [jail]
        if jail is not None and jail not in daemon.bans.held:
            self.runner(jail)
        ended: list[Ban] = []
        for name in names:
            ended += daemon.bans.live.of_jail(name) if addresses is None else self._meant(name, addresses)
        daemon.bans.release(ended)
        await daemon.bans.settle()
        return ended

    def _meant(self, jail: str, addresses: Sequence[str]) -> list[Ban]:
        """The live bans of a jail that these stand for. Forgets their attempts: an operator who unbans means it."""
        daemon, live = self.daemon, self.daemon.bans.live
        runner = daemon.runners.get(jail)
        names: dict[str, None] = {}
        networks = []
        for address in addresses:
            names[address] = None
            if runner is not None:
                names[runner.judge.subject(address)] = None
            if "/" in address:
                networks.append(address)
        for ban in live.of_jail(jail) if networks else ():
            if any(covers(network, ban.address) for network in networks):
                names[ban.address] = None
        meant, others = [], []
        for name in names:
            if (found := live.get(jail, name)) is not None:
                meant.append(found)  # whose attempts are forgotten with it
            else:
                others.append((jail, name))
                if runner is not None:
                    runner.judge.window.forget(name)
        if others:
            daemon.store.changes.forget(others)
        return meant

    @write
    def pardon(self, address: str) -> list[str]:
        """Let an address through on every node of the fleet that takes that from this one; gives the networks meant."""
        return self.daemon.others.pardon(address_of(address))

    @read
    def fleet(self) -> dict[str, Any] | None:
        """The other nodes, and CrowdSec; None without either."""
        return self.daemon.others.status()

    @write
    def accept_node(self, name: str) -> None:
        """Take what a held node of the fleet publishes."""
        self.daemon.others.accept(name)

    @write
    async def attempt(self, jail: str, address: str, lines: Sequence[str]) -> None:
        """Count failures of an address, one per line and at least one, as if they had been read in the jail's log."""
        runner, changes = self.runner(jail), self.daemon.store.changes
        host, now = address_of(address), self.daemon.clock()
        for number, line in enumerate(lines or ("",)):
            if number and host in runner.banned:
                break
            runner.weigh(Failure(host, now, lines=(line,) if line else (), regex=NO_REGEX), changes)
            # Fail2ban's total counts one failure per request, however many lines it brings.
            runner.totals.failures -= number > 0
        self.daemon.store.touched()
        await self.daemon.bans.settle()

    @write
    def change(self, jail: Jail) -> None:
        """Run a jail by another definition from now on, until a reload. Raises `ConfigError`, changing nothing."""
        runner, reading, store = self.runner(jail.name), self.daemon.reading, self.daemon.store
        old = runner.jail
        journals = [query_of(one).name for one in (old, jail) if one.journal]
        now, before = ((one.logpath, one.idle, one.idle or reading_of(one)) for one in (jail, old))
        if now != before:
            reading.stop()  # what is held back counts as the jail has read it
        if (
            len(set(journals)) > 1
            and not reading.readers(journals[1])
            and (place := store.positions().get(journals[0]))
        ):
            store.changes.positions[journals[1]] = replace(place, path=journals[1])
        try:
            runner.reconfigure(jail)
        finally:
            if now != before:
                self.daemon.follow_again()
        self.daemon.jails.lookups.forget_commands()

    @write
    async def remove_jail(self, name: str) -> None:
        self.runner(name)
        await self.daemon.jails.remove(name)
        self.daemon.follow_again()
        await self.daemon.jails.open_firewall()

    @write
    async def reload(self) -> None:
        """Read the configuration again. Raises `ConfigError`, changing nothing."""
        await self.daemon.reload()

    @write
    async def refresh_feed(self, name: str, *, accept: bool, patience: float) -> object:
        """Fetch a feed now, as far as its server's limit lets us; `accept` applies what is held. Waits `patience` seconds."""
        try:
            async with asyncio.timeout(patience):
                return await self.daemon.feeding.refresh(name, accept=accept)
        except TimeoutError:
            raise SipguardError(f"feed {name} is still being fetched; see `sipguard feeds`") from None


class Reading(Operations):
    """The same for those who may only ask: whatever is not marked `read` is refused."""


def _refused(self: Reading, *_: object, **__: object) -> NoReturn:  # noqa: ARG001 - in the place of any operation
    raise SipguardError("this socket answers questions only")


for _name, _operation in list(vars(Operations).items()):
    if not _name.startswith("_") and getattr(_operation, "right", "") != "read":
        setattr(Reading, _name, _refused)


def address_of(text: object) -> str:
    """The canonical address or network. Raises `SipguardError` for what is none."""
    try:
        return canonical(str(text))
    except ValueError:
        raise SipguardError(f"{text!r} is not an address; write e.g. 203.0.113.5 or 2001:db8::/64") from None


def known(text: str) -> str | None:
    """The canonical address or network; None for what is none, which nobody bans."""
    try:
        return canonical(text)
    except ValueError:
        return None
