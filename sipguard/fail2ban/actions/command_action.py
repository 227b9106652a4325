"""Runs the commands of a Fail2ban action at the right moments. See jail.conf(5), `ACTION CONFIGURATION FILES`.

An action is started once per address family that it handles differently (`[Init?family=inet6]`), at once or at that
family's first ban. A failed command is retried once, after `actioncheck` succeeds or `actionrepair` fixes the environment.
docs/actions.md lists the differences from Fail2ban.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Mapping, Sequence

from sipguard.actions.base import ActionError, Notice, Worker
from sipguard.actions.command import Result, Run
from sipguard.actions.tags import Values
from sipguard.actions.ticket import JailFacts, Ticket, blank
from sipguard.errors import ConfigError
from sipguard.fail2ban.config.actions import commands_for
from sipguard.fail2ban.config.values import seconds
from sipguard.model import Action, Clock
from sipguard.shell import fill_command, tags_in

log = logging.getLogger("fail2ban.actions")

TIMEOUT = 60.0
"""Default time limit of a command in seconds (`timeout`)."""
LOOKUP = 5.0
"""Time limit in seconds for looking up `<ip-host>`."""
EITHER = ""
"""The family of an action that handles both the same way."""
# The most commands for one notice: start, ban, check, stop, start, check, ban.
_MOST_COMMANDS = 8

_CONDITION = re.compile(r"\w+\?family=.*")


class Fail2banAction(Worker):
    """One action.d file running for one jail. Raises `ConfigError` if its tags cannot be resolved."""

    def __init__(self, action: Action, jail: JailFacts, run: Run, *, clock: Clock, ipv6: bool = True) -> None:
        """`ipv6`: whether the host has IPv6. If not, the action is not started for that family."""
        self.action = action
        self.norestored = action.flags.get("norestored", False)
        self.essential = bool(action.commands.get("actionunban", "").strip())
        self._holding: dict[str, bool | None] = {}
        """Family → whether any ban was made since its start; None if it was stopped."""
        self._jail = jail
        self._run = run
        self._clock = clock
        self._limit = _timeout(action)
        self.longest = _MOST_COMMANDS * (self._limit + LOOKUP)
        self._texts: dict[str, Mapping[str, str]] = {}
        self._conditional = any(_CONDITION.fullmatch(key) for key in action.properties)
        self._on_demand = action.flags.get("actionstart_on_demand", self._conditional)
        self._families = _families(action, self._conditional, ipv6)
        self.flushes = bool(self._text("actionflush", self._families[0]))
        self._done: dict[str, dict[str, str]] = {"actionstart": {}, "actionstop": {}}
        self._repaired = False
        self._since_repair: set[str] = set()

    async def handle(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            match notice.verb:
                case "start":
                    await self.start()
                case "ban":
                    await self.ban(notice.ticket)
                case "prolong":
                    await self.prolong(notice.ticket)
                case "check":
                    await self.check(notice.ticket)
                case "unban":
                    await self.unban(notice.ticket)
                case "flush":
                    await self.flush()
                case "reload":
                    await self._operate("actionreload", self.started)
                case "stop":
                    await self.stop()

    @property
    def started(self) -> list[str]:
        return [family for family, holds in self._holding.items() if holds is not None]

    async def start(self) -> None:
        """Run `actionstart`, unless it waits for the first ban of a family."""
        if not self._on_demand:
            await self._start(self._families)

    async def ban(self, ticket: Ticket, verb: str = "actionban") -> None:
        """Run `actionban`, preceded by `actionstart` if that waited for the first ban."""
        family = ticket.family
        if self._on_demand and family not in self.started:
            await self._start([family])
        await self._process(verb, ticket)
        self._holding[family] = True
        if self._repaired:
            self._since_repair.add(ticket.ban.address)

    async def prolong(self, ticket: Ticket) -> None:
        """Run `actionprolong`: the ban's end has changed."""
        if self._text("actionprolong", ticket.family):
            await self._process("actionprolong", ticket)

    async def unban(self, ticket: Ticket) -> None:
        """Run `actionunban`, unless no ban of that family was made since the start."""
        self._since_repair.discard(ticket.ban.address)
        if self._holding.get(ticket.family):
            await self._process("actionunban", ticket)

    async def check(self, ticket: Ticket) -> None:
        """Check the environment after a banned address got through; ban again if it was repaired."""
        await self._check_started(may_repair=True)
        if self._repaired and ticket.ban.address not in self._since_repair:
            await self.ban(ticket, "actionreban" if self._text("actionreban", ticket.family) else "actionban")

    async def flush(self) -> None:
        """Run `actionflush`, which ends every ban."""
        families = [family for family, holds in self._holding.items() if holds]
        try:
            done = await self._operate("actionflush", families)
        except ActionError:
            await self._check_started(may_repair=self.action.flags.get("actionrepair_on_unban", False))
            raise
        for family in done:
            self._holding[family] = False
        self._since_repair.clear()

    async def stop(self, family: str | None = None) -> None:
        """Run `actionstop` for one family, or for every started one."""
        families = [one for one in self.started if family in (None, one)]
        self._holding = {} if family is None else {**self._holding, family: None}
        for one in await self._operate("actionstop", families):
            self._forget("actionstart", one)

    async def _start(self, families: Sequence[str]) -> None:
        for family in await self._operate("actionstart", families):
            self._forget("actionstop", family)
            self._holding[family] = False

    async def _operate(self, verb: str, families: Sequence[str]) -> list[str]:
        """Run a command without an address for each family, identical commands only once. Returns the families done.

        Raises `ActionError` at the end if one failed.
        """
        done: list[str] = []
        failed: Result | None = None
        ran = self._done.get(verb, {})
        for family in families:
            text = self._text(verb, family)
            result = Result(0)
            if text and text not in [other for one, other in ran.items() if one != family]:
                result = await self._carry_out(text, blank(self._jail, self._clock(), family))
            if result.ok:
                ran[family] = text
                done.append(family)
            else:
                self._forget(verb, family)
                failed = result
        if failed is not None:
            if verb == "actionstart":  # those that were started are, although another one failed
                self._holding |= dict.fromkeys(done, False)
            raise ActionError(f"{verb}: {failed.problem}")
        return done

    def _forget(self, verb: str, family: str) -> None:
        """Allow the command of this family, and identical ones of other families, to run again."""
        ran = self._done.get(verb, {})
        text = ran.pop(family, None)
        for other in [one for one, same in ran.items() if same == text]:
            del ran[other]

    async def _process(self, verb: str, ticket: Ticket) -> None:
        """Run a ban's command; retry once if it fails and the environment is fine. Raises `ActionError`."""
        text = self._text(verb, ticket.family)
        if not text:
            return
        result = await self._carry_out(text, ticket)
        if result.ok:
            return
        has_check = bool(self._text("actioncheck", ticket.family))
        if not has_check and result.timed_out:
            raise ActionError(f"{verb} of {ticket.ban.address}: {result.problem}")
        if has_check:
            unban = verb == "actionunban"
            may_repair = not unban or self.action.flags.get("actionrepair_on_unban", False)
            if not await self._sound(ticket.family, starting=not unban, may_repair=may_repair):
                raise ActionError(f"{verb} of {ticket.ban.address}: {result.problem}; its environment is broken")
        result = await self._carry_out(text, ticket)
        if not result.ok:
            raise ActionError(f"{verb} of {ticket.ban.address}: {result.problem}")

    async def _check_started(self, *, may_repair: bool) -> None:
        """Check each started family. One that cannot be repaired counts as not started."""
        for family in self.started:
            if not await self._sound(family, starting=True, may_repair=may_repair) and may_repair:
                self._holding[family] = None
                self._forget("actionstart", family)

    async def _sound(self, family: str, *, starting: bool, may_repair: bool = True) -> bool:
        """Run `actioncheck`. If it fails, run `actionrepair` or restart the action, and check again."""
        if not starting and family not in self.started:
            return True
        check = self._text("actioncheck", family)
        ticket = blank(self._jail, self._clock(), family)
        if not check or (await self._carry_out(check, ticket)).ok:
            return True
        if not may_repair:
            return False
        log.error("[%s] Action %s: its environment is broken, trying to repair it", self._jail.name, self.action.name)
        self._repaired = True
        self._since_repair.clear()
        if repair := self._text("actionrepair", family):
            if not (await self._carry_out(repair, ticket)).ok:
                self._holding[family] = None
                return False
            self._holding[family] = False
        else:
            await self._restart(family, starting=starting or not self._on_demand)
        return family not in self.started or (await self._carry_out(check, ticket)).ok

    async def _restart(self, family: str, *, starting: bool) -> None:
        """Stop, ignoring errors, and start. Raises `ActionError` if it does not start."""
        try:
            await self.stop(family)
        except ActionError as error:
            log.info("[%s] Action %s: %s", self._jail.name, self.action.name, error)
        if starting:
            await self._start([family])

    async def _carry_out(self, text: str, ticket: Ticket) -> Result:
        host = await host_of(ticket.ban.address) if "ip-host" in tags_in(text) else None
        command, variables = fill_command(text, Values(ticket, host).get)
        return await self._run(command, variables, self._limit)

    def _text(self, verb: str, family: str) -> str:
        """The command for one family, still containing the ban's tags; empty if there is none."""
        if family not in self._texts:
            self._texts[family] = commands_for(self.action, family)
        text = self._texts[family].get(verb, "")
        return "" if text.isspace() else text


def _timeout(action: Action) -> float:
    text = action.properties.get("timeout", "")
    try:
        return seconds(text) if text else TIMEOUT
    except ValueError as error:
        raise ConfigError(f"action {action.name}: timeout: {error}", action.origin) from error


def _families(action: Action, conditional: bool, ipv6: bool) -> list[str]:
    given = action.properties.get("families", "").replace(",", " ").split()
    if given:
        return given
    if conditional:
        return ["inet4", "inet6"] if ipv6 else ["inet4"]
    return [EITHER]


async def host_of(address: str) -> str | None:
    """Look up the host name of an address; None if there is none or the lookup takes too long."""
    if not address:
        return None
    try:
        async with asyncio.timeout(LOOKUP):
            found = await asyncio.get_running_loop().getnameinfo((address, 0), socket.NI_NAMEREQD)
            return found[0]
    except (OSError, TimeoutError, UnicodeError):  # UnicodeError: an invalid address, or an odd name
        return None
