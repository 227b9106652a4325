"""`sipguard feeds`: show the running daemon's feeds, fetch one now, take over the key of APIBAN's original client."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_of, socket_option
from sipguard.cli.options import PATH, config_option
from sipguard.config import paths
from sipguard.errors import SipguardError
from sipguard.text import printable, span


@click.group("feeds", invoke_without_command=True)
@json_option
@socket_option
@click.pass_context
def command(context: click.Context, as_json: bool, path: Path) -> None:
    """Show the lists of addresses that attack others: how many entries, how old, what is wrong."""
    if context.invoked_subcommand:
        context.obj = path
        return
    feeds = ask(path, "feeds")
    output.answer(feeds, as_json, _show)
    if not feeds:
        raise click.exceptions.Exit(1)


@command.command("refresh")
@click.argument("name")
@click.option(
    "--accept",
    is_flag=True,
    help="Apply the update that is held: it grew too much, or lists an address that has registered.",
)
@json_option
@socket_option
@click.pass_context
def refresh(context: click.Context, name: str, accept: bool, as_json: bool, path: Path) -> None:
    """Fetch the feed NAME now. The server's rate limit still applies. Exit status 1 if the fetch failed."""
    feed = ask(socket_of(context, path), "feeds refresh", name=name, accept=accept)
    output.answer(feed, as_json, lambda one: _show([one]))
    if feed["problem"] or feed["held"]:
        raise click.exceptions.Exit(1)


@command.command("import-apiban")
@click.argument("source", type=PATH, required=False, metavar="[PATH]")
@config_option()
@click.option("--continue", "go_on", is_flag=True, help="Begin at the client's last ID, not with the full list.")
def import_apiban(source: Path | None, config: Path | None, go_on: bool) -> None:
    """Take over the key of APIBAN's original client from its config.json.

    Writes the key to a file of its own that root alone may read, and [feeds.apiban] to sipguard's configuration. The client, its
    chain APIBAN and its settings stay as they are.
    """
    from sipguard.feeds import original  # noqa: PLC0415 - this command alone needs it

    config = config or paths.main_file()
    found = original.read(source or original.find())
    if go_on and not found.last_id:
        raise SipguardError(f"{found.path} holds no last ID (LKID); leave out --continue to begin with the full list")
    key_file = config.resolve().parent / "apiban.key"
    text = f'\n[feeds.apiban]\nkey_file = "{key_file}"\n' + (f'start = "{found.last_id}"\n' if go_on else "")
    _write(config, text, key_file, found.key)
    output.say(f"{found.path}: key taken over to {key_file}, [feeds.apiban] written to {config}")
    begin = f"ID {found.last_id}" if go_on else "the full list"
    output.say(f"sipguard will begin with {begin}: sipguard check, then sipguard reload")
    output.say("the original client still runs; while it does, both share the key's limit of requests")


def _write(config: Path, text: str, key_file: Path, key: str) -> None:
    """Write the key's file first: a configuration that names a missing file is an error."""
    try:
        before = config.read_text() if config.exists() else ""
        if "[feeds.apiban]" in before:
            raise SipguardError(f"{config} has a table [feeds.apiban] already; remove it, or leave it as it is")
        config.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w") as file:
            os.fchmod(handle, 0o600)
            file.write(f"{key}\n")
        with config.open("a") as file:
            file.write(text if before.endswith("\n") or not before else f"\n{text}")
    except OSError as error:
        raise SipguardError(f"{error.filename}: cannot be written: {error.strerror}") from None


def _show(feeds: list[dict[str, Any]]) -> None:
    if not feeds:
        output.say("no feed is configured; write e.g. [feeds.apiban] to sipguard.toml")
    now = time.time()
    output.table(
        ("feed", "entries", "in firewall", "fetched", "next in", "ID", "source"),
        (
            [
                feed["name"],
                feed["entries"],
                feed["networks"] if feed["applied"] else "not yet",
                output.lately(feed["fetched"]) if feed["fetched"] else "never",
                span(max(0.0, feed["next"] - now)) if feed["next"] else "now",
                feed["id"] or "",
                feed["source"],
            ]
            for feed in feeds
        ),
    )
    for feed in feeds:
        for label in ("held", "problem"):
            if feed[label]:
                output.say(f"{feed['name']}: {label}: {printable(feed[label], 500)}")
        if feed["refused"]:
            output.say(f"{feed['name']}: {feed['refused']} entries refused: private, reserved, or no address")
