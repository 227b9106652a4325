"""Fetches the two kinds of feed: APIBAN adds page by page; a block list replaces the previous one as a whole."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from sipguard.errors import FeedError
from sipguard.feeds.apiban import Apiban, Page
from sipguard.feeds.job import Job
from sipguard.feeds.lists import parse_list
from sipguard.feeds.pace import Limiter


class ApibanJob(Job):
    """Fetches APIBAN. Each page is stored as it arrives; entries expire by age."""

    async def _fetch(self, *, accept: bool) -> None:
        store, name, shared = self.shared.store, self.feed.name, self.shared
        await self.do(store.expire, name, shared.clock())
        if not await self.do(store.count, name, shared.clock()):
            # The local copy is empty: first run, days without an answer, or the server's IDs restarted. Fetch the full list.
            self.state.next_id = self.feed.start
        save = lambda times: self.do(store.save_requests, name, list(times))  # noqa: E731
        limiter = Limiter(shared.pace, await self.do(store.requests, name), save, shared.clock)
        client = Apiban(self.feed, web=self.web, limiter=limiter, pace=shared.pace, sleep=shared.sleep)

        async def waiting() -> None:
            await self._judge(accept=accept, whole=False)

        self.state.refused = 0
        await client.fetch(self.state.next_id, store=self._store_page, waiting=waiting)
        self.state.fetched = shared.clock()
        await self._judge(accept=accept, whole=True)

    async def _store_page(self, page: Page) -> int:
        now = self.shared.clock()
        # Adopt the new state only once it is stored: a full disk must not move the ID past an unsaved page.
        state = replace(self.state, next_id=page.next_id, refused=self.state.refused + page.refused)
        await self.do(self.shared.store.add_page, state, page.networks, now + self.feed.expiry)
        self.state = state
        return await self.do(self.shared.store.count, self.feed.name, now)

    async def _judge(self, *, accept: bool, whole: bool) -> None:
        """Apply everything that has arrived, unless it must be held. Only a whole list sets the base for `max_growth`."""
        entries = await self.do(self.shared.store.entries, self.feed.name, self.shared.clock())
        judged = await self.sift(entries)
        if await self.unfit(dict(entries), judged.sifted, accept=accept):
            return
        if whole:
            self.state.entries, self.state.addresses = len(entries), judged.sifted.addresses
        await self.do(self.shared.store.accept, self.state)
        await self.apply(self.next_turn(), entries, judged)


class _Found(NamedTuple):
    """A list that has changed, with the validators that identify this version."""

    body: bytes
    etag: str
    modified: str


class ListJob(Job):
    """Fetches a list by URL or file. Unlisted entries are removed; all expire if no valid list arrives for `expiry`."""

    async def _fetch(self, *, accept: bool) -> None:
        found = await (self._from_file() if self.feed.file else self._download())
        now = self.shared.clock()
        until = now + self.feed.expiry
        if found is None:
            state = replace(self.state, fetched=now)
            await self.do(self.shared.store.renew, state, until)
            self.state = state
            await self.reapply()
            return
        parsed = await self.do(parse_list, found.body, self.feed.format)
        entries = dict.fromkeys(parsed.networks, until)
        judged = await self.sift(entries.items())
        self.numbers.refused = dict(parsed.refused)
        self.state.refused = parsed.refused.total() + parsed.nonsense
        if await self.unfit(entries, judged.sifted, accept=accept):
            return
        state = replace(self.state, fetched=now, etag=found.etag, modified=found.modified)
        state.entries, state.addresses = len(entries), judged.sifted.addresses
        await self.do(self.shared.store.replace, state, entries, until)
        self.state = state
        await self.apply(self.next_turn(), entries.items(), judged)

    async def _download(self) -> _Found | None:
        headers = {}
        if self.state.fetched and not self.state.held:
            headers = {"if-none-match": self.state.etag, "if-modified-since": self.state.modified}
            headers = {name: value for name, value in headers.items() if value}
        seconds = self.shared.pace.download
        answer = await self.web.get(self.feed.url, seconds=seconds, size=self.feed.max_size, headers=headers)
        if answer.status == 304 and headers:
            return None
        if answer.status != 200:
            raise FeedError(f"{urlsplit(self.feed.url).hostname} answers with status {answer.status}")
        return _Found(answer.body, answer.headers.get("etag", "")[:500], answer.headers.get("last-modified", "")[:100])

    async def _from_file(self) -> _Found | None:
        known = self.state.etag if self.state.fetched and not self.state.held else ""
        return await self.do(_read_file, Path(self.feed.file), self.feed.max_size, known)


def _read_file(path: Path, size: int, known: str) -> _Found | None:
    """Read a list from a local file; None if it has not changed. Raises `FeedError`."""
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for its writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 (a descriptor)
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FeedError(f"{path} is not a regular file")
            mark = f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
            body = b"" if mark == known else file.read(size + 1)
    except OSError as error:
        raise FeedError(f"{path} cannot be read: {error.strerror}") from None
    if len(body) > size:
        raise FeedError(f"{path} is larger than {size} bytes")
    return None if mark == known else _Found(body, mark, "")
