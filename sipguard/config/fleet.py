"""Reads `[fleet]` of sipguard.toml: other nodes to share bans with (docs/fleet.md)."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sipguard.config import validators
from sipguard.config.events import password_of
from sipguard.config.key import Key, read_table
from sipguard.config.kind import at_least_one, choice, each, refuse, says
from sipguard.errors import ConfigError
from sipguard.model import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.config.toml_file import TomlFile
    from sipguard.model import Jail

CLASSES = ("proven", "lent", "corroborated", "reported", "hand")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_SCHEMES = ("redis", "rediss", "unix")


@says("redis://HOST, rediss://HOST (TLS) or unix:///PATH, with USER:PASSWORD@ and :PORT where needed")
def _url(value: Any) -> str:
    word = validators.optional_text(value)
    where = urlsplit(word)
    fits = where.scheme in _SCHEMES and (where.path if where.scheme == "unix" else where.hostname) and where.port != 0
    return word if not word or (fits and word.isascii() and " " not in word) else refuse(value)


@says("up to 63 letters, digits, -, _ and .")
def _name(value: Any) -> str:
    word = validators.optional_text(value)
    return word if not word or _NAME.fullmatch(word) else refuse(value)


CLASS_LIST = each(choice(*CLASSES)).saying(f"{', '.join(CLASSES)}, or a list of these")

FLEET = (
    Key(
        "url",
        _url,
        "",
        "Redis 6.2 or Valkey that the nodes share bans over (docs/fleet.md); empty: no fleet.",
        secret=True,
    ),
    Key("password_file", validators.optional_path, "", "File that contains only the password for `url`."),
    Key("ca_file", validators.optional_path, "", "Certificates to trust instead of the system's."),
    Key("name", _name, "", "Name of this node, unique in the fleet; empty: the machine's host name."),
    Key("share", CLASS_LIST, ["proven"], "What a ban must rest on for others to be told of it."),
    Key("accept", CLASS_LIST, ["proven"], "What a ban of another node must rest on to be rejected here."),
    Key("max_time", validators.finite_span, "1d", "How long a ban of others lasts here at most."),
    Key(
        "unban_from",
        each(at_least_one(_name).saying("the name of a node")),
        [],
        "Nodes whose `sipguard unban --fleet` is carried out here.",
    ),
    Key("max_bans", validators.count, 50_000, "Bans taken from one node at most; a node with more is held."),
)


def read_fleet(main: TomlFile) -> Fleet | None:
    """The fleet that sipguard.toml names. Raises `ConfigError`; what it says never repeats a password."""
    values = read_table(main, "fleet", FLEET)
    if not values["url"]:
        if main.data.get("fleet"):
            raise ConfigError('[fleet] needs url = "redis://…"', main.where("fleet"))
        return None
    values["name"] = values["name"] or _host_name(main)
    if path := values.pop("password_file"):
        values["password"] = password_in(path, main, "fleet", "password_file")
    return Fleet(**values, verdict=main.verdict)


def password_in(path: str, main: TomlFile, section: str, name: str) -> str:
    """The password in the file that this key names. Raises `ConfigError`, which names the key."""
    try:
        return password_of(path).reveal()
    except ConfigError as error:
        raise ConfigError(f"[{section}] {name}: {error}", main.where(section, name)) from None


def _host_name(main: TomlFile) -> str:
    name = socket.gethostname()
    if not _NAME.fullmatch(name):
        raise ConfigError("[fleet] the host name does not fit as a name; write name = …", main.where("fleet"))
    return name


def proves_nothing(share: Iterable[str], jails: Iterable[Jail]) -> bool:
    """Whether nothing can be shared: proven bans alone, and no jail whose bans can be proven."""
    return set(share) <= {"proven", "lent", "corroborated"} and not any(
        jail.source == "wire" or jail.events for jail in jails
    )


def silent_fleet(fleet: Fleet | None, jails: Iterable[Jail]) -> list[str]:
    """Say so when nothing can be shared, with the two ways out."""
    if fleet is None or not proves_nothing(fleet.share, jails):
        return []
    return [
        "[fleet] shares proven bans alone, and without the wire no ban is proven: enable [hep] and the jail sip (docs/wire.md), "
        'or write share = ["reported"] here and accept = ["reported"] on the other nodes'
    ]


def no_lists(firewall: str, **lists: object) -> list[str]:
    """Say so when the firewall that was chosen cannot reject what others have banned."""
    named = [f"[{name}]" for name, given in lists.items() if given]
    if firewall != "iptables" or not named:
        return []
    what = ", ".join(named)
    return [
        f'{what}: nobody is rejected because of it: [firewall] backend = "iptables" has a rule for each address, too slow for '
        'lists of others; write backend = "ipset" or "nftables"'
    ]
