"""Sockets to answer on: never another's, never open for others, never left behind."""

import asyncio
import socket
import stat

import pytest
from limits import PATIENCE

from sipguard.errors import StateError
from sipguard.sockets import cut, listening

MEND = "give another place with --socket"


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_made_for_few_and_removed(tmp_path, mode):
    """With the permissions that were asked for, in a folder that may have to be made; gone at the end."""
    path = tmp_path / "run" / "s.sock"
    with listening(path, mend=MEND, mode=mode) as sock:
        assert stat.S_IMODE(path.lstat().st_mode) == mode
        sock.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


def test_what_a_dead_process_left(tmp_path):
    """Nobody listens there: it is taken."""
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with listening(path, mend=MEND):
        pass


def test_somebody_who_is_too_busy_to_accept(tmp_path):
    """Is not taken for dead."""
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
        busy.bind(str(path))
        busy.listen(0)
        client.connect(str(path))
        with (
            pytest.raises(StateError, match=f"another process answers there; stop it, or {MEND}"),
            listening(path, mend=MEND),
        ):
            pass
        assert path.is_socket()


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_something_else(tmp_path, kind):
    """Is left alone, and told of."""
    path, beside = tmp_path / "s.sock", tmp_path / "precious"
    beside.write_text("precious")
    {"file": lambda: path.write_text("precious"), "link": lambda: path.symlink_to(beside), "folder": path.mkdir}[kind]()
    with pytest.raises(StateError, match="is not a socket"), listening(path, mend=MEND):
        pass
    assert path.exists()
    assert beside.read_text() == "precious"


def test_a_place_that_cannot_be(tmp_path):
    """One line that says how to mend it."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "s.sock", tmp_path / ("long" * 40)):
        with pytest.raises(StateError, match=MEND) as raised, listening(path, mend=MEND):
            pass
        assert "\n" not in str(raised.value)


def test_cut_after_the_last_bytes_went_out(tmp_path):
    """A connection that was closed while its answer was still on the way has ended by itself; to cut it is no error."""

    async def answer_and_cut():
        cuts = asyncio.Queue()

        async def client(_reader, writer):
            writer.write(b"x" * 4_000_000)
            writer.close()
            await writer.wait_closed()
            cut(writer)
            cuts.put_nowait(True)

        with listening(tmp_path / "s.sock", mend=MEND) as sock:
            server = await asyncio.start_unix_server(client, sock=sock)
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock")
            read = len(await reader.read())
            writer.close()
            async with asyncio.timeout(PATIENCE):
                done = await cuts.get()
            server.close()
        return read, done

    assert asyncio.run(answer_and_cut()) == (4_000_000, True)
