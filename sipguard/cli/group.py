"""The group of commands: a command's file is imported when it is called, so that each starts fast."""

from __future__ import annotations

import importlib
import inspect
from typing import NoReturn

import click

from sipguard import __version__
from sipguard.cli.commands import ABOUT, COMMANDS, examples_of, exit_status, near, overview

_FILES = {"client": "client_f2b", "completion": "completion_script", "man": "man_pages"}
"""Where a command's file is named otherwise."""


class LazyGroup(click.Group):
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
        examples = examples_of(cmd_name)
        # \b: click leaves such a paragraph as it is.
        command.epilog = f"\b\n{examples}\n\n{exit_status(cmd_name)}"
        command.short_help = COMMANDS[cmd_name]
        for below in command.commands.values() if isinstance(command, click.Group) else ():
            first = inspect.cleandoc(below.help or "").partition("\n\n")[0]
            below.short_help = first.split(". ")[0].rstrip(".") + "."
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            self._unknown(ctx, name)
        return super().resolve_command(ctx, args)

    @staticmethod
    def _unknown(ctx: click.Context, name: str) -> NoReturn:
        meant = near(name)
        hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
        raise click.UsageError(f"No such command {name!r}.{hint}", ctx)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        formatter.write(overview())


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, help=ABOUT)
@click.version_option(__version__, prog_name="sipguard")
def cli() -> None:
    """The commands."""
