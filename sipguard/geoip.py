"""Country and network of addresses, from databases in MaxMind's format (.mmdb) that `[geoip] files` names.

Needs the library `maxminddb` (`pip install sipguard[geoip]`). What is not there is left out: a list of bans is worth
having without.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def origins(addresses: Iterable[str], files: Sequence[str]) -> dict[str, str]:
    """Address or network → `NL AS64500 Example Net`, of those that are known."""
    if not files:
        return {}
    try:
        import maxminddb  # noqa: PLC0415 - an extra
    except ImportError:
        return {}
    found: dict[str, list[str]] = {}
    wanted = list(addresses)
    for file in files:
        # A database that is missing, unreadable for this user, or damaged.
        with (
            contextlib.suppress(OSError, ValueError, maxminddb.InvalidDatabaseError),
            maxminddb.open_database(file) as db,
        ):
            for address in wanted:
                record = db.get(address.partition("/")[0])
                if isinstance(record, dict) and (what := _told(record)):
                    found.setdefault(address, []).append(what)
    return {address: " ".join(parts) for address, parts in found.items()}


def _told(record: Mapping[str, Any]) -> str:
    """Of a database of countries, cities or networks."""
    country = record.get("country")
    code = country.get("iso_code") if isinstance(country, dict) else country
    number = record.get("autonomous_system_number") or record.get("asn")
    name = record.get("autonomous_system_organization") or record.get("as_name") or record.get("name")
    network = f"AS{str(number).removeprefix('AS')}" if number else ""
    return " ".join(str(part) for part in (code, network, name) if part)
