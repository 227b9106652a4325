"""`sipguard test-action`: what an action would do on a ban, and, if asked, whether it does it."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from sipguard.actions.base import ActionError, Notice, Verb, Worker
from sipguard.actions.command import Result, Runner
from sipguard.actions.record import record
from sipguard.actions.ticket import JailFacts, Ticket, blank
from sipguard.addresses import canonical
from sipguard.cli.options import PATH, config_option
from sipguard.cli.tree import load_settings
from sipguard.config.plain import plain
from sipguard.daemon.make_action import make_worker
from sipguard.errors import ConfigError, SipguardError
from sipguard.fail2ban.actions.command_action import Fail2banAction
from sipguard.fail2ban.config.actions import read_actions
from sipguard.model import Action, Ban, Jail, NativeAction
from sipguard.secret import SECRET_NAME, hide
from sipguard.text import printable

if TYPE_CHECKING:
    from sipguard.actions.mail import Mail
    from sipguard.actions.webhook import Webhook

LINE = "a line of the log with 'quotes' and $(more)"
"""Stands for what a log may hold."""
FAIL2BAN = Path("/etc/fail2ban")


@click.command("test-action")
@click.argument("name")
@click.option("--jail", "jail_name", metavar="JAIL", help="The jail whose action it is.")
@click.option("--ip", default="203.0.113.7", show_default=True, metavar="ADDRESS", help="The address to ban.")
@config_option()
@click.option("--fail2ban-dir", type=PATH, metavar="DIR", help="The Fail2ban tree to look into.")
@click.option("--run", is_flag=True, help="Run it, instead of only showing it.")
def command(
    name: str, jail_name: str | None, ip: str, config: Path | None, fail2ban_dir: Path | None, run: bool
) -> None:
    """Show what the action NAME does at start, ban, unban and stop; with --run, do it.

    NAME is an action of the jail, or without --jail a file of action.d with its parameters: 'sendmail[dest=root]'.
    Parameters that look like secrets are shown as ***.
    """
    try:
        address = canonical(ip)
    except ValueError:
        raise SipguardError(f"--ip {ip!a} is not an address; write e.g. 203.0.113.7 or 2001:db8::7") from None
    facts = JailFacts("test")
    action: Action | NativeAction
    if jail_name is None:
        action = _from_file(name, fail2ban_dir or FAIL2BAN)
    else:
        jail, action = _from_jail(name, jail_name, config, fail2ban_dir)
        facts = JailFacts(jail.name, jail.bantime)
    if not asyncio.run(_tell(action, facts, _life(address, facts), run)):
        sys.exit(1)


def _life(address: str, facts: JailFacts) -> list[Notice]:
    """Everything that an action is told of one ban."""
    now = time.time()
    ban = Ban(address, facts.name, now, now + facts.bantime, 5, reason="test-action")
    ticket = Ticket(ban, facts, (LINE,), {"user": "1000"})
    about_none = blank(facts, now)
    verbs: tuple[Verb, ...] = ("start", "ban", "unban", "stop")
    return [Notice(verb, ticket if "ban" in verb else about_none) for verb in verbs]


def _from_file(name: str, directory: Path) -> Action:
    """An action.d file with parameters."""
    found = read_actions(name, "NAME", "test", {}, directory / "action.d")
    if len(found) != 1:
        raise ConfigError(f"{name!a} must be one action, as in: sendmail[dest=root]")
    return found[0]


def _from_jail(
    name: str, jail_name: str, config: Path | None, fail2ban_dir: Path | None
) -> tuple[Jail, Action | NativeAction]:
    settings = load_settings(config, fail2ban_dir, "commands" if fail2ban_dir else "firewall")
    jails = {jail.name: jail for jail in settings.jails}
    for error in settings.errors:
        if f"jail {jail_name}:" in str(error):
            raise error
    if jail_name not in jails:
        raise ConfigError(f"no jail {jail_name!a} is enabled; enabled are {', '.join(jails) or 'none'}")
    jail = jails[jail_name]
    for action in jail.actions:
        if name in (action.name, getattr(action, "file", None)):
            return jail, action
    known = ", ".join(action.name for action in jail.actions) or "none"
    raise ConfigError(f"jail {jail_name} has no action {name!a}; it has {known}")


class Showing:
    """Takes the place of what runs commands: shows each, and runs it if that is wanted."""

    def __init__(self, secrets: Sequence[str], runner: Runner | None) -> None:
        self.failed = False
        self._secrets = secrets
        self._runner = runner

    async def __call__(self, script: str, variables: Mapping[str, str], limit: float) -> Result:
        """One command: its variables, its text, and how it ended."""
        for name, value in variables.items():
            _show(f"  {name}={printable(hide(value, self._secrets))}")
        for number, line in enumerate(hide(script, self._secrets).split("\n")):
            _show(f"  {'  ' if number else '$ '}{printable(line)}")
        if self._runner is None:
            return Result(0)
        result = await self._runner(script, variables, limit)
        for line in result.output.splitlines():
            _show(f"  > {line}")
        _show(f"  {'done' if result.ok else result.problem.split(':')[0]}")
        self.failed |= not result.ok
        return result


async def _tell(action: Action | NativeAction, facts: JailFacts, notices: Sequence[Notice], run: bool) -> bool:
    """Show, or carry out, an action's life; whether all of it worked."""
    secrets = _secrets(action)
    showing = Showing(secrets, Runner() if run else None)
    if isinstance(action, Action) and not action.python:
        worker: Worker = Fail2banAction(action, facts, showing, clock=time.time)
    else:
        if isinstance(action, NativeAction) and "digest" in action.options:
            action = replace(action, options={**action.options, "digest": 0.0})
        worker = make_worker(action, facts, Runner(), clock=time.time)
    ok = True
    for notice in notices:
        told = _told_of(action, notice.verb)
        _show(f"{notice.verb}:" if told else f"{notice.verb}: nothing")
        if not told:
            continue
        if not isinstance(worker, Fail2banAction):
            _show("\n".join(f"  {line}".rstrip() for line in _described(worker, action, notice)))
            if not run:
                continue
        try:
            await worker.handle([notice])
        except ActionError as error:
            _show(f"  failed: {hide(printable(str(error)), secrets)}")
            ok = False
        else:
            if not isinstance(worker, Fail2banAction):
                _show("  done")
    await worker.close()
    return ok and not showing.failed


def _told_of(action: Action | NativeAction, verb: Verb) -> bool:
    """Whether the action does anything then."""
    if isinstance(action, NativeAction):
        return verb in action.on
    on_demand = verb == "ban" and bool(action.commands.get("actionstart", "").strip())
    return bool(action.python) or on_demand or bool(action.commands.get(f"action{verb}", "").strip())


def _described(worker: Worker, action: Action | NativeAction, notice: Notice) -> Iterator[str]:
    """What an action that is no command does: the request, the mail, the program and what it reads."""
    if isinstance(action, Action):
        yield printable(f"{action.file}: {notice.verb}({'' if notice.verb in ('start', 'stop') else 'aInfo'})")
        return
    from sipguard.cli.action_text import mail_text, request_text  # noqa: PLC0415 - these alone need it

    match action.type:
        case "webhook":
            yield from request_text(cast("Webhook", worker), action, notice)
        case "mail":
            yield from mail_text(cast("Mail", worker), action, notice)
        case "exec":
            yield printable(f"{shlex.join(plain(action.options)['command'])} <<< {json.dumps(record(notice))}")


def _secrets(action: Action | NativeAction) -> list[str]:
    if isinstance(action, NativeAction):
        return []
    return [text for key, text in action.properties.items() if SECRET_NAME.search(key)]


def _show(line: str) -> None:
    click.echo(line)
