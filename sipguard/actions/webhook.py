"""Sends bans to a web server: JSON or a form, signed if a secret is given, tried again with growing pauses.

With `fields` and `headers` the body takes any form: reports to AbuseIPDB or blocklist.de are settings, not code
(docs/actions.md). A tag's value is encoded with the rest of the body, so that it cannot become anything else.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from sipguard import __version__
from sipguard.actions.base import ActionError, Notice
from sipguard.actions.record import record
from sipguard.actions.tags import Values
from sipguard.model import Clock, NativeAction
from sipguard.secret import Secret
from sipguard.shell import fill_text
from sipguard.text import printable

if TYPE_CHECKING:
    import httpx

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between tries."""
_AGAIN = (408, 425, 429)


class Webhook:
    """One `type = "webhook"` action of a jail."""

    norestored = True
    essential = False
    flushes = True  # what ends with the daemon is no unban
    linger = 0.0
    batch = 1

    def __init__(self, action: NativeAction, *, clock: Clock, first_pause: float = FIRST_PAUSE) -> None:
        options = action.options
        self._on = action.on
        self._url: str = options["url"].reveal()
        self._options = options
        self._clock = clock
        self._first_pause = first_pause
        self._client: httpx.AsyncClient | None = None
        self.where = urlsplit(self._url).netloc.rpartition("@")[2]
        """The server, for messages: the rest of the address may hold a token."""
        self.longest = (options["retries"] + 1) * (options["timeout"] + LONGEST_PAUSE)

    async def handle(self, notices: Sequence[Notice]) -> None:
        """Send each notice. Raises `ActionError` after the last try."""
        for notice in notices:
            if notice.verb in self._on:
                await self._send(notice)

    async def close(self) -> None:
        """End the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def body(self, notice: Notice) -> bytes:
        """What is sent."""
        fields = self._options.get("fields")
        content = record(notice) if fields is None else _filled(fields, Values(notice.ticket))
        if self._options["format"] == "form":
            return urlencode(
                [(name, part) for name, value in content.items() for part in _parts(value)], errors="replace"
            ).encode()
        return json.dumps(content, ensure_ascii=True).encode()

    def headers(self, body: bytes, delivery: str) -> dict[str, str]:
        """The headers; the signature covers time and body."""
        kind = "application/x-www-form-urlencoded" if self._options["format"] == "form" else "application/json"
        headers = {"Content-Type": kind, "User-Agent": f"sipguard/{__version__}", "X-Sipguard-Delivery": delivery}
        given: Mapping[str, Secret] = self._options["headers"]
        headers |= {name: value.reveal() for name, value in given.items()}
        secret: Secret | None = self._options.get("secret")
        if secret is not None:
            when = str(int(self._clock()))
            signed = hmac.new(secret.reveal().encode(), when.encode() + b"." + body, hashlib.sha256)
            headers["X-Sipguard-Timestamp"] = when
            headers["X-Sipguard-Signature"] = f"sha256={signed.hexdigest()}"
        return headers

    async def _send(self, notice: Notice) -> None:
        body = self.body(notice)
        delivery = str(uuid.uuid4())
        pause = self._first_pause
        tries = self._options["retries"] + 1
        for number in range(1, tries + 1):
            problem, wait = await self._try(body, delivery)
            if not problem:
                return
            if wait is None or number == tries:
                more = f" after {number} tries" if number > 1 else ""
                raise ActionError(f"{notice.verb} {notice.ticket.ban.address} to {self.where}: {problem}{more}")
            await asyncio.sleep(min(max(pause, wait), LONGEST_PAUSE))
            pause *= 2

    async def _try(self, body: bytes, delivery: str) -> tuple[str, float | None]:
        """One try: what went wrong, and how long the server wants us to wait; None when another try is of no use."""
        import httpx  # noqa: PLC0415 - 10 MB that a daemon without webhooks does not need

        if self._client is None:
            for name in ("httpx", "httpcore"):
                logging.getLogger(name).setLevel(logging.WARNING)  # they log the address, and what is in it
            self._client = httpx.AsyncClient(timeout=self._options["timeout"], follow_redirects=False)
        try:
            async with (
                asyncio.timeout(self._options["timeout"]),
                self._client.stream(
                    self._options["method"], self._url, content=body, headers=self.headers(body, delivery)
                ) as answer,
            ):
                status = answer.status_code
                after = answer.headers.get("Retry-After", "")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            text = printable(str(error), 100).replace(self._url, self.where)
            return f"{type(error).__name__} {text}".strip(), 0.0
        if 200 <= status < 300:
            return "", None
        again = status >= 500 or status in _AGAIN
        return f"it answers {status}", (float(after) if after.isdecimal() else 0.0) if again else None


def _filled(fields: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """The fields with the tags in their texts replaced."""
    return {
        name: _filled(value, values)
        if isinstance(value, Mapping)
        else fill_text(value, values.get)
        if isinstance(value, str)
        else value
        for name, value in fields.items()
    }


def _parts(value: Any) -> list[str]:
    """A value as a form has it: several for a list, none for null."""
    if value is None:
        return []
    if isinstance(value, list):
        return ["\n".join(map(str, value))]
    return [json.dumps(value) if isinstance(value, Mapping) else str(value)]
