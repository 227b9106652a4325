"""How the two kinds of feed are fetched: APIBAN in pages that add up, a list as a whole that replaces what was."""

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
    """APIBAN: each page is stored as it comes; entries end by age."""

    async def _fetch(self, *, accept: bool) -> None:
        store, name, shared = self.shared.store, self.feed.name, self.shared
        await self.do(store.expire, name, shared.clock())
        if not await self.do(store.count, name, shared.clock()):
            # Nothing is left: a first run, days without an answer, or a server whose IDs began anew. The full list again.
            self.state.next_id = self.feed.start
        limiter = Limiter(shared.pace, await self.do(store.requests, name), self._save_requests, shared.clock)
        client = Apiban(self.feed, web=self.web, limiter=limiter, pace=shared.pace, sleep=shared.sleep)

        async def waiting() -> None:
            await self._judge(accept=accept, whole=False)

        self.state.refused = 0
        await client.fetch(self.state.next_id, store=self._store_page, waiting=waiting)
        self.state.fetched = shared.clock()
        await self._judge(accept=accept, whole=True)

    async def _save_requests(self, times: list[float]) -> None:
        await self.do(self.shared.store.save_requests, self.feed.name, list(times))

    async def _store_page(self, page: Page) -> int:
        now = self.shared.clock()
        # A new state, and ours only when it is stored: a disk that is full must not move the ID past a page.
        state = replace(self.state, next_id=page.next_id, refused=self.state.refused + page.refused)
        await self.do(self.shared.store.add_page, state, page.networks, now + self.feed.expiry)
        self.state = state
        return await self.do(self.shared.store.count, self.feed.name, now)

    async def _judge(self, *, accept: bool, whole: bool) -> None:
        """Apply all that has arrived, if it is fit. Only a whole list is what later growth is measured by."""
        entries = await self.do(self.shared.store.entries, self.feed.name, self.shared.clock())
        judged = await self.sift(entries)
        if await self.unfit(dict(entries), judged.sifted, accept=accept):
            return
        if whole:
            self.state.entries, self.state.addresses = len(entries), judged.sifted.addresses
        await self.do(self.shared.store.accept, self.state)
        await self.apply(self.next_turn(), entries, judged)


class _Found(NamedTuple):
    """A list that is not the one that is known, and by what it is known again."""

    body: bytes
    etag: str
    modified: str


class ListJob(Job):
    """A list by URL or file: what is no longer listed leaves, and all of it ends when no good list comes for `expiry`."""

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
    """Read a list of this machine; None when it is the known one. Raises `FeedError`."""
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for its writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 (a descriptor)
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FeedError(f"{path} is not a file")
            mark = f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
            body = b"" if mark == known else file.read(size + 1)
    except OSError as error:
        raise FeedError(f"{path} cannot be read: {error.strerror}") from None
    if len(body) > size:
        raise FeedError(f"{path} has more than {size} bytes")
    return None if mark == known else _Found(body, mark, "")
