"""The control socket's commands: requests of JSON → `Operations` → what JSON can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

from sipguard import __version__
from sipguard.config.values import duration
from sipguard.daemon.ban_list import BanPage, BanQuery
from sipguard.daemon.control import Command
from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.operations import NoError, Operations, address_of
from sipguard.detection.pcre2 import told
from sipguard.errors import SipguardError
from sipguard.model import Ban
from sipguard.state.changes import CountedAttempt

Request = Mapping[str, Any]

REFRESH_PATIENCE = 40.0
"""How long a request waits for a feed to be fetched, in seconds."""
MOST_USERS = 20
"""Users of a ban that are named in a list."""
PAGE = 1000
"""Counted addresses in one answer."""
LATEST = 20
"""Bans in an overview."""


_QUERY = ("jail", "address", "user", "evidence", "sort", "reverse", "from", "limit", "packets")
_FIELDS = {"from": "begin"}


class Commands:
    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._daemon = operations.daemon

    def table(self) -> dict[str, Command]:
        return {
            "ping": self.ping,
            "status": self.status,
            "overview": self.overview,
            "advice": self.advice,
            "bans": self.bans,
            "history": self.history,
            "explain": self.explain,
            "feeds": self.feeds,
            "fleet": self.fleet,
            "firewall": self.firewall,
            "ban": self.ban,
            "unban": self.unban,
            "flush": self.flush,
            "feeds refresh": self.refresh_feed,
            "fleet accept": self.accept_node,
            "reload": self.reload,
        }

    async def ping(self, _request: Request) -> Any:
        return {"version": __version__}

    async def status(self, request: Request) -> Any:
        """All jails, or one with its banned addresses; `counted` asks for a page of those that it counts, from that number on."""
        names = [request["jail"]] if request.get("jail") else self._operations.jails()
        return {
            **self._health(),
            "wire": await self._daemon.wire.status(),
            "jails": [
                {**self._jail(self._operations.runner(name)), **self._counted(name, request.get("counted"))}
                for name in names
            ],
        }

    async def overview(self, request: Request) -> Any:
        """What `status` tells, with the number of bans instead of the bans: for those who ask every moment.

        `latest` are the newest ones; `moves` grows with every ban that begins, ends or gets another end; `now` is this
        machine's clock. `counted` asks for a page of whom each jail counts.
        """
        live = self._daemon.bans.live
        return {
            **self._health(),
            "wire": await self._daemon.wire.status(),
            "now": self._daemon.clock(),
            "moves": live.moves,
            "jails": [
                {
                    **self._numbers(runner),
                    "counting": len(runner.judge.window),
                    "banned": live.count(name),
                    **self._counted(name, request.get("counted")),
                }
                for name in self._operations.jails()
                if (runner := self._operations.runner(name))
            ],
            "latest": [_ban_as_json(ban) for ban in self._operations.latest(LATEST)],
        }

    def _health(self) -> dict[str, Any]:
        """The part of the status that concerns all jails."""
        daemon = self._daemon
        worker = daemon.bans.firewall_worker
        return {
            "version": __version__,
            "since": daemon.started,
            "firewall": {
                "backend": worker.firewall.name,
                "why": getattr(worker.firewall, "why", ""),
                "problem": worker.problem,
                "unruled": worker.unruled,
                "queued": worker.queued + worker.waiting,
                "lost": daemon.monitor.lost,
                "drift": daemon.monitor.drift,
            },
            "search": told(),
            "state": {"directory": str(daemon.store.directory), "problem": daemon.store.problem},
            "others": daemon.others.problems(),
            "unenforced": daemon.bans.enforcement.problems(),
            "live": len(daemon.bans.live),
            "held": {name: count for name in daemon.bans.held if (count := daemon.bans.live.count(name))},
            "working": daemon.working,
            "errors": daemon.errors,
        }

    async def ban(self, request: Request) -> Any:
        """Ban by hand, for the jail's time or a given one: `address`, or as many of `addresses` as may be, in one go."""
        jail = request.get("jail") or None
        if jail:
            self._operations.runner(jail)
        done = await self._operations.ban(
            jail,
            [str(one) for one in request.get("addresses") or [request["address"]]],
            seconds=None if request.get("time") is None else _seconds(request["time"]),
            reason=str(request.get("reason") or "by hand"),
        )
        if done.refused and "address" in request:
            raise SipguardError(done.refused[0])
        made = [_ban_as_json(ban) for ban in done.bans]
        return made[0] if "address" in request else {"made": made, "kept": done.kept, "refused": done.refused}

    async def unban(self, request: Request) -> Any:
        """Let an address through, in every jail or one; or all of them. `fleet`: on the other nodes as well."""
        everything = bool(request.get("all"))
        addresses = None if everything else [address_of(request["address"])]
        everywhere = bool(request.get("fleet")) and addresses is not None
        # First, while the own ban is still published: it is taken back with the others'.
        pardoned = self._operations.pardon(addresses[0]) if everywhere and addresses else []
        ended = await self._operations.unban(request.get("jail"), addresses)
        if not ended and not everything and not pardoned:
            raise NoError(f"{request['address']} is not banned")
        return list(map(_ban_as_json, ended))

    async def flush(self, _request: Request) -> Any:
        """End every ban of ours; the rules stay."""
        return [_ban_as_json(ban) for ban in await self._operations.unban(None, None)]

    async def bans(self, request: Request) -> Any:
        """Live bans: `jail`, `address`, `user`, `evidence`, `sort`, `reverse`, `from`, `limit`."""
        return self._page(await self._operations.list_bans(_query(request)))

    async def history(self, request: Request) -> Any:
        """The same of all bans that were live in the last `since` (`24h`), or from that moment on (POSIX seconds)."""
        since = self._daemon.clock() - _seconds(request.get("since") or "24h", "--since")
        return {"since": max(0.0, since), **self._page(await self._operations.history(_query(request), since))}

    def _page(self, page: BanPage) -> dict[str, Any]:
        return {
            "total": page.total,
            "from": page.begin,
            "geoip": list(self._daemon.settings.geoip),
            "bans": [
                {
                    **_ban_as_json(one.ban),
                    "ended": one.ended,
                    "users": list(one.users)[:MOST_USERS],
                    "user_count": len(one.users),
                    "packets": one.packets,
                }
                for one in page.bans
            ],
        }

    async def explain(self, request: Request) -> Any:
        story = await self._operations.explain(str(request["address"]))
        return {
            **story._asdict(),
            "bans": [_ban_as_json(ban) for ban in story.bans],
            "earlier": [_ban_as_json(ban) for ban in story.earlier],
            "attempts": [
                {**attempt._asdict(), "failregex": self._failregex(attempt), "reason": self._reason(attempt)}
                for attempt in story.attempts
            ],
        }

    def _failregex(self, attempt: CountedAttempt) -> str | None:
        """The regex that matched, as its filter has it now."""
        runner = self._daemon.runners.get(attempt.jail)
        regexes = runner.jail.filter.failregex if runner else ()
        return regexes[attempt.regex] if attempt.regex is not None and 0 <= attempt.regex < len(regexes) else None

    def _reason(self, attempt: CountedAttempt) -> str | None:
        """What that regex finds, in words, where the filter says so."""
        runner = self._daemon.runners.get(attempt.jail)
        return runner.jail.filter.reason(attempt.regex) if runner else None

    async def advice(self, _request: Request) -> Any:
        """What `sipguard check` says of the running configuration."""
        return await self._operations.advice()

    async def feeds(self, _request: Request) -> Any:
        """Every feed: entries, last good fetch, what is wrong."""
        return await self._daemon.feeding.answer()

    async def refresh_feed(self, request: Request) -> Any:
        """Fetch a feed now; `accept` applies what is held."""
        name, accept = str(request["name"]), bool(request.get("accept"))
        return await self._operations.refresh_feed(name, accept=accept, patience=REFRESH_PATIENCE)

    async def fleet(self, _request: Request) -> Any:
        """The other nodes: last heard, bans, lag, what was refused and why."""
        await self._daemon.others.known.wait()
        return self._operations.fleet()

    async def accept_node(self, request: Request) -> Any:
        """Take what a held node publishes."""
        await self._daemon.others.known.wait()
        self._operations.accept_node(str(request["name"]))
        return self._operations.fleet()

    async def reload(self, _request: Request) -> Any:
        await self._operations.reload()
        return {"jails": self._operations.jails(), "errors": self._daemon.errors}

    async def firewall(self, request: Request) -> Any:
        """What the firewall has of ours: in its own syntax, or what is missing."""
        return await self._operations.firewall(verify=request.get("what") == "verify")

    def _jail(self, runner: JailRunner) -> dict[str, Any]:
        return {
            **self._numbers(runner),
            "counting": runner.judge.window.counting(self._daemon.clock()),
            "banned": [_ban_as_json(ban) for ban in self._operations.bans(runner.jail.name)],
        }

    def _numbers(self, runner: JailRunner) -> dict[str, Any]:
        """What is told of a jail whoever asks, without its addresses."""
        daemon = self._daemon
        name = runner.jail.name
        return {
            "name": name,
            "filter": runner.jail.filter.name,
            "source": runner.jail.source,
            "journal": runner.jail.journal,
            "problem": runner.problem or daemon.bans.firewall_worker.unruled.get(name),
            "maxretry": runner.jail.maxretry,
            "findtime": runner.jail.findtime,
            "bantime": runner.jail.bantime if isfinite(runner.jail.bantime) else None,
            "logs": daemon.logs.problems(runner.jail),
            "log_choice": runner.jail.log_choice,
            "lags": runner.lags.found(),
            "events": daemon.events.status(name),
            "corroboration": daemon.corroborator.status(name),
            "actions": daemon.bans.dispatcher.status(name),
            "totals": asdict(runner.totals),
            "detection": asdict(runner.counts),
        }

    def _counted(self, jail: str, begin: object) -> dict[str, Any]:
        if not isinstance(begin, int):
            return {}
        window = self._operations.runner(jail).judge.window
        return {"counted": window.counts(self._daemon.clock(), max(0, begin), PAGE)}


def _seconds(value: Any, option: str = "--time") -> float:
    try:
        seconds = duration(value)
    except (TypeError, ValueError) as error:
        raise SipguardError(f"{option}: {error}") from error
    if seconds <= 0:
        raise SipguardError(f"{option}: must be more than 0; write e.g. 10m or 1h30m, or -1 for ever")
    return seconds


def _query(request: Request) -> BanQuery:
    given = {_FIELDS.get(name, name): request[name] for name in _QUERY if request.get(name) is not None}
    return BanQuery(**given)


def _ban_as_json(ban: Ban) -> dict[str, Any]:
    return {**asdict(ban), "until": ban.until if isfinite(ban.until) else None}
