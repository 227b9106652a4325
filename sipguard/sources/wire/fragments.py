"""Puts the fragments of IP packets together (RFC 815), bounded in number, size and time."""

from __future__ import annotations

from typing import Any

_MOST_PACKETS = 256
_MOST_PIECES = 64
_PATIENCE = 30.0
"""Seconds (RFC 791, 3.2 asks for 15 at least; Linux waits 30)."""
_LARGEST = 65_535

Key = tuple[Any, ...]


class _Parts:
    """The fragments of one packet."""

    __slots__ = ("end", "is_dropped", "pieces", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.pieces: dict[int, bytes] = {}
        self.end: int | None = None
        self.is_dropped = False


class Fragments:
    """Packets of which fragments are still missing. A packet whose fragments overlap is dropped, as Linux does (RFC 5722)."""

    def __init__(self) -> None:
        self._packets: dict[Key, _Parts] = {}
        self.dropped = 0
        """Packets given up: invalid or overlapping fragments, too many packets at once, or too late."""
        self.crowded_out = 0
        """Dropped packets that the server may have read all the same: only our limit on packets at once cost them."""

    def add(self, key: Key, offset: int, more: bool, data: bytes, time: float) -> bytes | None:
        """Take one fragment; returns the whole payload once it is complete. `key` is what RFC 791 tells packets apart by."""
        if offset == 0 and not more:
            return data  # RFC 6946: an atomic fragment
        parts = self._parts(key, time)
        if parts.is_dropped:
            return None
        if parts.pieces.get(offset) == data and (more or parts.end == offset + len(data)):
            return None  # the same piece again
        if not more:
            wrong = parts.end is not None
            parts.end = offset + len(data)
        else:
            wrong = len(data) % 8 != 0
        wrong = wrong or offset in parts.pieces or offset + len(data) > _LARGEST or len(parts.pieces) >= _MOST_PIECES
        if wrong:
            self._drop(parts)
            return None
        parts.pieces[offset] = data
        return self._join(key, parts)

    def _parts(self, key: Key, time: float) -> _Parts:
        if key in self._packets:
            parts = self._packets[key]
            if time - parts.since <= _PATIENCE:
                return parts
            del self._packets[key]
            self.dropped += not parts.is_dropped
        if len(self._packets) >= _MOST_PACKETS:
            oldest = self._packets.pop(next(iter(self._packets)))
            self.dropped += not oldest.is_dropped
            self.crowded_out += 0 in oldest.pieces and time - oldest.since <= _PATIENCE
        parts = self._packets[key] = _Parts(time)
        return parts

    def _drop(self, parts: _Parts) -> None:
        parts.pieces.clear()
        parts.is_dropped = True  # it is kept: later fragments of this packet are dropped too
        self.dropped += 1

    def _join(self, key: Key, parts: _Parts) -> bytes | None:
        position = 0
        joined = []
        for offset in sorted(parts.pieces):
            if offset > position:
                return None
            if offset < position:
                self._drop(parts)
                return None
            joined.append(parts.pieces[offset])
            position += len(parts.pieces[offset])
        if parts.end is None:
            return None
        if position != parts.end:
            self._drop(parts)
            return None
        del self._packets[key]
        return b"".join(joined)
