"""HTTPS GET with limits against hostile or broken servers, and errors that reveal no secret.

httpx is imported only here, at the first request: it costs 15 MB, which a daemon without feeds does not need. Its errors
contain the URL and so APIBAN's key. None of them may leave this file, not even as the cause of another error.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

from sipguard.errors import FeedError
from sipguard.text import printable

if TYPE_CHECKING:
    import ssl

    import httpx

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class Response:
    """A server's response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Web:
    """HTTPS client. Certificates are always verified; proxies come from the environment (HTTPS_PROXY, NO_PROXY).

    `secret` is a part of the URL that no message may contain; if set, redirects are refused. `silence` is the longest wait
    for the next bytes, in seconds.
    """

    def __init__(self, *, ca_file: str = "", secret: str = "", silence: float = 20.0) -> None:
        self._ca_file = ca_file
        self._secret = secret
        self._silence = silence
        self._context: ssl.SSLContext | None = None

    async def get(
        self,
        url: str,
        *,
        seconds: float,
        size: int,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """Fetch `url` within `seconds` and `size` bytes; with a `body`, POST it. Raises `FeedError`."""
        for _ in range(_MOST_REDIRECTS + 1):
            where = self._split(url)
            host = where.hostname or ""
            answer = await self._once(url, host, seconds=seconds, size=size, headers=headers or {}, body=body)
            if answer.status not in _REDIRECTS:
                return answer
            try:
                target = urlsplit(urljoin(url, answer.headers.get("location", "")))
                there = target.hostname
            except ValueError:
                there = None
            if self._secret:
                raise self._error(f"{where.hostname} redirects to {there}: refused, because the URL contains the key")
            if not there or target.scheme != "https":
                raise self._error(f"{where.hostname} redirects to {there} without TLS: refused")
            url = target.geturl()
        raise self._error(f"{where.hostname}: too many redirects")

    def _split(self, url: str) -> SplitResult:
        try:
            where = urlsplit(url)
            host = where.hostname
        except ValueError:
            host = None
        if not host or where.scheme != "https":
            raise FeedError("not an https URL")
        return where

    async def _once(
        self, url: str, host: str, *, seconds: float, size: int, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        import httpx  # noqa: PLC0415 - see above

        for noisy in ("httpx", "httpcore"):  # at INFO they log every URL
            logging.getLogger(noisy).setLevel(logging.WARNING)
        problem = ""
        try:
            async with asyncio.timeout(seconds), self._client() as client:
                return await self._read(client, url, size, headers, body)
        except TimeoutError:
            problem = f"no complete answer within {seconds:g} s"
        except httpx.TimeoutException as error:
            problem = f"no answer in time ({type(error).__name__})"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, FeedError) as error:
            problem = str(error) or type(error).__name__
        # Raised outside the except clause, so that httpx's error does not become this error's context.
        raise self._error(f"{host}: {problem}")

    def _client(self) -> httpx.AsyncClient:
        import ssl  # noqa: PLC0415 - see above

        import httpx  # noqa: PLC0415

        if self._context is None:
            try:
                self._context = ssl.create_default_context(cafile=self._ca_file or None)
            except OSError as error:
                raise FeedError(f"ca_file {self._ca_file}: {error.strerror or error}") from None
        return httpx.AsyncClient(verify=self._context, timeout=self._silence, follow_redirects=False)

    async def _read(
        self, client: httpx.AsyncClient, url: str, size: int, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        # No compression: a few compressed bytes can expand to gigabytes.
        sent = {"user-agent": "sipguard", "accept-encoding": "identity", **headers}
        async with client.stream("GET" if body is None else "POST", url, headers=sent, content=body) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise FeedError("the answer is compressed although sipguard did not ask for that")
            length = response.headers.get("content-length", "0")
            if length.isdigit() and int(length[:20]) > size:
                raise FeedError(f"the answer has {length[:20]} bytes, more than {size}")
            answer = bytearray()
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > size:
                    raise FeedError(f"the answer has more than {size} bytes")
            return Response(response.status_code, dict(response.headers), bytes(answer))

    def _error(self, text: str) -> FeedError:
        return FeedError(redact(text, self._secret))


def redact(text: str, secret: str) -> str:
    """Untrusted text made printable, with the secret removed."""
    # Ignore case: host names are shown in lower case.
    return printable(re.sub(re.escape(secret), "…", text, flags=re.IGNORECASE) if secret else text, 300)
