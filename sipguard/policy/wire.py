"""What an attempt of the wire means to a jail: a failure, a login, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.model import NO_REGEX, Failure, Success
from sipguard.text import printable
from sipguard.wire_model import OF_ATTEMPTS

if TYPE_CHECKING:
    from sipguard.model import LogEvent
    from sipguard.wire_model import Attempt, Evidence

SCAN = "scan"
"""The tag of a failure that is a call to nowhere."""
NO_GROUNDS = frozenset({"unproven", "contradicted"})
"""Classes of evidence that ban nobody: the address may be anybody's (docs/wire.md)."""
STRONG: tuple[Evidence, ...] = ("proven", "lent", "corroborated")
"""Classes of evidence that leave no doubt of the address, from strong to weak."""
_OF_LINES = frozenset({"session", "source", "probe", "answer", "once"})
"""Tags that say which lines are about one attempt (`policy.attempts`): of what has been counted as one they say nothing more."""
LONGEST_SCAN_BAN = 3600.0
"""Seconds; nothing proves who has scanned over UDP."""


def event_of(attempt: Attempt) -> LogEvent | None:
    """The event that jails weigh; None for an attempt that speaks neither against nor for its address."""
    if attempt.verdict == "success":
        believed = attempt.evidence in {"proven", "reported"}  # a report is as good as a line of log
        return Success(attempt.address, attempt.time, user=attempt.user or None) if believed else None
    if attempt.verdict not in {"failure", "scan"}:
        return None
    user = attempt.user or attempt.account or None
    tags = {"method": attempt.method, "agent": attempt.agent, "class": attempt.evidence or ""}
    if attempt.verdict == "scan":
        tags[SCAN] = "yes"
    if attempt.alarm:
        tags["alarm"] = "yes"
    if attempt.blind:
        tags["blind"] = attempt.blind
    return Failure(
        attempt.address,
        attempt.time,
        user=user,
        users=(user,) if user else (),
        regex=NO_REGEX,
        lines=(describe(attempt),),
        tags=tags,
        evidence=attempt.evidence,
    )


def classed(failure: Failure, evidence: Evidence, *, attempt: Attempt | None = None, why: str = "") -> Failure:
    """A line's or event's failure with the class that it has on examination: as told of `attempt`, if it is about one.

    `why`: the reason, where it is not the class itself.
    """
    tags = {name: value for name, value in failure.tags.items() if name not in _OF_LINES}
    host = failure.host
    if attempt is not None:
        told = event_of(attempt)
        tags = {**(told.tags if told is not None else {}), **tags}
        host = attempt.address
    tags["class"] = evidence
    if why:
        tags["why"] = why
    return Failure(
        host,
        failure.time,
        user=failure.user,
        users=failure.users,
        attempts=failure.attempts,
        regex=failure.regex,
        session=failure.session,
        lines=failure.lines,
        tags=tags,
        evidence=evidence,
    )


def as_attempt(failure: Failure) -> Failure:
    """A failure that was counted as one attempt, without what says which lines are about it."""
    if _OF_LINES.isdisjoint(failure.may_have):
        return failure
    tags = {name: value for name, value in failure.tags.items() if name not in _OF_LINES}
    return failure._replace(told=(failure.users, failure.lines, tags), reader=None)


def told_as(evidence: Evidence | None, line: str) -> str:
    """A line for people, with its class in front: that of an event or packet begins with one already."""
    if evidence is None:
        return line
    head, colon, rest = line.partition(": ")
    return f"{evidence}: {rest if colon and head in OF_ATTEMPTS else line}"


def describe(attempt: Attempt) -> str:
    """One line for people: `proven: REGISTER as 1000 over udp answered 403`."""
    what = f"{attempt.method} as {printable(attempt.user, 64)}" if attempt.user else attempt.method
    if attempt.verdict == "scan":
        what = f"{attempt.method} of {printable(attempt.account, 64) or 'nobody'} without credentials"
    line = f"{attempt.evidence}: {what} over {attempt.transport} answered {attempt.status}"
    if attempt.source != attempt.address:
        line += f", sent in the name of {attempt.source} with a nonce of {attempt.address}"
    if attempt.agent:
        line += f", agent {printable(attempt.agent, 64)}"
    if attempt.alarm:
        line += "; the server has taken this password: it may be known"
    return line
