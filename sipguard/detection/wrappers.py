r"""Lines as a container's log has them → the lines that the program in it wrote.

    Docker, json-file    {"log":"LINE\n","stream":"stdout","time":"2026-01-15T10:20:30.123456789Z"}
    Kubernetes (CRI)     2026-01-15T10:20:30.123456789Z stdout F LINE
    docker compose logs  NAME  | LINE

Docker and CRI write a long line in parts; they are joined. A log is taken for one of these when its first lines all are; it is
none for good from the first line on that is not. So nobody can write a line that only looks wrapped. Once more lines were wrapped
than one message can have, another is left out: compose tells of containers that end, and a crash leaves a part of a line.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 262_144
"""Bytes of a line that is joined of parts; more are left out."""
_MOST_OF_ONE = 262_144
"""Bytes of wrapped lines that are more than a stranger can have written in a row into a log that is no container's."""
_CRI = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) (?:stdout|stderr) ([FP])(?::\S+)? ?")
_COMPOSE = re.compile(rb"(?:\x1b\[[\d;]*m)*[\w.-]+ +\| ?(?:\x1b\[0m)? ?")
_DOCKER = b'{"log":"'


def _docker(line: bytes) -> bytes | None:
    """What the program wrote, with its LF if the line ends there; None where it is no such line."""
    if not line.startswith(_DOCKER):
        return None
    try:
        text = json.loads(line)["log"]
    except (ValueError, KeyError, RecursionError):
        return None
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else None


def _cri(line: bytes) -> bytes | None:
    match = _CRI.match(line)
    if match is None:
        return None
    return line[match.end() :] + (b"\n" if match[1] == b"F" else b"")


def _compose(line: bytes) -> bytes | None:
    match = _COMPOSE.match(line)
    return None if match is None else line[match.end() :] + b"\n"


_KINDS: tuple[Callable[[bytes], bytes | None], ...] = (_docker, _cri, _compose)


class Wrappers:
    """Unwraps one log."""

    def __init__(self) -> None:
        self._unwrap: Callable[[bytes], bytes | None] | None = None
        self._rest = b""
        self._unwrapped = 0
        """Bytes of lines that all were wrapped."""
        self.is_plain = False
        """Whether the log is known to be no container's."""

    def lines(self, data: bytes) -> bytes:
        """Whole lines in, whole lines out; fewer where parts are joined."""
        if self.is_plain:
            return data
        lines = data.removesuffix(b"\n").split(b"\n")
        if self._unwrap is None:
            self._unwrap = next((kind for kind in _KINDS if all(kind(line) is not None for line in lines)), None)
        texts = [self._unwrap(line) for line in lines] if self._unwrap is not None else [None]
        if None in texts and (self._unwrap is None or self._unwrapped < _MOST_OF_ONE):
            self.is_plain = True
            return data
        self._unwrapped += len(data)
        joined = self._rest + b"".join(text for text in texts if text is not None)
        whole, newline, rest = joined.rpartition(b"\n")
        self._rest = rest[:_LONGEST]
        return whole + newline
