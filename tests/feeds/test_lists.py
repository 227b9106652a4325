"""Block lists: every format, fetched over HTTPS or from a file, unchanged, changed, broken, and gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.errors import FeedError
from sipguard.feeds.lists import parse_list
from sipguard.feeds.manager import Manager
from sipguard.feeds.store import FeedStore
from sipguard.firewall.memory import MemoryFirewall
from sipguard.model import Feed
from tests.feeds.conftest import PACE, Sink, managing
from tests.feeds.web_server import ListServer, Proxy

PLAIN = b"# a list\n203.0.113.5\n203.0.113.64/26 ; SBL1\n\n2001:db8::/64\t# x\n198.51.100.1,bad\n"
IPSET = (
    b"create bad hash:net family inet hashsize 1024 maxelem 65536\nadd bad 203.0.113.5 timeout 60\n"
    b"add bad 203.0.113.64/26\nadd bad 2001:db8::/64\nadd bad 198.51.100.1,udp:5060\n"
)
JSONL = (
    b'{"cidr":"203.0.113.5/32","sblid":"SBL1"}\n{"cidr":"203.0.113.64/26"}\n{"ip": "2001:db8::/64"}\n"198.51.100.1"\n'
    b'{"type":"metadata","size":4}\n'
)
HOLDS = ["198.51.100.1", "2001:db8::/64", "203.0.113.5", "203.0.113.64/26"]


@pytest.mark.parametrize(
    ("data", "form"),
    [
        pytest.param(PLAIN, "auto", id="plain-guessed"),
        *(pytest.param(PLAIN, form, id=form) for form in ("plain", "cidr", "netset")),
        pytest.param(b"\xef\xbb\xbf" + PLAIN.replace(b"\n", b"\r\n"), "auto", id="bom-crlf"),
        *(pytest.param(IPSET, form, id=f"ipset-{form}") for form in ("ipset", "auto")),
        *(pytest.param(JSONL, form, id=f"jsonl-{form}") for form in ("jsonl", "auto")),
    ],
)
def test_formats(data, form):
    """The same list in every format."""
    parsed = parse_list(data, form)
    assert sorted(parsed.networks) == HOLDS
    assert parsed.nonsense == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "contains no address", id="empty"),
        pytest.param(b"# nothing\n", "contains no address", id="comments"),
        pytest.param(b"<html><body>\n<p>Please log in</p>\n</html>\n", "contain no address", id="html"),
        pytest.param(b"203.0.113.5\n" + b"who knows\n" * 5, "contain no address", id="mostly-words"),
        pytest.param(b"10.0.0.1\n127.0.0.1\n", "contains no address", id="private"),
        pytest.param(b"\x00\xff" * 500, "contain no address", id="binary"),
        pytest.param(b'{"a": ' * 5000, "contain no address", id="deep-json"),
    ],
)
def test_what_is_no_list(data, message):
    """A page that is no list is not taken for an empty one."""
    with pytest.raises(FeedError, match=message):
        parse_list(data)


@given(st.binary(), st.sampled_from(["auto", "plain", "ipset", "jsonl"]))
def test_any_bytes(data, form):
    """Whatever comes, it is a list with something in it or a FeedError."""
    with contextlib.suppress(FeedError):
        assert parse_list(data, form).networks


def test_refused_entries_are_counted():
    """Private addresses in a list are left out and counted by reason."""
    parsed = parse_list(b"203.0.113.5\n192.168.1.1\n10.0.0.0/8\n0.0.0.0/0\n")
    assert list(parsed.networks) == ["203.0.113.5"]
    assert parsed.refused == {"private": 2, "wider than /8": 1}


@pytest.fixture
def server(certificates):
    server = ListServer(certificates[1], PLAIN)
    yield server
    server.close()


class Time:
    now = 1_795_000_000.0

    def __call__(self):
        return self.now


def held(sink):
    return sorted(entry.address for entry in sink.firewall.feeds.entries("drop"))


def test_by_url(server, ca_file, tmp_path):
    """Fetched, unchanged (304 renews it), changed, broken for longer than it lasts: gone by age, not before."""
    clock = Time()
    sink = Sink(MemoryFirewall(clock=clock))
    feed = Feed("drop", url=f"{server.url}/list", ca_file=ca_file, expiry=1000.0, interval=60.0)

    async def run():
        seen = []
        async with managing([feed], tmp_path, sink, clock=clock) as manager:
            for wait, change in (
                (0, {}),
                (900, {}),
                (900, {"body": b"203.0.113.9\n", "etag": '"2"'}),
                (900, {"body": b"<html>", "etag": '"3"'}),
                (50, {"status": 503}),
                (60, {}),
            ):
                clock.now += wait
                for name, value in change.items():
                    setattr(server, name, value)
                status = await manager.refresh("drop")
                seen.append((held(sink), bool(status["problem"])))
        return seen

    changed = ["203.0.113.9"]
    assert asyncio.run(run()) == [
        (HOLDS, False), (HOLDS, False), (changed, False), (changed, True), (changed, True), ([], True)
    ]  # fmt: skip
    assert server.statuses == [200, 304, 200, 200, 503, 503]


def test_by_file(tmp_path, ca_file):
    """A file is read when it changed; a missing one, a folder, a FIFO or one too large keeps the last good list."""
    path = tmp_path / "list.txt"
    path.write_bytes(PLAIN)
    clock = Time()
    sink = Sink(MemoryFirewall(clock=clock))
    feed = Feed("drop", file=str(path), max_size=1000)

    async def run():
        problems = []
        async with managing([feed], tmp_path / "state", sink, clock=clock) as manager:
            for step in (lambda: None, lambda: path.write_bytes(b"\n" * 2000), path.unlink, lambda: os.mkfifo(path)):
                step()
                problems.append((await manager.refresh("drop"))["problem"])
        return problems

    problems = asyncio.run(run())
    assert held(sink) == HOLDS
    for problem, part in zip(
        problems[1:], ("larger than 1000 bytes", "No such file", "is not a regular file"), strict=True
    ):
        assert part in problem
    assert problems[0] is None


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        pytest.param("/other", "", id="same-host"),
        pytest.param("http://127.0.0.1:1/x", "redirects to 127.0.0.1 without TLS", id="no-tls"),
        pytest.param("/list", "too many redirects", id="loop"),
    ],
)
def test_redirects(server, ca_file, tmp_path, sink, target, problem):
    """A list may have moved, but not to where nobody vouches for it; what may be secret in its address is not shown."""
    server.redirect = target

    async def run():
        feed = Feed("drop", url=f"{server.url}/list?token=s3cret", ca_file=ca_file)
        async with managing([feed], tmp_path, sink) as manager:
            return await manager.refresh("drop")

    status = asyncio.run(run())
    assert problem in (status["problem"] or "")
    assert bool(status["problem"]) is bool(problem)
    assert "s3cret" not in str(status)


def test_several_feeds(server, ca_file, tmp_path, sink):
    """Feeds are apart, the one of the lowest priority number first; one address in two is named by both."""
    (tmp_path / "a.txt").write_text("203.0.113.0/24\n")
    feeds = [Feed("file", file=str(tmp_path / "a.txt")), Feed("drop", url=server.url, ca_file=ca_file, priority=1)]

    async def run():
        async with managing(feeds, tmp_path, sink) as manager:
            for feed in feeds:
                await manager.refresh(feed.name)
            with pytest.raises(FeedError, match="no feed named x; configured feeds: drop, file"):
                await manager.refresh("x")
            return manager.status(), await manager.holding("203.0.113.5"), await manager.holding("192.0.2.1")

    status, both, none = asyncio.run(run())
    assert [one["name"] for one in status] == ["drop", "file"]
    assert [(one["feed"], one["network"]) for one in both] == [("drop", "203.0.113.5"), ("file", "203.0.113.0/24")]
    assert none == []


def test_broken_local_copy(server, ca_file, tmp_path, sink):
    """A local copy that is no database is put aside, and the feed fetched anew."""
    (tmp_path / "feeds.db").write_bytes(b"no database at all " * 1000)

    async def run():
        async with managing([Feed("drop", url=server.url, ca_file=ca_file)], tmp_path, sink) as manager:
            return await manager.refresh("drop")

    assert asyncio.run(run())["problem"] is None
    assert held(sink) == HOLDS
    assert len(list(tmp_path.glob("feeds.db.aside-*"))) == 1


def test_fetches_by_itself(server, ca_file, tmp_path):
    """A started manager fetches a new feed at once, and a refresh does not wait for its time."""
    feed = Feed("drop", url=server.url, ca_file=ca_file)
    clock = Time()
    # The same clock for both: by today's, entries that end seven days after that date are over.
    sink = Sink(MemoryFirewall(clock=clock))

    async def run():
        manager = Manager([feed], tmp_path, sink, lambda: (), clock=clock, pace=PACE)
        await manager.start()
        while not held(sink):
            await asyncio.sleep(0.01)
        status = await manager.refresh("drop")
        await manager.close()
        return status

    assert asyncio.run(run())["entries"] == 4
    assert server.statuses == [200, 304]


def test_protected_while_it_is_stored(tmp_path, sink, monkeypatch):
    """An address that becomes ours after a list was judged, and before it is applied, is let through."""
    (tmp_path / "a.txt").write_text("203.0.113.4/31\n")
    protected = []
    original = FeedStore.replace

    def replace(self, *arguments):
        original(self, *arguments)
        protected.append("203.0.113.5")

    monkeypatch.setattr(FeedStore, "replace", replace)

    async def run():
        async with managing(
            [Feed("drop", file=str(tmp_path / "a.txt"))], tmp_path, sink, protected=protected
        ) as manager:
            await manager.refresh("drop")

    asyncio.run(run())
    assert held(sink) == ["203.0.113.4"]


def test_a_flush_while_it_is_stored(tmp_path, sink, monkeypatch):
    """The firewall is put back from the copy while a new list is being stored: the new list wins, whichever comes last."""
    path = tmp_path / "a.txt"
    path.write_text("203.0.113.4\n")
    original = FeedStore.replace
    stored = threading.Event()

    def replace(self, *arguments):
        original(self, *arguments)
        stored.set()

    async def run():
        async with managing([Feed("drop", file=str(path))], tmp_path, sink) as manager:
            await manager.refresh("drop")
            path.write_text("203.0.113.6\n")
            monkeypatch.setattr(FeedStore, "replace", replace)
            fetching = asyncio.create_task(manager.refresh("drop"))
            while not stored.is_set():
                await manager.reapply()
                await asyncio.sleep(0)
            await asyncio.gather(fetching, manager.reapply())

    asyncio.run(run())
    assert held(sink) == ["203.0.113.6"]


def test_proxy_of_the_environment(server, ca_file, tmp_path, sink, monkeypatch):
    """HTTPS_PROXY is used, sees the host and not the path, and the certificate is checked behind it."""
    proxy = Proxy()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    async def run():
        async with managing([Feed("drop", url=f"{server.url}/s3cret", ca_file=ca_file)], tmp_path, sink) as manager:
            return await manager.refresh("drop")

    assert asyncio.run(run())["problem"] is None
    proxy.close()
    assert proxy.asked == [f"CONNECT {server.url.removeprefix('https://')} HTTP/1.1"]


@pytest.mark.parametrize("target", ["https://[::1", "https://", "//", "https://127.0.0.1:x/"])
def test_redirect_to_nowhere(server, ca_file, tmp_path, sink, target):
    """An address that is none is a problem told in one line."""
    server.redirect = target

    async def run():
        async with managing([Feed("drop", url=f"{server.url}/list", ca_file=ca_file)], tmp_path, sink) as manager:
            return await manager.refresh("drop")

    problem = asyncio.run(run())["problem"]
    assert problem.startswith("127.0.0.1")
    assert problem.isprintable()


def test_state_directory_in_the_way(server, ca_file, tmp_path, sink):
    """A state directory that cannot be used is a problem of the feed; it works as soon as that is mended."""
    (tmp_path / "state").write_text("a file")

    async def run():
        feed = Feed("drop", url=server.url, ca_file=ca_file)
        async with managing([feed], tmp_path / "state", sink) as manager:
            broken = await manager.refresh("drop")
            (tmp_path / "state").unlink()
            return broken, await manager.refresh("drop")

    broken, mended = asyncio.run(run())
    assert "local copy" in broken["problem"]
    assert (mended["problem"], held(sink)) == (None, HOLDS)
