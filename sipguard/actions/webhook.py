"""Sends bans to a web server as JSON or a form, optionally signed, with retries after growing pauses.

`fields` and `headers` define any request: reports to AbuseIPDB or blocklist.de need only settings (docs/actions.md). Tag
values are encoded together with the body, so they cannot change its structure.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from sipguard import __version__
from sipguard.actions.base import ActionError, Notice, Worker
from sipguard.actions.record import record
from sipguard.actions.sentence import sentence
from sipguard.actions.tags import Values
from sipguard.model import Clock, NativeAction
from sipguard.secret import Secret
from sipguard.shell import fill_text
from sipguard.text import printable

if TYPE_CHECKING:
    import httpx

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Longest pause between tries, in seconds."""
_AGAIN = (408, 425, 429)


class Webhook(Worker):
    """One `type = "webhook"` action of a jail."""

    def __init__(self, action: NativeAction, *, clock: Clock, first_pause: float = FIRST_PAUSE) -> None:
        options = action.options
        self._on = action.on
        self._url: str = options["url"].reveal()
        self._options = options
        self._clock = clock
        self._first_pause = first_pause
        self._client: httpx.AsyncClient | None = None
        self.where = urlsplit(self._url).netloc.rpartition("@")[2]
        """The server's name for messages; the rest of the URL may contain a token."""
        self.longest = (options["retries"] + 1) * (options["timeout"] + LONGEST_PAUSE)

    async def handle(self, notices: Sequence[Notice]) -> None:
        """Send each notice. Raises `ActionError` after the last try."""
        for notice in notices:
            if notice.verb in self._on:
                await self._send(notice)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def body(self, notice: Notice) -> bytes:
        fields = self._options.get("fields")
        content = record(notice) if fields is None else _filled(fields, _tags(notice))
        if self._options["format"] == "form":
            return urlencode(
                [(name, part) for name, value in content.items() for part in _parts(value)], errors="replace"
            ).encode()
        return json.dumps(content, ensure_ascii=True).encode()

    def headers(self, body: bytes, delivery: str) -> dict[str, str]:
        """The request headers; the signature covers time and body."""
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
        """Try once. Returns the problem and the pause that the server asks for; None if a retry is pointless."""
        import httpx  # noqa: PLC0415 - 10 MB that a daemon without webhooks does not need

        if self._client is None:
            for name in ("httpx", "httpcore"):
                logging.getLogger(name).setLevel(logging.WARNING)  # they log URLs, which may contain tokens
            self._client = httpx.AsyncClient(timeout=self._options["timeout"], follow_redirects=False)
        try:
            async with (
                asyncio.timeout(self._options["timeout"]),
                self._client.stream(
                    self._options["method"],
                    self._url.replace("{delivery}", delivery),
                    content=body,
                    headers=self.headers(body, delivery),
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
        return f"the server answers with status {status}", (
            float(after) if after.isdecimal() else 0.0
        ) if again else None


def _tags(notice: Notice) -> Callable[[str], str | None]:
    """The tags of a ban, and `<message>`: a sentence about it, for chats."""
    values = Values(notice.ticket)
    return lambda tag: sentence(notice) if tag == "message" else values.get(tag)


def _filled(value: Any, tag: Callable[[str], str | None]) -> Any:
    """A value of the body with tags substituted in its texts."""
    if isinstance(value, Mapping):
        return {name: _filled(one, tag) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, tag) for one in value]
    return fill_text(value, tag) if isinstance(value, str) else value


def _parts(value: Any) -> list[str]:
    """Form values: several for a list, none for null."""
    if value is None:
        return []
    if isinstance(value, list):
        return ["\n".join(map(str, value))]
    return [json.dumps(value) if isinstance(value, Mapping) else str(value)]
