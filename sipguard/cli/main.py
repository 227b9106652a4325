"""`sipguard`: the group of commands. A command's file is imported when it is called, so that each starts fast."""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
import traceback
from pathlib import Path

import click

from sipguard import __version__
from sipguard.errors import SipguardError

COMMANDS = {
    "adopt": "Take over from a running Fail2ban, with its bans; or go back.",
    "ban": "Reject an address for a while.",
    "bans": "Who is rejected now: since when, for how long, why.",
    "check": "Read the configuration and say what is wrong with it.",
    "client": "Fail2ban's client commands: status, set JAIL banip …, get JAIL … .",
    "enable": "Find the SIP servers of this machine and protect them.",
    "explain": "Why an address is, was or is not banned.",
    "feeds": "Lists of addresses that others know to attack: APIBAN and block lists.",
    "firewall": "What sipguard has made in the firewall, and whether all of it is still there.",
    "fleet": "The other nodes that bans are shared with, and what each has told.",
    "flush": "End every ban of sipguard's; nobody else's rules are touched.",
    "history": "Who was rejected in the last day, or longer ago.",
    "reload": "Make the running daemon read its configuration again.",
    "replay": "What a jail would have done with a log, by the log's own clock.",
    "run": "Protect: follow the logs and ban, until stopped.",
    "service": "Make an installation by pip a service of systemd, or take it away.",
    "status": "What the running daemon sees and rejects.",
    "test-action": "Show what an action does on a ban, or try it.",
    "test-filter": "Try a filter on a log, a line or the journal.",
    "unban": "Let an address through again.",
    "web": "Show all of it on a page for browsers.",
}
"""Command → its help line in the list; the file is named like the command."""
_FILES = {"client": "client_f2b"}
"""Where it is named otherwise."""


class _Lazy(click.Group):
    """A group that knows its commands' names and imports what is called. The signatures are click's."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        if cmd_name == "run":
            importlib.import_module("sipguard.cli.lean")
        module = importlib.import_module(f"sipguard.cli.{_FILES.get(cmd_name, cmd_name.replace('-', '_'))}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sipguard")
def cli() -> None:
    """Rejects the addresses that attack your SIP server, for a limited time, in a firewall table of its own."""


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 the answer is no, 2 the call or the configuration is wrong."""
    _write_what_they_can(sys.stdout, sys.stderr)
    called = Path(sys.argv[0]).name
    if called == "fail2ban-client":
        sys.argv.insert(1, "client")
    try:
        if called == "fail2ban-regex":
            importlib.import_module("sipguard.cli.fail2ban_regex").main()
            return
        # Without standalone mode click gives the exit status of `Exit` as the result.
        status = cli(prog_name="sipguard", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        from sipguard.cli.output import complain_of_call  # noqa: PLC0415 - only when there is something to say

        complain_of_call(error)
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except SipguardError as error:
        _complain(str(error))
        sys.exit(error.exit_status)
    except BrokenPipeError:
        # Whoever read our output has gone (`sipguard status | head`): not an error, and nothing more to say.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        # A mistake of ours: one line for whoever meets it, that says where, and all of it for who asks.
        if os.environ.get("SIPGUARD_TRACEBACK"):
            raise
        _complain(_unexpected(error))
        sys.exit(2)


def program() -> None:
    """`main`, as a process of its own."""
    try:
        main()
    finally:
        # Before it ends, the interpreter looks for garbage in all that was imported: two thirds of 10 ms of a processor, just
        # when the daemon carries out what was asked of it.
        gc.freeze()


def _write_what_they_can(*streams: object) -> None:
    """A terminal of an older encoding, and what a stranger wrote: no reason to fail."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):  # None if it was closed
            stream.reconfigure(errors="backslashreplace")


def _complain(text: str) -> None:
    from sipguard.cli.output import complain  # noqa: PLC0415 - only when there is something to say

    complain(f"sipguard: {text}")


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    at = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{what} ({Path(at.filename).name}:{at.lineno}); this is a mistake in sipguard: please report it"
