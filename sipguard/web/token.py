"""The token that opens the page: made by `sipguard web token`, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path

from sipguard.errors import StateError

FILE = "token.json"
BYTES = 32
"""Of chance: nobody guesses it, so a plain hash keeps it and a slow one would only let strangers keep us busy."""


class Token:
    """The one token of a page."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._known: tuple[int, int] = (0, 0)
        self._hash = ""

    def make(self) -> str:
        """A new one, in place of the one before; whoever was logged in by that one is not any more. Raises `StateError`."""
        token = secrets.token_urlsafe(BYTES)
        text = json.dumps({"sha256": _hash(token), "made": time.time()})
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            owner = self._path.parent.stat()
            new.unlink(missing_ok=True)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 - its mode
                file.write(text)
                if os.geteuid() == 0:  # made by root, read by the page
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            new.replace(self._path)
        except OSError as error:
            raise StateError(
                f"{self._path}: {error.strerror}; run this as root, or name another --state-dir"
            ) from error
        return token

    def generation(self) -> str:
        """What a session belongs to; empty while there is no token. Looked up anew as soon as the file changes."""
        try:
            stat = self._path.stat()
            if (stat.st_ino, stat.st_mtime_ns) != self._known:
                self._hash = str(json.loads(self._path.read_text())["sha256"])
                self._known = stat.st_ino, stat.st_mtime_ns
        except (OSError, ValueError, KeyError, TypeError):
            self._hash, self._known = "", (0, 0)
        return self._hash

    def matches(self, text: str) -> bool:
        """Whether this is the token."""
        wanted = self.generation()
        return hmac.compare_digest(_hash(text), wanted) and bool(wanted)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
