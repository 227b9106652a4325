"""How a command asks the running daemon, and prints what it answers."""

from __future__ import annotations

import grp
import json
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from sipguard.config.paths import main_file
from sipguard.errors import SipguardError
from sipguard.service_manager import starting

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_SOCKET = Path("/run/sipguard/sipguard.sock")
_SOCKET_KEY = re.compile(r"""^[ \t]*["']?socket["']?[ \t]*=""", re.MULTILINE)
PATIENCE = 65.0
"""Seconds to wait for an answer: a reload of many jails takes some."""


class DaemonError(SipguardError):
    """What the daemon answered instead of a result."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def configured_socket() -> Path:
    """The socket that the configuration names; DEFAULT_SOCKET if it names none, or cannot be read here."""
    try:
        text = main_file().read_text(encoding="utf-8")
        if not _SOCKET_KEY.search(text):
            return DEFAULT_SOCKET
        import tomllib  # noqa: PLC0415 - a few ms, for who names one

        named = tomllib.loads(text).get("socket")
    except (OSError, ValueError):  # a broken file is told by `check`
        named = None
    return Path(named) if isinstance(named, str) and named else DEFAULT_SOCKET


def socket_option(function: F) -> F:
    return click.option(
        "--socket",
        "path",
        type=click.Path(path_type=Path, readable=False),  # whether it may be used, `ask` says, and how to mend that
        default=configured_socket,
        envvar="SIPGUARD_SOCKET",
        help="The daemon's control socket.  [default: as the configuration says]",
    )(function)


def socket_of(context: click.Context, path: Path) -> Path:
    """The socket for a subcommand, whose group keeps its own in `obj`: `--socket` may stand before the subcommand too."""
    return path if context.get_parameter_source("path") is ParameterSource.COMMANDLINE else context.obj


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


def _connect(sock: socket.socket, path: Path, patience: float) -> None:
    """Connect, and wait for a place in the daemon's queue where others fill it: unix(7) says EAGAIN at once."""
    end = time.monotonic() + patience
    while True:
        try:
            return sock.connect(str(path))
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def _not_there(path: Path) -> str:
    if path not in (DEFAULT_SOCKET, configured_socket()):
        return f"{path}: no sipguard is running there. Start it, or name its socket with --socket or SIPGUARD_SOCKET"
    mend = f"Start it with: {starting()}"
    if path != DEFAULT_SOCKET and DEFAULT_SOCKET.exists():
        mend += f"; if it runs since before {main_file()} named this socket, restart it"
    elif os.path.lexists(main_file()) and not os.access(main_file(), os.R_OK):
        mend = f"You may not read {main_file()}, which may name another socket: use sudo"
    return f"sipguard is not running ({path}). {mend}"


def _not_allowed(path: Path) -> str:
    """The socket is there, and not for this user."""
    try:
        group = path.stat().st_gid
        name = grp.getgrgid(group).gr_name if group else ""
    except (OSError, KeyError):
        name = ""
    join = f", or join the group {name} (usermod -aG {name} USER)" if name else ", or set socket_group in sipguard.toml"
    return f"you may not ask the daemon ({path}): use sudo{join}"


def ask(path: Path, command: str, *, patience: float = PATIENCE, **arguments: Any) -> Any:
    """Put a question to the daemon: `patience` in seconds. Raises `SipguardError` with what it, or the socket, says."""
    request = json.dumps({"command": command, **arguments}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(patience)
        try:
            _connect(sock, path, patience)
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)  # nothing more will be asked, so the daemon closes after its answer
            answer = json.loads(b"".join(iter(lambda: sock.recv(1 << 16), b"")))
        except (FileNotFoundError, ConnectionRefusedError):
            raise SipguardError(_not_there(path)) from None
        except PermissionError:
            raise SipguardError(_not_allowed(path)) from None
        except TimeoutError:
            raise SipguardError(f"{path}: sipguard has not answered within {patience:g} s; see its log") from None
        except (ConnectionError, json.JSONDecodeError):
            raise SipguardError(
                f"{path}: sipguard ended before it answered; ask again when it runs: sipguard status"
            ) from None
        except (OSError, ValueError) as error:
            raise SipguardError(f"{path}: no answer ({error})") from error
    if not answer["ok"]:
        raise DaemonError(answer["error"], int(answer.get("status", 2)))
    return answer["result"]
