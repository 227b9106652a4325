"""A jail's `events`: the address of its server's event interface, and the password: who has that controls the server."""

from __future__ import annotations

import ipaddress
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sipguard.config import validators
from sipguard.config.key import Key
from sipguard.config.kind import says
from sipguard.errors import ConfigError
from sipguard.files import open_regular
from sipguard.secret import Secret
from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

OWN_FILES = (
    Path("/etc/freeswitch/autoload_configs/event_socket.conf.xml"),
    Path("/usr/local/freeswitch/conf/autoload_configs/event_socket.conf.xml"),
    Path("/usr/local/freeswitch/etc/freeswitch/autoload_configs/event_socket.conf.xml"),
    Path("/opt/freeswitch/conf/autoload_configs/event_socket.conf.xml"),
)
"""Where FreeSWITCH keeps the password of its event socket."""
_LARGEST = 65_536
_URL = re.compile(
    r"(freeswitch|asterisk)://(?:([A-Za-z0-9_.-]{1,64})@)?(\[[0-9A-Fa-f:.]+\]|[0-9.]+|localhost):(\d{1,5})"
)


class EventPlace(NamedTuple):
    """The parts of `events`."""

    server: str
    """`freeswitch` or `asterisk`."""
    user: str
    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback


def parse(url: str) -> EventPlace:
    """Raises ValueError; its text never holds a password that somebody has written into the URL."""
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("no place of events")
    server, user, host, port = match[1], match[2] or "", match[3].strip("[]"), int(match[4])
    if host != "localhost":
        ipaddress.ip_address(host)
    if (server == "asterisk") != bool(user) or not 0 < port < 65536:
        raise ValueError("no place of events")
    return EventPlace(server, user, host, port)


@says("freeswitch://127.0.0.1:8021 or asterisk://USER@127.0.0.1:5038, without a password in it")
def _url(value: Any) -> str:
    if value != "":
        parse(value if isinstance(value, str) else "")
    return str(value)


EVENTS = (
    Key(
        "events",
        _url,
        "",
        "Where the server tells its events (docs/events.md); then the jail needs no log. None: nowhere.",
        secret=True,
    ),
    Key(
        "events_password_file",
        validators.optional_path.saying("an absolute path, or nothing"),
        "",
        "File with the password for `events`, mode 0600; of FreeSWITCH none: its own event_socket.conf.xml.",
    ),
    Key(
        "allow_remote",
        validators.flag,
        False,
        "Whether `events` may be on another machine: the password goes there unencrypted.",
    ),
)


def check_events(url: str, password_file: str, *, allow_remote: bool) -> None:
    """Raises ConfigError where `events` cannot or must not be listened to."""
    place = parse(url)
    if not place.is_local and not allow_remote:
        what = (
            f"events = {url}: is not this machine, and the password goes there unencrypted; write allow_remote = true"
        )
        raise ConfigError(what)
    if place.server == "asterisk" and not password_file:
        raise ConfigError("events_password_file: missing; write the path of a file with the secret of manager.conf")
    password_of(password_file)


def password_of(password_file: str, own_files: Iterable[Path] = OWN_FILES) -> Secret:
    """The password for `events`. Raises ConfigError if its file is missing, can be read by others, or holds no password."""
    if password_file:
        text = _read(Path(password_file), 0o077, "chmod 600 it").strip()
        where = password_file
    else:
        own = next((path for path in own_files if _is_there(path)), None)
        if own is None:
            raise ConfigError(
                "events_password_file: missing, and there is no event_socket.conf.xml where FreeSWITCH has it"
            )
        text = _own_password(own)
        where = str(own)
    if not text or not text.isprintable() or len(text) > 256:
        raise ConfigError("must hold the password, on one line", printable(where))
    return Secret(text)


def _own_password(path: Path) -> str:
    from xml.etree import ElementTree  # noqa: PLC0415 - most hosts have no such jail

    text = _read(path, 0o007, "chmod o= it, or write events_password_file = …")
    try:
        params = ElementTree.fromstring(text).iter("param")  # noqa: S314 - root's own file, of 64 KB at most
        found = [one.get("value", "") for one in params if one.get("name") == "password"]
    except ElementTree.ParseError:
        raise ConfigError("cannot be read as XML; write events_password_file = …", str(path)) from None
    # `$${…}` is a variable of FreeSWITCH's own preprocessor.
    if not found or "$" in found[0]:
        raise ConfigError("names no password; write events_password_file = …", str(path))
    return found[0]


def _read(path: Path, forbidden: int, mend: str) -> str:
    """A small file that nobody else may read."""
    try:
        with open_regular(path) as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & forbidden:
                raise ConfigError(f"others can read the password in it (mode {mode:04o}); {mend}", printable(str(path)))
            return file.read(_LARGEST).decode()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", printable(str(path))) from None
    except UnicodeDecodeError:
        raise ConfigError("is not text", printable(str(path))) from None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
