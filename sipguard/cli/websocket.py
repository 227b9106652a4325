"""A WebSocket to a SIP server of this machine (RFC 6455, RFC 7118): as much of it as `sipguard selftest` needs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import socket
import struct
from typing import Self

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_LONGEST_HEAD, _LONGEST_MESSAGE = 8192, 1 << 16
"""Bytes."""
_MOST_FRAMES = 100
_TEXT, _BINARY, _CLOSE = 1, 2, 8


class WebSocket:
    """A connected socket after the handshake; `sendall` and `recv` are about whole messages. Raises `OSError`."""

    type = socket.SOCK_DGRAM
    """What comes is whole, as over UDP."""

    def __init__(self, sock: socket.socket, host: str) -> None:
        self._sock = sock
        self._data = b""
        key = base64.b64encode(secrets.token_bytes(16))
        head = ["GET /ws HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
        head += [f"Sec-WebSocket-Key: {key.decode()}", "Sec-WebSocket-Protocol: sip", "Sec-WebSocket-Version: 13"]
        sock.sendall("\r\n".join([*head, "", ""]).encode())
        while b"\r\n\r\n" not in self._data:
            if len(self._data) > _LONGEST_HEAD:
                raise OSError("no WebSocket: its answer to the handshake has no end")
            self._data += self._more()
        answer, _, self._data = self._data.partition(b"\r\n\r\n")
        status, *lines = answer.decode("latin-1").split("\r\n")
        told = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        accepted = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()  # noqa: S324 - RFC 6455 wants it
        if " 101" not in status or told.get("sec-websocket-accept") != accepted:
            raise OSError(f"no WebSocket: answers {status[:60]!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._send(_CLOSE, b"")
        self._sock.close()

    def getsockname(self) -> tuple[str, int]:
        """This end's address and port."""
        address, port, *_ = self._sock.getsockname()
        return address, port

    def sendall(self, message: bytes) -> None:
        """Send a message."""
        self._send(_TEXT, message)

    def recv(self, _most: int) -> bytes:
        """The next message, its parts put together; empty when the server hangs up. Others' pings need no answer here."""
        message = b""
        for _ in range(_MOST_FRAMES):
            kind, last, payload = self._frame()
            if kind == _CLOSE:
                return b""
            if kind in (0, _TEXT, _BINARY):
                message += payload
                if len(message) > _LONGEST_MESSAGE:
                    raise OSError("a message over the WebSocket has no end")
                if last:
                    return message
        raise OSError("a message over the WebSocket has no end")

    def _send(self, kind: int, payload: bytes) -> None:
        """One frame; a client's are masked (RFC 6455, section 5.3)."""
        mask = secrets.token_bytes(4)
        length = len(payload)
        size = struct.pack(">B", 0x80 | length) if length < 126 else struct.pack(">BH", 0x80 | 126, length)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self._sock.sendall(bytes([0x80 | kind]) + size + mask + masked)

    def _frame(self) -> tuple[int, bool, bytes]:
        first, size = self._take(2)
        length = size & 0x7F
        if length > 125:
            length = int.from_bytes(self._take(2 if length == 126 else 8), "big")
        if length > _LONGEST_MESSAGE:
            raise OSError("a frame over the WebSocket is too long")
        return first & 0xF, bool(first & 0x80), self._take(length)

    def _take(self, size: int) -> bytes:
        while len(self._data) < size:
            self._data += self._more()
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def _more(self) -> bytes:
        """Raises `ConnectionResetError` when the server hangs up."""
        if not (data := self._sock.recv(_LONGEST_MESSAGE)):
            raise ConnectionResetError("the server hangs up")
        return data
