"""One table per server: which event is a failure or a success, and which field is address, user, session (filters/events)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from sipguard.addresses import canonical
from sipguard.errors import ConfigError
from sipguard.failure import NO_TAGS
from sipguard.model import NO_REGEX, Failure, Success
from sipguard.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from sipguard.model import LogEvent
    from sipguard.wire_model import Evidence, ServerEvent

_new = tuple.__new__
_KINDS = frozenset({"failure", "success", "nothing"})
_KEYS = frozenset(
    {"name", "is", "when", "address", "form", "port", "user", "session", "agent", "method", "once", "tags", "transport"}
)
_CONNECTED = frozenset({"tcp", "tls", "ws", "wss"})
"""Transports over which an address is proven: the server's challenge has reached it."""
_FORMS = {
    "plain": re.compile(r"(?P<address>[^/\s]{2,45})"),
    "host:port": re.compile(r"\[?(?P<address>[0-9A-Fa-f.:]{2,45}?)\]?:(?P<port>\d{1,5})"),
    "asterisk": re.compile(r"IPV[46]/(?P<transport>[A-Za-z]{2,8})/(?P<address>[0-9A-Fa-f.:]{2,45})/(?P<port>\d{1,5})"),
}
_SKEW = 60.0
"""Seconds by which a server's clock may differ from ours before ours is taken."""


@dataclass(frozen=True, slots=True)
class EventRule:
    """What one event means."""

    kind: Literal["failure", "success", "nothing"]
    when: Mapping[str, tuple[str, ...]]
    address: str
    form: re.Pattern[str]
    port: str
    user: str
    session: str
    agent: str
    method: str
    once: tuple[str, ...]
    tags: Mapping[str, str]
    transport: str

    @property
    def fields(self) -> set[str]:
        """The fields that it reads."""
        single = {self.address, self.user}
        if self.kind == "failure":
            single |= {self.port, self.session, self.agent, self.method, *self.once}
        return single.union(self.when) - {""}

    def holds(self, fields: Mapping[str, str]) -> bool:
        """Whether the event is one that this rule is about."""
        for name, allowed in self.when.items():  # noqa: SIM110 - `all` costs three times as much
            if fields.get(name) not in allowed:
                return False
        return True


class EventTable:
    """The rules of one server. `tampered` counts events whose fields are not what the server writes."""

    def __init__(self, rules: Mapping[str, list[EventRule]], time: str, log_tells: re.Pattern[str] | None) -> None:
        self.tampered = 0
        counted = {name: [rule for rule in each if rule.kind != "nothing"] for name, each in rules.items()}
        self._counted = {name: each for name, each in counted.items() if each}
        self._time = time
        self._log_tells = log_tells

    @classmethod
    def read(cls, path: Path) -> EventTable:
        """From a file. Raises ConfigError."""
        try:
            data = tomllib.loads(path.read_text("utf-8"))
            rules: dict[str, list[EventRule]] = {}
            for one in data["event"]:
                rules.setdefault(one["name"], []).append(_rule(one))
            tells = "|".join(data.get("log_tells", ()))
            return cls(rules, data["time"], re.compile(tells) if tells else None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, re.error) as error:
            raise ConfigError(f"no table of events: {error!r}", str(path)) from None

    @property
    def wanted(self) -> dict[str, list[str]]:
        """The events to ask the server for, those that count for something, and the fields that their rules read."""
        return {
            name: sorted({self._time, *(field for rule in rules for field in rule.fields)})
            for name, rules in self._counted.items()
        }

    def is_told_by_log_alone(self, line: str) -> bool:
        """Whether a line of the server's log tells what no event does."""
        return self._log_tells is not None and self._log_tells.search(line) is not None

    def event_of(self, event: ServerEvent, now: float) -> LogEvent | None:
        """What jails weigh; None for an event that counts for nothing."""
        name, fields = event
        for rule in self._counted.get(name, ()):
            if not rule.when or rule.holds(fields):
                break
        else:
            return None
        place = _place(rule.form.pattern, fields.get(rule.address, ""))
        if place is None:
            self.tampered += 1
            return None
        address, found = place
        time = _time(fields.get(self._time, ""), now)
        user = printable(fields.get(rule.user, ""), 64) or None
        if rule.kind == "success":
            return _new(Success, (address, time, user, NO_TAGS))  # past its constructor, which takes twice as long
        return self._failure(rule, event, address, time, user, found)

    @staticmethod
    def _failure(
        rule: EventRule, event: ServerEvent, address: str, time: float, user: str | None, found: Mapping[str, str]
    ) -> Failure:
        fields = event.fields
        get: Callable[[str], str] = lambda name: fields.get(name, "")  # noqa: E731
        transport = (rule.transport or found.get("transport") or "").lower()
        evidence: Evidence = "proven" if transport in _CONNECTED else "reported"
        tags = {**rule.tags, "class": evidence}
        if rule.session:
            tags["session"] = get(rule.session)[:256]
        if rule.once:
            tags["once"] = "\n".join(get(name)[:256] for name in rule.once)
        port = found.get("port") or get(rule.port)
        tags |= {key: text for key, text in (("port", port), ("agent", printable(get(rule.agent), 64))) if text}
        line = _described(event.name, evidence, get(rule.method), user, transport, tags.get("agent", ""))
        users = (user,) if user else ()
        return Failure(
            address, time, user=user, users=users, regex=NO_REGEX, lines=(line,), tags=tags, evidence=evidence
        )


def _rule(one: Mapping[str, Any]) -> EventRule:
    if unknown := set(one) - _KEYS:
        raise ValueError(f"unknown key {sorted(unknown)[0]}")
    if one["is"] not in _KINDS:
        raise ValueError(f"is = {one['is']!r}")
    when = {name: tuple([value] if isinstance(value, str) else value) for name, value in one.get("when", {}).items()}
    texts = {name: str(one.get(name, "")) for name in ("port", "user", "session", "agent", "method", "transport")}
    return EventRule(
        kind=one["is"],
        when=when,
        address=one["address"] if one["is"] != "nothing" else "",
        form=_FORMS[one.get("form", "plain")],
        once=tuple(one.get("once", ())),
        tags=dict(one.get("tags", {})),
        **texts,
    )


@lru_cache(maxsize=8192)  # phones register again and again
def _place(form: str, text: str) -> tuple[str, Mapping[str, str]] | None:
    """The address that a field of this form holds, and what else it says of it; None where it holds none."""
    match = re.fullmatch(form, text)
    try:
        address = canonical(match["address"]) if match else "/"
    except ValueError:
        return None
    return None if "/" in address or match is None else (address, match.groupdict())


def _time(text: str, now: float) -> float:
    """When the server says that it was, unless its clock is another than ours."""
    try:
        time = int(text) / 1e6 if text.isdecimal() else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return now
    return time if abs(time - now) <= _SKEW else now


def _described(name: str, evidence: str, method: str, user: str | None, transport: str, agent: str) -> str:
    """One line for people: `reported: event sofia::register_failure, REGISTER as 1000`."""
    parts = [f"{evidence}: event {name}"]
    if method or user:
        parts.append(" ".join(filter(None, (printable(method, 16), f"as {user}" if user else ""))))
    if transport:
        parts.append(f"over {transport}")
    if agent:
        parts.append(f"agent {agent}")
    return ", ".join(parts)
