"""What the shell may complete: jails, banned addresses. Asked of the daemon; nothing where none answers at once."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

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
    from sipguard.cli.client import DEFAULT_SOCKET  # noqa: PLC0415 - it imports this file's users

    path = context.params.get("path") or os.environ.get("SIPGUARD_SOCKET") or DEFAULT_SOCKET
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(path))
            sock.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            sock.shutdown(socket.SHUT_WR)
            answer = json.loads(b"".join(iter(lambda: sock.recv(1 << 16), b"")))
    except (OSError, ValueError):
        return {}
    result = answer.get("result")
    return result if isinstance(result, dict) else {}
