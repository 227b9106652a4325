"""Checks `[hep]` of sipguard.toml: who may send us SIP messages."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from sipguard.config import validators
from sipguard.config.key import Key
from sipguard.config.kind import each
from sipguard.config.messages import shown
from sipguard.errors import ConfigError
from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sipguard.config.toml_file import TomlFile
    from sipguard.model import Jail

HEP = (
    Key(
        "listen",
        validators.address_with_port,
        "",
        "Where servers send copies of their SIP messages as HEP packets (docs/wire.md); empty: nowhere.",
        field="hep_listen",
    ),
    Key(
        "key",
        validators.secret,
        "",
        "Key that every packet must carry; without it, packets count no more than a line of log.",
        field="hep_key",
        secret=True,
    ),
    Key(
        "from",
        each(validators.network),
        [],
        "Who may send HEP packets; empty: everybody who can reach the listener.",
        field="hep_from",
    ),
)


def refuse_open_listener(main: TomlFile, values: Mapping[str, Any]) -> None:
    """Refuse a HEP listener open to strangers: whoever reaches it can get anybody banned."""
    host = values["hep_listen"].rpartition(":")[0].strip("[]")
    if host and not ipaddress.ip_address(host).is_loopback:
        for name, given in (("key", values["hep_key"].reveal()), ("from", values["hep_from"])):
            if not given:
                what = f"[hep] listen = {shown(values['hep_listen'])}: other machines can send there; write {name} = …"
                raise ConfigError(what, main.where("hep", "listen"))


def silent_wire(jails: Sequence[Jail], values: Mapping[str, Any]) -> list[str]:
    """Warnings for jails that read the wire although nothing feeds it."""
    wanted = (
        'write enabled = true below [wire], or listen = "127.0.0.1:9060" below [hep], in sipguard.toml (docs/wire.md)'
    )
    silent = [] if values["hep_listen"] or values["wire_enabled"] else [jail for jail in jails if jail.source == "wire"]
    return [f"{printable(jail.origin)}: jail {jail.name}: no SIP messages to read; {wanted}" for jail in silent]
