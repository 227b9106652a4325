"""Prints the reference of all commands as Markdown, from the program's own help: `python -m demo.commands`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from sipguard.cli.group import cli

WIDTH = 100


def commands(group: click.Group, path: str, parent: click.Context) -> Iterator[tuple[str, click.Context]]:
    """Every command below a group, with the context that its help is made in."""
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if command is None or command.hidden:
            continue
        context = click.Context(command, info_name=f"{path} {name}", max_content_width=WIDTH, terminal_width=WIDTH)
        yield f"{path} {name}", context
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}", context)


def main() -> None:
    """The page."""
    top = click.Context(cli, info_name="sipguard", max_content_width=WIDTH, terminal_width=WIDTH)
    print("# Commands\n\nThis is the help of each command, as `--help` prints it.\n")
    print(f"```text\n{cli.get_help(top).rstrip()}\n```\n")
    for name, context in commands(cli, "sipguard", top):
        print(f"## {name}\n\n```text\n{context.command.get_help(context).rstrip()}\n```\n")


if __name__ == "__main__":
    main()
