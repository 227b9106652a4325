"""`sipguard history`: who was rejected, and who is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sipguard.cli.ban_table import answer, list_options
from sipguard.cli.client import ask, json_option, socket_option


@click.command("history")
@list_options
@click.option("--since", default="24h", show_default=True, metavar="TIME", help="How far back, e.g. 2h or 7d.")
@json_option
@socket_option
def command(since: str, as_json: bool, path: Path, **query: Any) -> None:
    """List the bans of the last 24 hours, or further back with --since: ended ones and live ones.

    sipguard keeps ended bans for a week; those that `unban` or `flush` ended are forgotten. ADDRESS is an address, or a
    network for everybody in it.
    """
    answer(ask(path, "history", since=since, **query), past=True, as_json=as_json)
