"""Client of APIBAN's API, which returns its list in pages and limits the rate of requests.

GET BASE/KEY/banned/ID, or with a data set POST BASE/get, returns a few hundred addresses and the ID of the next page, until
there are no new ones. Each page is stored with its next ID before the next request, so an error never loses a page.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sipguard.errors import FeedError
from sipguard.feeds.pace import Limiter, Pace, Sleep
from sipguard.feeds.web import Response, Web, redact
from sipguard.model import Feed
from sipguard.networks import NetworkRefusedError, admit, parse
from sipguard.text import printable

log = logging.getLogger("sipguard.feeds")

SIZE = 1 << 20
"""Largest response in bytes: eighty times a full page."""
MOST = 500_000
"""Most entries of the feed. No list of attackers is longer; more would endanger memory and disk."""
_PATIENCE = 4
"""The fetch fails after this many `rate limit exceeded` answers in a row. The wait doubles after each."""


class RateLimitError(FeedError):
    """Too many requests. `after` is the wait that the server asks for in seconds, 0 if it names none."""

    def __init__(self, after: float) -> None:
        self.after = after
        super().__init__("rate limit exceeded; does another client use the same key?")


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its addresses in canonical text, the number of refused entries, and the ID of the next page."""

    networks: tuple[str, ...]
    refused: int
    next_id: str


def read_answer(answer: Response, asked: str) -> Page | None:
    """Parse the answer to a request for ID `asked`; None when the list is complete.

    Raises `RateLimitError` or `FeedError` when nothing in the answer may be used.
    """
    listed, next_id = _fields(answer.body)
    words = [listed] if isinstance(listed, str) else listed
    said = " ".join(word for word in words[:1] if isinstance(word, str))[:100]
    if answer.status == 429 or "rate limit" in said.lower():
        raise RateLimitError(_retry_after(answer))
    if answer.status in (401, 403) or next_id == "unauthorized":
        raise FeedError(
            f"the server rejects the key (status {answer.status}); check that it is correct and has not expired"
        )
    if answer.status in (200, 400) and next_id == "none" and not any(_is_address(word) for word in words):
        # The current documentation says 400, older ones 200.
        return None
    if answer.status != 200:
        raise FeedError(f"the server answers with status {answer.status}{': ' if said else ''}{printable(said)}")
    return _page(words, next_id, asked)


def _fields(body: bytes) -> tuple[Any, str]:
    """`ipaddress` and `ID` of an answer; empty if missing."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(content, dict):
        return "", ""
    listed, next_id = content.get("ipaddress"), content.get("ID")
    if isinstance(next_id, int) and not isinstance(next_id, bool):
        next_id = str(next_id) if next_id.bit_length() < 100 else ""
    return (listed if isinstance(listed, str | list) else ""), (next_id if isinstance(next_id, str) else "")


def _page(words: Sequence[Any], next_id: str, asked: str) -> Page:
    if not (next_id.isascii() and next_id.isdigit() and len(next_id) <= 30):
        raise FeedError("unexpected answer: APIBAN should return a list and an ID")
    if int(next_id) <= int(asked):
        raise FeedError(f"the answer leads from ID {asked} back to {next_id}")
    networks: dict[str, None] = {}
    refused = nonsense = 0
    for word in words:
        try:
            networks[admit(str(word), is_cut=True)] = None
        except NetworkRefusedError:
            refused += 1
        except ValueError:
            nonsense += 1
    # One invalid entry must not block all later pages for ever, but a page full of them is not a list.
    if nonsense > len(words) / 2:
        raise FeedError(f"the answer contains invalid addresses, e.g. {printable(str(words[0]), 60)!r}")
    if not words:
        raise FeedError("the answer has an ID but no addresses")
    return Page(tuple(networks), refused + nonsense, next_id)


def _is_address(word: object) -> bool:
    try:
        parse(str(word))
    except ValueError:
        return False
    return True


def _retry_after(answer: Response) -> float:
    """Seconds given by the header Retry-After (RFC 9110, 10.2.3), else 0. Rate limits do not use its date form."""
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0.0


class Apiban:
    """Fetches new entries, page by page."""

    def __init__(self, feed: Feed, *, web: Web, limiter: Limiter, pace: Pace, sleep: Sleep) -> None:
        self._feed = feed
        self._web = web
        self._limiter = limiter
        self._pace = pace
        self._sleep = sleep

    async def fetch(
        self, begin: str, *, store: Callable[[Page], Awaitable[int]], waiting: Callable[[], Awaitable[None]]
    ) -> None:
        """Fetch all pages from ID `begin` on. Raises `FeedError`; pages that arrived before the error are stored.

        `store` stores a page and returns the total number of entries. `waiting` is called before each longer wait.
        """
        asked, refusals = begin, 0
        while True:
            try:
                page = await self._ask(asked, waiting)
            except RateLimitError as error:
                refusals += 1
                if refusals > _PATIENCE:
                    raise
                await waiting()
                wait = max(error.after, self._pace.window * 2.0 ** (refusals - 1))
                log.info("Feed %s: rate limit exceeded at ID %s, continuing in %.0f s", self._feed.name, asked, wait)
                await self._sleep(min(wait, self._pace.longest_pause))
                continue
            refusals = 0
            if page is None:
                return
            if await store(page) > MOST:
                raise FeedError(f"more than {MOST:,} entries: too many for a list of attackers")
            asked = page.next_id

    async def _ask(self, asked: str, waiting: Callable[[], Awaitable[None]]) -> Page | None:
        if self._limiter.wait() > 0:
            await waiting()
        while (wait := self._limiter.wait()) > 0:
            await self._sleep(wait)
        await self._limiter.sending()
        try:
            answer = await self._send(asked)
        finally:
            await self._limiter.answered()
        try:
            return read_answer(answer, asked)
        except RateLimitError:
            raise
        except FeedError as error:
            problem = redact(str(error), self._feed.key)
        raise FeedError(problem)

    async def _send(self, asked: str) -> Response:
        base = self._feed.url.rstrip("/")
        if not self._feed.dataset:
            return await self._web.get(f"{base}/{self._feed.key}/banned/{asked}", seconds=self._pace.answer, size=SIZE)
        body = json.dumps({"set": self._feed.dataset, "id": asked}).encode()
        headers = {"authorization": f"Bearer {self._feed.key}", "content-type": "application/json"}
        return await self._web.get(f"{base}/get", seconds=self._pace.answer, size=SIZE, headers=headers, body=body)
