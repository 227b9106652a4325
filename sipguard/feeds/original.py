"""The configuration of APIBAN's original clients: where it is, and what of it is worth taking over.

Only its settings are read. Its chain, its program and its cron job are its operator's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from sipguard.errors import FeedError

PLACES = (
    "/etc/apiban/config.json",
    "/usr/local/bin/apiban/config.json",
    "~/.config/apiban/config.json",
    "/usr/local/bin/apiban/apibanconfig.sys",
    "/etc/apiban/apibanconfig.sys",
)
"""Where its documentation puts it, and where its clients look."""
_SIZE = 65_536
_SETTING = re.compile(r"^\s*(APIKEY|LKID)\s*=\s*[\"']?([^\"'\s]*)", re.MULTILINE)
_KEY = re.compile(r"[A-Za-z0-9_-]{8,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Original:
    """What the original client was told."""

    path: Path
    key: str = field(repr=False)
    last_id: str
    """Empty when there is none."""


def find(root: Path = Path("/")) -> Path:
    """The first usual place that has a configuration. Raises `FeedError` when none has."""
    for place in PLACES:
        path = root / Path(place).expanduser().relative_to("/")
        if path.is_file():
            return path
    raise FeedError(f"no configuration of APIBAN's client is in {', '.join(PLACES)}; name it: import-apiban PATH")


def read(path: Path) -> Original:
    """Read config.json of the Go client, or apibanconfig.sys of the shell client. Raises `FeedError`."""
    try:
        with path.open("rb") as file:
            text = file.read(_SIZE).decode("utf-8", "replace")
    except OSError as error:
        raise FeedError(f"{path} cannot be read: {error.strerror}") from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = dict(_SETTING.findall(text))
    settings = {str(name).upper(): value for name, value in content.items()} if isinstance(content, dict) else {}
    key, last_id = str(settings.get("APIKEY", "")).strip(), str(settings.get("LKID", "")).strip()
    if not _KEY.fullmatch(key):
        raise FeedError(f"{path} holds no APIKEY, or not one of APIBAN's form")
    return Original(path, key, last_id if last_id.isascii() and last_id.isdigit() and len(last_id) <= 30 else "")
