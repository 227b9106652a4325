"""`sipguard web`: the page."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import click

from sipguard.config.values import duration
from sipguard.errors import SipguardError, pip_install

READ_SOCKET = Path("/run/sipguard/sipguard-read.sock")
WRITE_SOCKET = Path("/run/sipguard/sipguard.sock")
STATE_DIR = Path("/var/lib/sipguard-web")
USER = "sipguard-web"

_PATH = click.Path(path_type=Path, readable=False)
_state_dir = click.option(
    "--state-dir", type=_PATH, default=STATE_DIR, show_default=True, help="Where the token's hash and the timeline are."
)


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    try:
        seconds = duration(text)
    except (TypeError, ValueError) as error:
        raise click.BadParameter(f"{error}; write e.g. 30m") from error
    if seconds <= 0:
        raise click.BadParameter("write e.g. 30m")
    return seconds


@click.group("web", invoke_without_command=True)
@click.option(
    "--listen", default="127.0.0.1:8470", show_default=True, metavar="PLACE", help="ADDRESS:PORT, or a socket's path."
)
@click.option("--write", is_flag=True, help="Let users of the page ban and unban; without it the page only shows.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name by which browsers may reach the page; may be given several times.",
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Address of a reverse proxy; over TCP nobody else is answered then.",
)
@click.option(
    "--user-header", default="", metavar="NAME", help="Header in which the proxy names who has logged in there."
)
@click.option(
    "--idle",
    default="30m",
    show_default=True,
    metavar="TIME",
    callback=_seconds,
    help="A session ends after so long without use.",
)
@click.option(
    "--session",
    "longest",
    default="12h",
    show_default=True,
    metavar="TIME",
    callback=_seconds,
    help="A session ends after so long in any case.",
)
@click.option(
    "--socket",
    "read_socket",
    type=_PATH,
    default=READ_SOCKET,
    envvar="SIPGUARD_READ_SOCKET",
    show_default=True,
    help="The daemon's socket for questions.",
)
@click.option(
    "--write-socket",
    type=_PATH,
    default=WRITE_SOCKET,
    show_default=True,
    help="Its socket for everything: with --write.",
)
@_state_dir
@click.pass_context
def command(context: click.Context, /, write: bool, write_socket: Path, **given: Any) -> None:
    """Show what sipguard does on a page for browsers: on this machine, or behind a proxy that speaks TLS.

    It runs as a user of its own, not as root, and asks the daemon over its socket. `sipguard web token` makes the token
    that opens it.
    """
    if context.invoked_subcommand:
        context.obj = given["state_dir"]
        return
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise SipguardError(f"the page needs the library {missing[0]}: {pip_install('web')}")
    if os.geteuid() == 0:
        how = f"use the unit sipguard-web.service, or: runuser -u {USER} -- sipguard web"
        raise SipguardError(f"the page does not run as root; {how}")
    from sipguard.web.app import serve  # noqa: PLC0415 - an extra
    from sipguard.web.options import PageOptions  # noqa: PLC0415

    given["hosts"] = tuple(name.lower() for name in given["hosts"])
    options = PageOptions(**given, write_socket=write_socket if write else None)
    click.echo(f"sipguard web: {options.listen if options.unix else f'http://{options.listen}/'}", err=True)
    serve(options)


@command.command("token")
@_state_dir
@click.pass_context
def token(context: click.Context, state_dir: Path) -> None:
    """Make the token that opens the page, and print it this once. The one before opens it no more."""
    from sipguard.web.token import Token  # noqa: PLC0415 - as above

    default = context.get_parameter_source("state_dir") is click.core.ParameterSource.DEFAULT
    click.echo(Token(context.obj if default else state_dir).make())
