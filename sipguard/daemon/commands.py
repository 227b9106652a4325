"""What the control socket's commands do. Each takes the request and gives what JSON can say."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sipguard import __version__
from sipguard.addresses import canonical
from sipguard.config.values import duration
from sipguard.daemon.control import Command
from sipguard.daemon.daemon import Daemon
from sipguard.daemon.jail_runner import JailRunner
from sipguard.errors import FirewallError, SipguardError
from sipguard.model import Ban
from sipguard.state.changes import Attempt
from sipguard.text import printable

Request = Mapping[str, Any]

_LONGEST_REASON = 300
"""Characters of what is given as the reason of a ban by hand."""
REFRESH_PATIENCE = 40.0
"""Seconds that an asker waits for a feed to be fetched anew."""


class NoError(SipguardError):
    """The answer is no: nothing wrong with the question."""

    exit_status = 1


class Commands:
    """The commands of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def table(self) -> dict[str, Command]:
        """Command → function. Who asks while the daemon is starting waits: a half answer would mislead."""
        commands: dict[str, Command] = {
            "ping": self.ping,
            "status": self.status,
            "ban": self.ban,
            "unban": self.unban,
            "flush": self.flush,
            "explain": self.explain,
            "feeds": self.feeds,
            "feeds refresh": self.refresh_feed,
            "reload": self.reload,
            "firewall": self.firewall,
        }
        return {name: self._when_ready(command) for name, command in commands.items()}

    def _when_ready(self, command: Command) -> Command:
        async def wait_and_run(request: Request) -> Any:
            await self._daemon.ready.wait()
            return await command(request)

        return wait_and_run

    async def ping(self, _request: Request) -> Any:
        """Whether anybody is there."""
        return {"version": __version__}

    async def status(self, request: Request) -> Any:
        """All jails, or one with its banned addresses."""
        daemon = self._daemon
        wanted = request.get("jail")
        runners = [self._guard(wanted)] if wanted else list(daemon.runners.values())
        firewall_worker = daemon.bans.firewall_worker
        return {
            "version": __version__,
            "since": daemon.started,
            "firewall": {
                "backend": firewall_worker.firewall.name,
                "problem": firewall_worker.problem,
                "queued": firewall_worker.queued + firewall_worker.waiting,
                "lost": daemon.monitor.lost,
                "drift": daemon.monitor.drift,
            },
            "state": {"directory": str(daemon.store.directory), "problem": daemon.store.problem},
            "jails": [self._jail(runner) for runner in runners],
            "errors": [str(error) for error in daemon.errors],
        }

    async def ban(self, request: Request) -> Any:
        """Ban by hand, for the jail's time or a given one: `address`, or as many of `addresses` as may be, in one go."""
        runner = self._guard(request.get("jail") or self._only_jail())
        try:
            length = duration(request["time"]) if request.get("time") is not None else runner.jail.bantime
        except (TypeError, ValueError) as error:
            raise SipguardError(f"--time: {error}") from error
        if length <= 0:
            raise SipguardError("--time: a ban that ends at once is none; write e.g. 10m or 1h30m, or -1 for ever")
        now = self._daemon.clock()
        reason = printable(str(request.get("reason") or "by hand"), _LONGEST_REASON)
        bans, refused = [], []
        for text in request.get("addresses") or [request["address"]]:
            try:
                address = _address(text)
            except SipguardError as error:
                refused.append(str(error))
                continue
            if why := runner.judge.ignore.reason(address):
                refused.append(f"{address} is not banned: {why}")
            else:
                bans.append(Ban(address, runner.jail.name, now, now + length, reason=reason))
        if refused and "address" in request:
            raise SipguardError(refused[0])
        for ban in bans:
            runner.banned[ban.address] = now
            self._daemon.bans.decide(ban)
        await self._daemon.bans.settle(bans)
        made = [_ban_as_json(ban) for ban in bans]
        return made[0] if "address" in request else {"made": made, "refused": refused}

    async def unban(self, request: Request) -> Any:
        """Let an address through, in every jail or one; or all of them."""
        daemon = self._daemon
        jail = request.get("jail")
        if jail:
            self._guard(jail)
        if request.get("all"):
            bans = list(daemon.bans.live)
        else:
            address = _address(request["address"])
            bans = daemon.bans.live.of_address(address)
            self._forget(address)
        bans = [ban for ban in bans if jail in (None, ban.jail)]
        if not bans and not request.get("all"):
            raise NoError(f"{request['address']} is not banned")
        daemon.bans.release(bans)
        await self._daemon.bans.settle()
        return [_ban_as_json(ban) for ban in bans]

    async def flush(self, _request: Request) -> Any:
        """End every ban of ours; the rules stay."""
        return await self.unban({"all": True})

    async def explain(self, request: Request) -> Any:
        """Why an address is, was or is not banned."""
        daemon = self._daemon
        address = _address(request["address"])
        runners = daemon.runners.values()
        # A jail may count the address by its network (`ipv6prefix`).
        names = dict.fromkeys([address, *(runner.judge.subject(address) for runner in runners)])
        daemon.store.save()  # what has just been counted belongs to it
        stories = [daemon.store.story(name) for name in names]
        attempts = [attempt for told, _ in stories for attempt in told]
        earlier = [ban for _, bans in stories for ban in bans]
        return {
            "address": address,
            "bans": [_ban_as_json(ban) for ban in daemon.bans.live.of_address(address)],
            "earlier": [_ban_as_json(ban) for ban in earlier],
            "attempts": [{**attempt._asdict(), "failregex": self._failregex(attempt)} for attempt in attempts],
            "rejected": await self._rejected(address),
            "feeds": await daemon.feeding.holding(address),
            "ignored": {runner.jail.name: why for runner in runners if (why := runner.judge.ignore.reason(address))},
            "counts": {
                runner.jail.name: [count, runner.jail.maxretry]
                for runner in runners
                if (count := runner.judge.window.count(runner.judge.subject(address), daemon.clock()))
            },
        }

    def _failregex(self, attempt: Attempt) -> str | None:
        """The regex that matched, as its filter has it now."""
        runner = self._daemon.runners.get(attempt.jail)
        regexes = runner.jail.filter.failregex if runner else ()
        return regexes[attempt.regex] if attempt.regex is not None and attempt.regex < len(regexes) else None

    async def _rejected(self, address: str) -> int | None:
        """Packets of a banned address that the kernel has rejected; None where the firewall does not count them."""
        if not self._daemon.bans.live.of_address(address):
            return None
        firewall_worker = self._daemon.bans.firewall_worker
        count = getattr(firewall_worker.firewall, "rejected", None)
        try:
            return int(await firewall_worker.call(count, address)) if count else None
        except FirewallError:
            return None

    async def feeds(self, _request: Request) -> Any:
        """Every feed: entries, last good fetch, what is wrong."""
        return self._daemon.feeding.status()

    async def refresh_feed(self, request: Request) -> Any:
        """Fetch a feed now, as far as its server's limit lets us; `accept` applies what is held."""
        feeding, name = self._daemon.feeding, str(request["name"])
        try:
            async with asyncio.timeout(REFRESH_PATIENCE):
                return await feeding.refresh(name, accept=bool(request.get("accept")))
        except TimeoutError:
            raise SipguardError(f"feed {name} is not done yet: it goes on, see `sipguard feeds`") from None

    async def reload(self, _request: Request) -> Any:
        """Read the configuration again."""
        settings = await self._daemon.reload()
        return {"jails": [jail.name for jail in settings.jails], "errors": [str(e) for e in self._daemon.errors]}

    async def firewall(self, request: Request) -> Any:
        """What the firewall has of ours: in its own syntax, or what is missing."""
        firewall_worker = self._daemon.bans.firewall_worker
        if request.get("what") == "verify":
            return await firewall_worker.call(firewall_worker.firewall.verify)
        return await firewall_worker.call(firewall_worker.firewall.show)

    def _jail(self, runner: JailRunner) -> dict[str, Any]:
        daemon = self._daemon
        now = daemon.clock()
        live = daemon.bans.live.of_jail(runner.jail.name)
        return {
            "name": runner.jail.name,
            "filter": runner.jail.filter.name,
            "maxretry": runner.jail.maxretry,
            "findtime": runner.jail.findtime,
            "bantime": _finite(runner.jail.bantime),
            "logs": daemon.logs.problems(runner.jail),
            "counting": runner.judge.window.counts(now),
            "banned": [_ban_as_json(ban) for ban in live],
            "actions": daemon.bans.dispatcher.status(runner.jail.name),
            "totals": asdict(runner.totals),
            "detection": asdict(runner.counts),
        }

    def _guard(self, name: str) -> JailRunner:
        try:
            return self._daemon.runners[name]
        except KeyError:
            known = ", ".join(self._daemon.runners) or "none"
            raise SipguardError(f"no jail {name} is running; running: {known}") from None

    def _only_jail(self) -> str:
        names = list(self._daemon.runners)
        if len(names) != 1:
            raise SipguardError(f"say which jail with --jail; running: {', '.join(names) or 'none'}")
        return names[0]

    def _forget(self, address: str) -> None:
        """An operator who unbans means it: earlier attempts count no more."""
        for runner in self._daemon.runners.values():
            for name in {address, runner.judge.subject(address)}:
                runner.judge.window.forget(name)
                self._daemon.store.changes.forgotten.add((runner.jail.name, name))
        self._daemon.store.touched()


def _address(text: object) -> str:
    try:
        return canonical(str(text))
    except ValueError:
        raise SipguardError(f"{text!r} is not an address; write e.g. 203.0.113.5 or 2001:db8::/64") from None


def _finite(seconds: float) -> float | None:
    """JSON has no infinity: what never ends is null."""
    return None if math.isinf(seconds) else seconds


def _ban_as_json(ban: Ban) -> dict[str, Any]:
    return {**asdict(ban), "until": _finite(ban.until)}
