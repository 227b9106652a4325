"""Cuts a byte stream into SIP messages (RFC 3261, 18.3), WebSocket ones too (RFC 7118). Nothing here raises."""

from __future__ import annotations

import re

HEAD_LIMIT = 16 << 10
"""Bytes of a message's head, and of what is skipped at once."""
MESSAGE_LIMIT = 64 << 10

_HEAD_END = re.compile(rb"\r\n\r\n|\n\r?\n|\r\r")
_LENGTH = re.compile(rb"[\r\n](?:content-length|l)[ \t]*:[ \t]*(\d{1,7})", re.IGNORECASE)
_START = re.compile(rb"(?:^|[\r\n])((?:SIP/2\.0[ \t]|[A-Z]{3,16}[ \t]+[^\r\n]{1,4096}SIP/2\.0))", re.IGNORECASE)
_UPGRADE = re.compile(rb"GET [^\r\n]* HTTP/1\.|HTTP/1\.1 101")
_CONTROL = 8
"""WebSocket operation codes from here on are control frames."""


class Stream:
    """One direction of a connection. `lost` is set when it cannot be read any further: no SIP (TLS, say), or too large."""

    def __init__(self) -> None:
        self.lost = False
        self._buffer = bytearray()
        self._searched = 0
        """Up to here no end of a head was found: a head in pieces of ten bytes would take quadratic time else."""
        self._websocket = False

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def is_websocket(self) -> bool:
        """Whether it has become one."""
        return self._websocket

    def add(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes."""
        found: list[bytes] = []
        if self.lost:
            return found
        self._buffer += data
        while (message := self._next()) is not None:
            if message:
                found.append(message)
        if len(self._buffer) > MESSAGE_LIMIT:
            self._lose()
        return found

    def _lose(self) -> None:
        self.lost = True
        self._buffer.clear()

    def _next(self) -> bytes | None:
        """The next message, b"" for a step that gave none, None when more is needed."""
        if self._websocket:
            return self._frame()
        buffer = self._buffer
        if self._searched == 0:
            blank = len(buffer) - len(buffer.lstrip(b"\r\n \t\0"))
            del buffer[:blank]  # keep-alives (RFC 5626, 3.5.1)
        if not buffer:
            return None
        end = _HEAD_END.search(buffer, max(0, self._searched - 3))
        if end is None:
            self._searched = len(buffer)
            if len(buffer) > HEAD_LIMIT or buffer[0] < 0x20 or buffer[0] > 0x7E:
                self._lose()
            return None
        head = bytes(buffer[: end.end()])
        if _UPGRADE.match(head):
            self._cut(end.end())
            self._websocket = True
            return b""
        return self._message(head)

    def _message(self, head: bytes) -> bytes | None:
        """The message that begins with this head, once it is whole."""
        start = _START.search(head)
        if start is None:
            self._cut(len(head))
            return b""
        length = _LENGTH.search(head)
        size = len(head) + (int(length[1]) if length else 0)
        if size > MESSAGE_LIMIT:
            self._lose()
            return None
        if len(self._buffer) < size:
            self._searched = len(head)
            return None
        message = bytes(self._buffer[start.start(1) : size])
        self._cut(size)
        return message

    def _cut(self, size: int) -> None:
        del self._buffer[:size]
        self._searched = 0

    def _frame(self) -> bytes | None:
        """A frame of a WebSocket (RFC 6455, 5.2); a message in several frames gives its first one alone."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        begin, size = 2, buffer[1] & 0x7F
        if size >= 126:
            begin += 2 if size == 126 else 8
            size = int.from_bytes(buffer[2:begin], "big")
        masked = bool(buffer[1] & 0x80)
        mask = bytes(buffer[begin : begin + 4]) if masked else b""
        begin += len(mask)
        if begin + size > MESSAGE_LIMIT:
            self._lose()
            return None
        if len(buffer) < begin + size or (masked and len(mask) < 4):
            return None
        data = bytes(buffer[begin : begin + size])
        control = buffer[0] & 0x0F >= _CONTROL
        self._cut(begin + size)
        return b"" if control else _unmask(data, mask)


def _unmask(data: bytes, mask: bytes) -> bytes:
    if not mask or not data:
        return data
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")
