"""The socket: several requests on one connection, and clients that lie, sleep, flood or go."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import stat

import pytest

from sipguard.daemon.compat import server as module
from sipguard.daemon.compat.server import Server
from sipguard.errors import StateError
from sipguard.fail2ban.protocol.messages import CLOSE, END

_awake = asyncio.Event()
"""Set when the one test's clients that nap may get their answers."""


async def _answer(request):
    """Answers with the request; a word makes it wait, fail, or be large."""
    match request:
        case ["wait"]:
            await asyncio.sleep(30)
        case ["nap"]:
            await _awake.wait()
        case ["fail"]:
            raise IndexError("list index out of range")
        case ["large"]:
            return "x" * 50_000_000
    return request


async def _ask(path, *requests):
    """Send requests on one connection; their answers, unpickled."""
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 27)
    try:
        answers = []
        for request in requests:
            writer.write((request if isinstance(request, bytes) else pickle.dumps(request)) + END)
            answers.append(pickle.loads((await reader.readuntil(END))[: -len(END)]))
        return answers
    finally:
        writer.close()


def _run(tmp_path, scenario):
    """Run a coroutine against a server."""

    async def run():
        server = Server(tmp_path / "f2b.sock", _answer)
        async with server.serving():
            async with asyncio.timeout(120):
                return await scenario(server)

    return asyncio.run(run())


def test_several_requests(tmp_path):
    """One connection, many questions, in order; the socket is for its owner alone."""

    async def scenario(server):
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        return await _ask(server.path, ["a"], ["fail"], ["b", 1])

    first, error, last = _run(tmp_path, scenario)
    assert (first, last) == ((0, ["a"]), (0, ["b", 1]))
    assert (error[0], type(error[1])) == (1, IndexError)
    assert not (tmp_path / "f2b.sock").exists()


def test_unreadable_request(tmp_path):
    """It gets a text, and the connection goes on."""
    answers = _run(tmp_path, lambda server: _ask(server.path, b"cos\nsystem\n(S'true'\ntR.", b"garbage", b"", ["a"]))
    assert [str(one)[:6] for one in answers[:3]] == ["ERROR:"] * 3
    assert answers[3] == (0, ["a"])


def test_pieces_and_close(tmp_path):
    """A request may come byte by byte; the close mark ends the connection without an answer."""

    async def scenario(server):
        reader, writer = await asyncio.open_unix_connection(server.path)
        for byte in pickle.dumps(["a"]) + END:
            writer.write(bytes([byte]))
            await writer.drain()
        answer = await reader.readuntil(END)
        writer.write(pickle.dumps(["b"]) + END + CLOSE + END)
        rest = await reader.read()
        writer.close()
        return answer, rest

    answer, rest = _run(tmp_path, scenario)
    assert pickle.loads(answer) == (0, ["a"])
    assert pickle.loads(rest) == (0, ["b"])
    assert rest.count(END) == 1


async def _connections(stack, path, count):
    made = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_unix_connection(path)
            stack.callback(writer.close)
            made.append((reader, writer))
    return made


def test_hostile_crowd(tmp_path, monkeypatch):
    """Ten megabytes of garbage, requests without end, waiters and sleepers: others are answered meanwhile."""
    monkeypatch.setattr(module, "LONGEST", 1 << 20)
    monkeypatch.setattr(module, "MOST_WAITING", 3 << 20)

    async def scenario(server):
        with contextlib.ExitStack() as stack:
            crowd = await _connections(stack, server.path, 60)
            for number, (_, writer) in enumerate(crowd):
                writer.write(
                    [b"x" * (10 << 20), pickle.dumps(["wait"]) + END, b"<F2B_END_COMM", END * 1000][number % 4]
                )
            await asyncio.sleep(0.2)
            answers = [await _ask(server.path, ["a"]) for _ in range(20)]
            assert server._waiting < 5 << 20
            return answers

    assert _run(tmp_path, scenario) == [[(0, ["a"])]] * 20


def test_flood_of_connections(tmp_path, monkeypatch):
    """Who only connects keeps nobody out: the most silent go, and a question is answered meanwhile and afterwards."""
    monkeypatch.setattr(module, "MOST_CLIENTS", 20)

    async def scenario(server):
        with contextlib.ExitStack() as stack:
            crowd = await _connections(stack, server.path, 300)
            during = await _ask(server.path, ["a"])
            while sum(reader.at_eof() for reader, _ in crowd) < 281:  # the scenario's time limit ends a wait in vain
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.1)
            closed = [reader.at_eof() for reader, _ in crowd]
        return closed, during, await _ask(server.path, ["b"])

    closed, during, after = _run(tmp_path, scenario)
    assert (during, after) == ([(0, ["a"])], [(0, ["b"])])
    assert all(closed[:280])
    assert sum(closed) == 281


def test_clients_that_wait_for_answers_are_kept(tmp_path, monkeypatch):
    """When all are at work, one more is turned away, and nobody's answer is lost."""
    monkeypatch.setattr(module, "MOST_CLIENTS", 5)

    async def scenario(server):
        async with asyncio.TaskGroup() as group:
            busy = [group.create_task(_ask(server.path, ["nap"])) for _ in range(5)]
            while len(server._clients) - len(server._silent) < 5:
                await asyncio.sleep(0.02)
            reader, writer = await asyncio.open_unix_connection(server.path)
            turned_away = await reader.read()
            writer.close()
            _awake.set()
        return turned_away, [task.result() for task in busy]

    assert _run(tmp_path, scenario) == (b"", [[(0, ["nap"])]] * 5)


def test_who_never_reads_is_dropped(tmp_path, monkeypatch):
    """An answer that nobody takes does not stay in memory."""
    monkeypatch.setattr(module, "SLOW", 0.2)

    async def scenario(server):
        reader, writer = await asyncio.open_unix_connection(server.path, limit=1024)
        writer.write(pickle.dumps(["large"]) + END)
        while not server._clients:
            await asyncio.sleep(0.01)
        while server._clients:  # the scenario's time limit ends a wait in vain
            await asyncio.sleep(0.05)
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readexactly(50_000_000)
        writer.close()

    _run(tmp_path, scenario)


def test_who_says_nothing_is_dropped(tmp_path, monkeypatch):
    """A connection without a request ends."""
    monkeypatch.setattr(module, "IDLE", 0.1)

    async def scenario(server):
        reader, writer = await asyncio.open_unix_connection(server.path)
        rest = await reader.read()
        writer.close()
        return rest

    assert _run(tmp_path, scenario) == b""


def test_stale_and_living_sockets(tmp_path):
    """What a killed server left is replaced; one that answers, or a file that is no socket, is refused."""
    path = tmp_path / "f2b.sock"

    async def twice(server):
        with pytest.raises(StateError, match="answers there"):
            async with Server(server.path, _answer).serving():
                pass
        return await _ask(server.path, ["a"])

    assert _run(tmp_path, twice) == [(0, ["a"])]
    import socket

    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert _run(tmp_path, lambda server: _ask(server.path, ["a"])) == [(0, ["a"])]
    path.write_text("mine")
    with pytest.raises(StateError, match="not a socket"):
        _run(tmp_path, lambda server: _ask(server.path, ["a"]))
    assert path.read_text() == "mine"
