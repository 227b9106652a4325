"""`sipguard enable`: finds the SIP servers of this machine, proposes what protects them, and writes it after a yes."""

from __future__ import annotations

import difflib
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sipguard.cli import output
from sipguard.cli.client import DaemonError, ask, socket_option
from sipguard.cli.options import root_option
from sipguard.errors import SipguardError
from sipguard.service_manager import starting
from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipguard.enable.machine import Machine
    from sipguard.enable.proposal import FileChange, Proposal

_SERVERS = ("freeswitch", "asterisk", "kamailio", "opensips")
_RELOAD_WITHIN = 30
"""Seconds for a server to read its configuration again."""


@click.command("enable")
@click.argument("server", required=False, metavar="[SERVER]", type=click.Choice(_SERVERS))
@click.option("--yes", is_flag=True, help="Write without asking, as scripts want it.")
@click.option("--undo", is_flag=True, help="Put back every file as it was before, byte for byte.")
@root_option
@click.option("--no-wire", is_flag=True, help="Leave SIP packets alone: judge by logs and events.")
@socket_option
def command(server: str | None, *, yes: bool, undo: bool, root: Path, no_wire: bool, path: Path) -> None:
    """Protect the SIP servers of this machine: freeswitch, asterisk, kamailio, opensips, or all that are here.

    Looks at processes, packages, configuration and sockets. Shows each file that it would write, and asks. Your carriers go
    into ignoreip. Asterisk gets a manager user who may read security events and nothing else.
    """
    from sipguard.enable.machine import Machine  # noqa: PLC0415 - the help needs none of it

    machine = Machine(root)
    if undo:
        _undo(machine, path)
        return
    _enable(machine, server or "", path, yes=yes, wire=not no_wire)


def _enable(machine: Machine, server: str, path: Path, *, yes: bool, wire: bool) -> None:
    from sipguard.enable.proposal import propose  # noqa: PLC0415
    from sipguard.enable.writing import write  # noqa: PLC0415

    proposal = propose(machine, server, _new_password, wire=wire)
    if not proposal.servers:
        known = ", ".join(one for one in _SERVERS if one != server)
        where = "on this machine" if machine.is_own else f"below {machine.at('/')}"
        output.complain(
            f"sipguard: no {server or 'SIP server'} found {where}; it {'also ' if server else ''}looks for {known}"
        )
        raise click.exceptions.Exit(1)
    _show(machine, proposal)
    if not proposal.changes:
        output.say("Nothing to write: all of this is configured already.")
        return
    if not yes and not _agreed():
        output.say("Nothing was written.")
        raise click.exceptions.Exit(1)
    write(machine, proposal.changes)
    output.say(f"Written: {len(proposal.changes)} files. `sipguard enable --undo` puts them back.")
    changed = {change.path for change in proposal.changes}
    _reload(machine, path, [one.reload for one in proposal.servers if one.user and one.user.path in changed])


def _new_password() -> str:
    """32 letters and digits: 190 bits."""
    import secrets  # noqa: PLC0415
    import string  # noqa: PLC0415

    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))


def _agreed() -> bool:
    if not sys.stdin.isatty():
        output.complain("sipguard: there is no terminal to ask on; add --yes to write it")
        return False
    return click.confirm("Write this?")


def _show(machine: Machine, proposal: Proposal) -> None:
    """What was found, what would be written, and what to know."""
    for found in proposal.servers:
        output.say(f"{found.title}: {', '.join(found.evidence)}")
    for change in proposal.changes:
        _show_change(machine, change, proposal.secrets)
    if proposal.ignored:
        click.echo("\nNever banned, since your server names them as trunks:")
        for host, carrier in proposal.ignored.items():
            output.say(f"  {host}  {printable(carrier.where)}")
    if proposal.refused:
        click.echo("\nNot proposed for ignoreip:")
        for line in proposal.refused:
            output.say(f"  {printable(line)}")
    if proposal.notes:
        click.echo()
    for note in proposal.notes:
        output.say(f"note: {printable(note)}")
    click.echo()


def _show_change(machine: Machine, change: FileChange, secrets: list[str]) -> None:
    before = machine.text(change.path)
    kind = "new file" if not machine.there(change.path) else "changed"
    mode = f", mode {change.mode:04o}" if change.mode is not None else ""
    output.say(f"\n{printable(change.path)} ({kind}{mode})")
    for line in difflib.unified_diff(before.splitlines(), change.text.splitlines(), lineterm="", n=0):
        if line[:1] in "+-" and line[:3] not in ("+++", "---"):
            shown = printable(line)
            for secret in secrets:
                shown = shown.replace(secret, "********")
            output.say(f"  {shown}")


def _reload(machine: Machine, path: Path, commands: Sequence[tuple[str, ...]]) -> None:
    """Make the servers and the daemon read it, where they run; else say how."""
    if not machine.is_own:
        return
    for line in dict.fromkeys(commands):
        if _ran(line):
            output.say(f"Done: {shlex.join(line)}")
        else:
            output.say(f"Now run: {shlex.join(line)}")
    try:
        running = ask(path, "reload")["jails"]
    except DaemonError as error:
        raise SipguardError(f"sipguard has not read it: {error}") from None
    except SipguardError:
        output.say(f"sipguard is not running. Start it with: {starting(enable=True)}")
        return
    output.say(f"sipguard has read it; running: {', '.join(running) or 'no jail; see: sipguard check'}")


def _ran(line: tuple[str, ...]) -> bool:
    try:
        done = subprocess.run(line, capture_output=True, check=False, timeout=_RELOAD_WITHIN)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _undo(machine: Machine, path: Path) -> None:
    from sipguard.enable.found import ASTERISK_FOLDER, MANAGER_RELOAD  # noqa: PLC0415
    from sipguard.enable.writing import undo  # noqa: PLC0415

    done, left = undo(machine)
    for one in done:
        output.say(f"as it was before: {printable(one)}")
    for line in left:
        output.complain(f"left alone: {line}")
    if not done and not left:
        output.say("Nothing to undo.")
        return
    manager = [MANAGER_RELOAD] if any(one.startswith(f"{ASTERISK_FOLDER}/") for one in done) else []
    _reload(machine, path, manager)
    if left:
        raise click.exceptions.Exit(1)
