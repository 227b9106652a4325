"""One connection to a server: sends a request and reads the answer."""

from __future__ import annotations

import contextlib
import pickle
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from sipguard.fail2ban.protocol.answers import read
from sipguard.fail2ban.protocol.messages import CLOSE, END

_PIECE = 1 << 16


class Connection:
    """A connection to the socket `path`. `timeout` is in seconds; None waits for ever. Raises `OSError` if nobody answers."""

    def __init__(self, path: str, timeout: float | None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(CLOSE + END)
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def ask(self, command: Sequence[Any]) -> Any:
        """Send a command and return `(0, value)` or `(1, RemoteError)`. Raises `OSError`, `UnpickleError`."""
        self._socket.sendall(pickle.dumps(list(command), 5) + END)
        answer = bytearray()
        while not answer.endswith(END):
            piece = self._socket.recv(_PIECE)
            if not piece:
                raise ConnectionResetError(104, "Connection reset by peer")
            answer += piece
        return read(bytes(answer[: -len(END)]))
