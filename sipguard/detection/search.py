"""Looks for a few texts at once in a chunk of bytes, for one filter or for several that read the same log.

With the package `hyperscan` (the extra `fast`) all texts of all filters in one pass, at about 8 GB/s; without it by
`bytes.find`, one pass for each, at half of that. What is found is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Sequence

Found = list[int]
"""One offset or more within each line that holds one of some texts, sorted."""


class Engine(Protocol):
    """Finds texts."""

    per_text: float
    """What a further text costs per byte of the chunk, in nanoseconds: measured."""

    def prepare(self, texts: Sequence[bytes]) -> None:
        """Look for these from now on."""

    def run(self, data: bytes, wanted: Sequence[Sequence[Found]]) -> None:
        """Put where text number n is found into every list of `wanted[n]`, which are empty."""


class Find:
    """`bytes.find`, text by text."""

    per_text = 0.25

    def __init__(self) -> None:
        self._texts: tuple[bytes, ...] = ()

    def prepare(self, texts: Sequence[bytes]) -> None:
        """Look for these from now on."""
        self._texts = tuple(texts)

    def run(self, data: bytes, wanted: Sequence[Sequence[Found]]) -> None:
        """Each text once in each line."""
        find = data.find
        for text, lists in zip(self._texts, wanted, strict=True):
            place = find(text)
            while place >= 0:
                for found in lists:
                    found.append(place)
                end = find(b"\n", place)
                place = find(text, end) if end >= 0 else -1
        for found in {id(found): found for lists in wanted for found in lists}.values():
            found.sort()


class Scan:
    """Hyperscan (Intel, BSD licence; Vectorscan on other processors): an automaton for all texts."""

    per_text = 0.005

    def __init__(self) -> None:
        """Raises ImportError where the package is not installed."""
        import hyperscan  # noqa: PLC0415 - optional

        self._library = hyperscan
        self._scan: Any = None
        self._wanted: Sequence[Sequence[Found]] = ()

    def prepare(self, texts: Sequence[bytes]) -> None:
        """Look for these from now on."""
        database = self._library.Database()
        # As regexes of escaped bytes: hyperscan's literals end at a NUL.
        escaped = [b"".join(b"\\x%02x" % byte for byte in text) for text in texts]
        database.compile(expressions=escaped, ids=list(range(len(texts))), elements=len(texts))
        self._scan = database.scan

    def run(self, data: bytes, wanted: Sequence[Sequence[Found]]) -> None:
        """Each occurrence, by its last byte: hyperscan tells of them in this order."""
        self._wanted = wanted
        self._scan(data, match_event_handler=self._hit)

    def _hit(self, text: int, _begin: int, end: int, _flags: int, _context: object) -> None:
        for found in self._wanted[text]:
            found.append(end - 1)


def best() -> Engine:
    """The fastest that is installed."""
    try:
        return Scan()
    except ImportError:
        return Find()


class Search:
    """The texts of one filter, looked for together with those of the others that share its pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.texts: tuple[bytes, ...] = ()
        self.found: Found = []

    @property
    def per_text(self) -> float:
        """As `Engine.per_text`."""
        return self._pool.engine.per_text

    def prepare(self, texts: Sequence[bytes]) -> None:
        """Look for these from now on."""
        self.texts = tuple(texts)
        self._pool.changed()

    def places(self, data: bytes) -> Found:
        """Where the texts are, valid until other data is searched."""
        return self._pool.places(self, data)

    def line_count(self, data: bytes) -> int:
        """The number of lines in `data`, the last of which need not be ended."""
        return self._pool.line_count(data)


class Pool:
    """Searches the data that all its members ask about once for all of them."""

    def __init__(self) -> None:
        self.engine = best()
        self._members: WeakSet[Search] = WeakSet()
        self._wanted: list[list[Found]] | None = None
        self._data: bytes | None = None
        self._counted: bytes | None = None
        self._lines = 0

    def join(self) -> Search:
        """A new member; it leaves by being forgotten."""
        member = Search(self)
        self._members.add(member)
        return member

    def changed(self) -> None:
        """A member has other texts than before."""
        self._wanted = None

    def places(self, member: Search, data: bytes) -> Found:
        """What one member's texts are found at."""
        if self._wanted is None:
            wanted: dict[bytes, list[Found]] = {}
            for each in self._members:
                for text in each.texts:
                    wanted.setdefault(text, []).append(each.found)
            self.engine.prepare(list(wanted))
            self._wanted = list(wanted.values())
            self._data = None
        if data is not self._data:
            for each in self._members:
                each.found.clear()
            self.engine.run(data, self._wanted)
            self._data = data if len(self._members) > 1 else None  # not kept in memory for nobody
        return member.found

    def line_count(self, data: bytes) -> int:
        """As `Search.line_count`."""
        if data is not self._counted:
            self._counted = data if len(self._members) > 1 else None
            self._lines = count_lines(data)
        return self._lines


def count_lines(data: bytes) -> int:
    """The number of lines in `data`, the last of which need not be ended.

    `bytes.count` looks at every byte before Python 3.13; `bytes.replace` jumps from one LF to the next, in a third of the time.
    """
    return len(data) - len(data.replace(b"\n", b"")) + (not data.endswith(b"\n"))
