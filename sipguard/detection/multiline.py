"""What joins lines: the buffer that `maxlines` asks for, and the sessions that `<F-MLFID>` names.

Both hold what attackers write, so both are bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    import regex

Groups = dict[str, str | None]

_SESSIONS = 1000
"""Sessions remembered at once. Fail2ban keeps 100, which a burst of connections pushes out too early."""

_SESSION_SPAN = 300.0
"""Seconds for which a session is remembered, counted from its first line."""

_LINES = 100
"""Lines kept of one session; further ones are counted alone."""


class Line(NamedTuple):
    """A line of log without its date, as the regexes see it, and as it was."""

    text: str
    whole: str


def joined(lines: list[Line]) -> str:
    """The text that a regex searches: every line ended by LF."""
    return "\n".join([line.text for line in lines]) + "\n"


def split_match(match: re.Match[str] | regex.Match[str], lines: list[Line]) -> tuple[list[Line], list[Line]]:
    """Which of the buffered `lines` a match has used up, and which stay for later.

    A line that `<SKIPLINES>` passed over stays.
    """
    if len(lines) <= 1:
        return lines, []
    text = match.string
    begin = text.rfind("\n", 0, match.start() + 1) + 1
    end = text.find("\n", max(match.end() - 1, 0)) + 1 or len(text)
    first, last = text.count("\n", 0, begin), text.count("\n", 0, end)
    used, left = lines[first:last], lines[:first]
    position = 0
    for skipped in _skipped(match):
        for index in range(position, len(used)):
            if used[index].text == skipped:
                left.append(used.pop(index))
                position = index
                break
    return used, left + lines[last:]


def _skipped(match: re.Match[str] | regex.Match[str]) -> list[str]:
    names = [name for name in match.re.groupindex if name.startswith("skiplines")]
    text = "".join(match[name] or "" for name in sorted(names, key=lambda name: match.re.groupindex[name]))
    return text.split("\n")[:-1]


@dataclass(slots=True)
class Session:
    """What the lines of one connection have told so far."""

    groups: Groups
    users: set[str] = field(default_factory=set)
    lines: list[Line] = field(default_factory=list)
    """Lines of the failure that is being put together."""
    innocent: list[Line] = field(default_factory=list)
    """Lines that are no failure by themselves (`<F-NOFAIL>`), but belong to the next one."""
    count: int = 0
    """Lines of the failure, those not kept included: its attempts."""
    pending: bool = False
    """A failure has happened, but nothing has said yet who did it."""
    until: float = 0.0

    def add(self, lines: list[Line]) -> None:
        """Make `lines`, and the innocent ones before them, part of the failure."""
        self.count += len(self.innocent) + len(lines)
        self.lines = (self.lines + self.innocent + lines)[-_LINES:]
        self.innocent = []


class Sessions:
    """The connections that a log tells of, by the id that `<F-MLFID>` captures."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: OrderedDict[str, Session] = OrderedDict()

    def merge(self, key: str, groups: Groups, lines: list[Line]) -> Session:
        """Join what one line's regex has found with what is known of its session.

        The result's `groups` have `nofail` set if it is no failure (yet). `mlfgained` (logged in after all) forgives
        what was pending, unless the session has tried several users; `mlfforget` ends the session.
        """
        gained = bool(groups.get("mlfgained"))
        if gained and not groups.get("nofail"):
            groups["nofail"] = groups["mlfgained"]
        innocent = bool(groups.get("nofail"))
        forget = bool(groups.pop("mlfforget", None))
        session = self._find(key)
        if session is None:
            session = Session(groups)
            if not forget:
                self._note_user(session, groups)
                self._keep(key, session)
        else:
            self._update(session, groups, gained=gained)
            if forget:
                del self._open[key]
        if session.pending or len(session.users) > 1:
            session.groups.pop("nofail", None)
            session.groups.pop("mlfgained", None)
            innocent = False
        session.pending = False
        if not innocent:
            session.add(lines)
        elif not forget:
            session.innocent = (session.innocent + lines)[-_LINES:]
        return session

    def _update(self, session: Session, groups: Groups, *, gained: bool) -> None:
        self._note_user(session, groups)
        was_innocent = bool(session.groups.pop("nofail", None))
        was_innocent = bool(session.groups.pop("mlfgained", None)) or was_innocent
        if gained:
            session.pending = False
        if not was_innocent and not session.pending:
            # The failure that they belong to has been handed over.
            session.lines, session.count = [], 0
        session.groups.update({name: value for name, value in groups.items() if value is not None})

    @staticmethod
    def _note_user(session: Session, groups: Groups) -> None:
        user = groups.get("user")
        if user and len(session.users) < _LINES:
            session.users.add(user)

    def _find(self, key: str) -> Session | None:
        session = self._open.get(key)
        if session is not None and session.until <= self._clock():
            del self._open[key]
            return None
        return session

    def _keep(self, key: str, session: Session) -> None:
        now = self._clock()
        session.until = now + _SESSION_SPAN
        while len(self._open) >= _SESSIONS:
            self._open.popitem(last=False)
        self._open[key] = session
