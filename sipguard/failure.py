"""One failed authentication, as `model` has it: in a file of its own, since it makes what it tells when somebody asks."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sipguard.wire_model import Evidence

NO_REGEX = -1
"""Index of the failregex of a failure that none has found."""
NO_TAGS: Mapping[str, str] = MappingProxyType({})


class TagReader(Protocol):
    """Knows where in a line the groups of a match stand."""

    @property
    def places(self) -> Mapping[str, int]:
        """The names of all groups."""

    def tags(self, line: str, begin: int, offsets: tuple[int, ...]) -> Mapping[str, str]:
        """The groups that took part; `offsets` are those of a text in which the line began at `begin`."""

    def some(self, names: tuple[str, ...], line: str, begin: int, offsets: tuple[int, ...]) -> list[str | None]:
        """Those of these names, in their order; None for one that took no part."""


class _Failure(NamedTuple):
    host: str
    """The offender as the log writes it: an address, or a host name where the filter allows one, or another id."""
    time: float | None
    """When it happened; None when the line has no date and none could be inferred."""
    user: str | None
    attempts: int
    regex: int
    """Index of the failregex that matched."""
    session: str | None
    told: tuple[tuple[str, ...], tuple[str, ...], Mapping[str, str]] | None
    """Users, lines and tags; None where they are yet to be made of what follows."""
    line: str
    """The last of them, decoded."""
    reader: TagReader | None
    begin: int
    offsets: tuple[int, ...]
    evidence: Evidence | None = None
    """What it rests on, where the wire was asked; None is a line of log by itself."""


class Failure(_Failure):
    """One failed authentication that a filter recognised in the log: a tuple, since an attack makes thousands a second.

    Users, lines and tags of what stands in one line are made when somebody asks for them.
    """

    __slots__ = ()

    def __new__(  # noqa: PLR0913, PLR0917 - what it tells
        cls,
        host: str,
        time: float | None,
        user: str | None = None,
        users: tuple[str, ...] = (),
        attempts: int = 1,
        regex: int = 0,
        session: str | None = None,
        lines: tuple[str, ...] = (),
        tags: Mapping[str, str] = NO_TAGS,
        evidence: Evidence | None = None,
    ) -> Self:
        """As told."""
        told, line = (users, lines, tags), lines[-1] if lines else ""
        return tuple.__new__(cls, (host, time, user, attempts, regex, session, told, line, None, 0, (), evidence))

    @property
    def users(self) -> tuple[str, ...]:
        """The users of all the lines."""
        if self.told is None:
            return (self.user,) if self.user else ()
        return self.told[0]

    @property
    def lines(self) -> tuple[str, ...]:
        """The matched lines, decoded."""
        return (self.line,) if self.told is None else self.told[1]

    @property
    def tags(self) -> Mapping[str, str]:
        """Every named group of the match, for the tags of actions: `F-USER` is `user`."""
        if self.told is not None:
            return self.told[2]
        assert self.reader is not None  # noqa: S101 - whoever leaves them to be made says how
        return self.reader.tags(self.line, self.begin, self.offsets)

    def some(self, names: tuple[str, ...]) -> list[str | None]:
        """The tags of these names, in their order, without the others being made; None for one that is not there."""
        if self.told is not None:
            return [self.told[2].get(name) for name in names]
        assert self.reader is not None  # noqa: S101 - whoever leaves them to be made says how
        return self.reader.some(names, self.line, self.begin, self.offsets)

    def tag(self, name: str) -> str | None:
        """One of the tags."""
        return self.some((name,))[0]

    @property
    def may_have(self) -> Mapping[str, object]:
        """The names of all `tags`, and perhaps of groups that took no part: to ask this costs next to nothing."""
        if self.told is not None:
            return self.told[2]
        return self.reader.places if self.reader is not None else NO_TAGS

    def __eq__(self, other: object) -> bool:
        """Whether they tell the same, made or not."""
        return isinstance(other, Failure) and (
            self[:6] == other[:6] and (self.users, self.lines, self.tags) == (other.users, other.lines, other.tags)
        )

    def __ne__(self, other: object) -> bool:
        """As tuples have one of their own."""
        return not self == other

    def __hash__(self) -> int:
        """By what is there already."""
        return hash(self[:6])

    def __repr__(self) -> str:
        """All that it tells."""
        return f"Failure{(*self[:6], self.users, self.lines, dict(self.tags), self.evidence)}"
