"""What the shell may complete: jails, banned addresses. Asked of the daemon; nothing where none answers at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipguard.errors import SipguardError

if TYPE_CHECKING:
    import click

PATIENCE = 1.0
"""Seconds: who presses Tab does not wait."""
MOST = 500
"""Candidates: a shell shows no more of them in a way that helps."""


def jail_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The running jails."""
    jails = _ask(context, "overview").get("jails", ())
    return [jail["name"] for jail in jails if jail["name"].startswith(incomplete)]


def banned_addresses(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Who is banned now, those that were banned last first; an IPv6 address in the form that sipguard writes."""
    bans = _ask(context, "bans", limit=10_000, packets=False).get("bans", ())
    found = dict.fromkeys(ban["address"] for ban in bans if ban["address"].startswith(incomplete.lower()))
    return list(found)[:MOST]


def _ask(context: click.Context, command: str, **arguments: Any) -> dict[str, Any]:
    from sipguard.cli.client import ask, configured_socket  # noqa: PLC0415 - it imports this file's users

    path = context.params.get("path") or os.environ.get("SIPGUARD_SOCKET") or configured_socket()
    try:
        result = ask(Path(path), command, patience=PATIENCE, **arguments)
    except SipguardError:
        return {}
    return result if isinstance(result, dict) else {}
