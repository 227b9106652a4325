"""Reads `[crowdsec]` of sipguard.toml: CrowdSec's local API, as a bouncer, as a machine, or both (docs/fleet.md)."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sipguard.config import validators
from sipguard.config.fleet import CLASS_LIST, password_in, proves_nothing
from sipguard.config.key import Key, read_table
from sipguard.config.kind import refuse, says
from sipguard.errors import ConfigError
from sipguard.model import Crowdsec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipguard.config.toml_file import TomlFile
    from sipguard.model import Jail

_WORD = re.compile(r"[!-~]{1,256}", re.ASCII)


@says("https://HOST, or http:// with localhost or a private address")
def _url(value: Any) -> str:
    word = validators.optional_text(value)
    where = urlsplit(word)
    fits = where.hostname and where.username is None and where.port != 0 and word.isascii() and " " not in word
    return word if not word or (fits and (where.scheme == "https" or _is_plain_local(word))) else refuse(value)


def _is_plain_local(url: str) -> bool:
    where = urlsplit(url)
    if where.scheme != "http" or not where.hostname:
        return False
    try:
        return where.hostname == "localhost" or ipaddress.ip_address(where.hostname).is_private
    except ValueError:
        return False


@says("a text without blanks")
def _word(value: Any) -> str:
    word = validators.optional_text(value)
    return word if not word or _WORD.fullmatch(word) else refuse(value)


@says(f"{validators.DURATION}, at least 1")
def _interval(value: Any) -> float:
    seconds = validators.finite_span(value)
    return seconds if seconds >= 1 else refuse(value)


CROWDSEC = (
    Key("url", _url, "", "CrowdSec's local API, such as http://127.0.0.1:8080 (docs/fleet.md); empty: none."),
    Key(
        "key",
        _word.saying("a key as `cscli bouncers add` prints it"),
        "",
        "Key of a bouncer: CrowdSec's decisions are rejected here.",
        secret=True,
    ),
    Key("key_file", validators.optional_path, "", "File that contains only the key; instead of `key`."),
    Key(
        "login",
        _word.saying("the name of a machine as `cscli machines add` takes it"),
        "",
        "Machine: this machine's bans become CrowdSec's decisions.",
    ),
    Key("password", _word, "", "Password of the machine.", secret=True),
    Key("password_file", validators.optional_path, "", "File that contains only the password; instead of `password`."),
    Key("ca_file", validators.optional_path, "", "Certificates to trust instead of the system's."),
    Key("share", CLASS_LIST, ["proven"], "What a ban must rest on for CrowdSec to be told of it."),
    Key("interval", _interval, "10s", "How often decisions are asked for."),
)


def read_crowdsec(main: TomlFile) -> Crowdsec | None:
    """The local API that sipguard.toml names. Raises `ConfigError`; what it says never repeats a key or password."""
    values = read_table(main, "crowdsec", CROWDSEC)
    if not main.data.get("crowdsec"):
        return None
    for name in ("key", "password"):
        path = values.pop(f"{name}_file")
        if path and values[name]:
            raise ConfigError(f"[crowdsec] give either {name} or {name}_file", main.where("crowdsec", f"{name}_file"))
        if path:
            values[name] = password_in(path, main, "crowdsec", f"{name}_file")
    if not values["url"] or not (values["key"] or values["login"]):
        what = "[crowdsec] needs url, and key (to reject its decisions) or login and password (to tell it of bans)"
        raise ConfigError(what, main.where("crowdsec"))
    if bool(values["login"]) is not bool(values["password"]):
        raise ConfigError("[crowdsec] login and password go together", main.where("crowdsec"))
    return Crowdsec(**values, verdict=main.verdict)


def silent_crowdsec(crowdsec: Crowdsec | None, jails: Iterable[Jail]) -> list[str]:
    """Warn if no ban would ever be shared: only proven bans are, and no jail can prove any."""
    if crowdsec is None or not crowdsec.login or not proves_nothing(crowdsec.share, jails):
        return []
    return [
        "[crowdsec] is told of proven bans alone, and without the wire no ban is proven: enable [hep] and the jail sip "
        '(docs/wire.md), or write share = ["reported"]'
    ]
