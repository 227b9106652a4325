"""APIBAN's API: the list in pages, from an ID onwards, as often as its limit allows.

GET BASE/KEY/banned/ID gives at most some hundred addresses and the ID to ask with next, until there are no new ones. Every page
is stored with the ID behind it before the next is asked for: whatever goes wrong then, nothing that was read is lost.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sipguard.errors import FeedError
from sipguard.feeds.pace import Limiter, Pace, Sleep
from sipguard.feeds.sieve import RefusedError, admit, parse
from sipguard.feeds.web import Answer, Web, redact
from sipguard.model import Feed
from sipguard.text import printable

log = logging.getLogger("sipguard.feeds")

SIZE = 1 << 20
"""Bytes of one answer: eighty times what a full page has."""
MOST = 500_000
"""Entries; no list of attackers has more, and beyond it memory and disk are in danger."""
_PATIENCE = 4
"""Answers of `rate limit exceeded` in a row, each followed by a longer wait, before the fetch ends as failed."""


class RateLimitError(FeedError):
    """The server says that there were too many requests; `after` is how long it asks us to wait, 0 if it does not say."""

    def __init__(self, after: float) -> None:
        self.after = after
        super().__init__("the server says that its rate limit is exceeded; does another client use the same key?")


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: addresses in canonical text, how many were refused, and the ID behind them."""

    networks: tuple[str, ...]
    refused: int
    next_id: str


def read_answer(answer: Answer, asked: str) -> Page | None:
    """Read the answer to a question for what is behind ID `asked`; None when the list is complete.

    Raises `RateLimitError` and `FeedError`: nothing in the answer may be used.
    """
    listed, next_id = _fields(answer.body)
    words = [listed] if isinstance(listed, str) else listed
    said = " ".join(word for word in words[:1] if isinstance(word, str))[:100]
    if answer.status == 429 or "rate limit" in said.lower():
        raise RateLimitError(_retry_after(answer))
    if answer.status in (401, 403) or next_id == "unauthorized":
        raise FeedError(f"the server refuses the key (status {answer.status}); is it right, and still valid?")
    if answer.status in (200, 400) and next_id == "none" and not any(_is_address(word) for word in words):
        # 400 in the present documentation, 200 in older ones.
        return None
    if answer.status != 200:
        raise FeedError(f"the server answers with status {answer.status}{': ' if said else ''}{printable(said)}")
    return _page(words, next_id, asked)


def _fields(body: bytes) -> tuple[Any, str]:
    """`ipaddress` and `ID` of an answer, empty where they are not."""
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
        raise FeedError("the answer is not what APIBAN's documentation says: no list with an ID")
    if int(next_id) <= int(asked):
        raise FeedError(f"the answer leads from ID {asked} back to {next_id}")
    networks: dict[str, None] = {}
    refused = nonsense = 0
    for word in words:
        try:
            networks[admit(str(word))] = None
        except RefusedError:
            refused += 1
        except ValueError:
            nonsense += 1
    # One odd entry must not keep all that come behind it away for ever; a page of them is no list.
    if nonsense > len(words) / 2:
        raise FeedError(f"the answer lists what is no address: {printable(str(words[0]), 60)!r}")
    if not words:
        raise FeedError("the answer has an ID and no address")
    return Page(tuple(networks), refused + nonsense, next_id)


def _is_address(word: object) -> bool:
    try:
        parse(str(word))
    except ValueError:
        return False
    return True


def _retry_after(answer: Answer) -> float:
    """Seconds of the header Retry-After (RFC 9110, 10.2.3); its form with a date is not used for limits."""
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0.0


class Apiban:
    """Fetches what is new, page by page."""

    def __init__(self, feed: Feed, *, web: Web, limiter: Limiter, pace: Pace, sleep: Sleep) -> None:
        self._feed = feed
        self._web = web
        self._limiter = limiter
        self._pace = pace
        self._sleep = sleep

    async def fetch(
        self,
        begin: str,
        *,
        store: Callable[[Page], Awaitable[int]],
        waiting: Callable[[], Awaitable[None]],
    ) -> None:
        """Fetch what is behind ID `begin` until the list is complete. Raises `FeedError`; what has arrived is stored.

        `store` stores a page and gives the number of entries; `waiting` is called before a wait of some length.
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
                log.info("Feed %s: rate limit exceeded at ID %s, going on in %.0f s", self._feed.name, asked, wait)
                await self._sleep(min(wait, self._pace.longest_pause))
                continue
            refusals = 0
            if page is None:
                return
            if await store(page) > MOST:
                raise FeedError(f"more than {MOST:,} entries: that is no list of attackers")
            asked = page.next_id

    async def _ask(self, asked: str, waiting: Callable[[], Awaitable[None]]) -> Page | None:
        if self._limiter.wait() > 0:
            await waiting()
        while (wait := self._limiter.wait()) > 0:
            await self._sleep(wait)
        url = f"{self._feed.url.rstrip('/')}/{self._feed.key}/banned/{asked}"
        await self._limiter.sending()
        try:
            answer = await self._web.get(url, seconds=self._pace.answer, size=SIZE)
        finally:
            await self._limiter.answered()
        try:
            return read_answer(answer, asked)
        except RateLimitError:
            raise
        except FeedError as error:
            problem = redact(str(error), self._feed.key)
        raise FeedError(problem)
