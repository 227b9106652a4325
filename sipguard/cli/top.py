"""`sipguard top`: what happens now, on a terminal."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from sipguard.cli.client import ask, socket_option
from sipguard.cli.explain import tell
from sipguard.errors import SipguardError, pip_install


@click.command("top")
@socket_option
def command(path: Path) -> None:
    """Show what happens now: attempts a second, bans with the time left, attackers, users, jails, feeds and fleet.

    Keys stand in the last line: 1 to 6 choose a table, / searches, s sorts, Enter explains, u lets an address through after a
    question, q quits. Needs the extra `top`.
    """
    if importlib.util.find_spec("textual") is None:
        raise SipguardError(f"sipguard top needs the library textual: {pip_install('top')}")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SipguardError("sipguard top needs a terminal; for scripts there is sipguard status --json")
    ask(path, "ping")  # no daemon: one line says so before the screen is taken over
    from sipguard.top.app import run  # noqa: PLC0415 - this command alone needs it

    run(partial(ask, path), _as_text)


def _as_text(story: dict[str, Any]) -> str:
    """What `sipguard explain` says."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        tell(story)
    return said.getvalue()
