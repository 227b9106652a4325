"""Imports the settings of APIBAN's original clients.

Only their settings are read. The chain, program and cron job of such a client are left alone.
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
"""Where the documentation puts the file, and where the clients look for it."""
_SIZE = 65_536
_SETTING = re.compile(r"^\s*(APIKEY|LKID)\s*=\s*[\"']?([^\"'\s]*)", re.MULTILINE)
_KEY = re.compile(r"[A-Za-z0-9_-]{8,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Original:
    path: Path
    key: str = field(repr=False)
    last_id: str
    """Empty if there is none."""


def find(root: Path = Path("/")) -> Path:
    """Find the configuration in its usual places. Raises `FeedError` if there is none."""
    for place in PLACES:
        path = root / Path(place).expanduser().relative_to("/")
        if path.is_file():
            return path
    raise FeedError(f"no configuration of APIBAN's client in {', '.join(PLACES)}; name its path: import-apiban PATH")


def read(path: Path) -> Original:
    """Read config.json of the Go client, or apibanconfig.sys of the shell client. Raises `FeedError`."""
    try:
        with path.open("rb") as file:
            text = file.read(_SIZE).decode("utf-8", "replace")
    except OSError as error:
        raise FeedError(
            f"{path} cannot be read: {error.strerror}; name the client's config.json: import-apiban PATH"
        ) from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = dict(_SETTING.findall(text))
    settings = {str(name).upper(): value for name, value in content.items()} if isinstance(content, dict) else {}
    key, last_id = str(settings.get("APIKEY", "")).strip(), str(settings.get("LKID", "")).strip()
    if not _KEY.fullmatch(key):
        raise FeedError(f"{path} contains no valid APIKEY")
    return Original(path, key, last_id if last_id.isascii() and last_id.isdigit() and len(last_id) <= 30 else "")
