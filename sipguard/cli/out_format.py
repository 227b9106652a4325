"""`--out FORMAT` of `test-filter` and `fail2ban-regex`: what to print of each failure, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sipguard.model import Failure
from sipguard.shell import captured_group
from sipguard.text import printable

_TAG = re.compile(r"<([A-Za-z][\w.-]*)>")


def shown(failure: Failure, form: str) -> list[str]:
    """The lines to print. `form` is `id`, `ip`, `host`, `msg`, `row`, `matches`, `user` … or text with tags (`<ip> <F-USER>`)."""
    if form == "row":
        return [f"[{failure.host!a},\t{failure.time},\t{_facts(failure)!a}],"]
    if form == "msg":
        return [_safe(line) for line in failure.lines]
    if "<" not in form:
        return [_safe(value_of(failure, form))]
    if "<msg>" in form:
        return [_fill(form.replace("<msg>", "\0"), failure).replace("\0", _safe(line)) for line in failure.lines]
    return [_fill(form, failure)]


def value_of(failure: Failure, name: str) -> str:
    """A fact by the name of its tag; nothing for one that this failure has not."""
    name = captured_group(name) or name
    make = _FACTS.get(name)
    return make(failure) if make else failure.tags.get(name, "")


def _address(failure: Failure) -> str:
    return failure.tags.get("ip", failure.host)


_FACTS: Mapping[str, Callable[[Failure], str]] = {
    "id": lambda failure: failure.host,
    "fid": lambda failure: failure.host,
    "ip": _address,
    "host": _address,
    "ip-host": lambda failure: failure.tags.get("dns", ""),
    "family": lambda failure: "inet6" if ":" in _address(failure) else "inet4",
    "user": lambda failure: failure.user or "",
    "time": lambda failure: (
        "" if failure.time is None else f"{failure.time:g}" if failure.time % 1 else f"{failure.time:.0f}"
    ),
    "failures": lambda failure: str(failure.attempts),
    "matches": lambda failure: "\n".join(failure.lines),
}


def _facts(failure: Failure) -> dict[str, object]:
    return {**failure.tags, "ip": _address(failure), "users": list(failure.users), "attempts": failure.attempts}


def _fill(form: str, failure: Failure) -> str:
    """Line feeds between several lines stay: the rest of what strangers wrote is made fit for a terminal."""

    def replace(match: re.Match[str]) -> str:
        return "\n".join(_safe(line) for line in value_of(failure, match[1]).split("\n"))

    return _TAG.sub(replace, form)


def _safe(text: str) -> str:
    """Fit for a terminal; tabs stay, since they stand between columns."""
    return "\t".join(printable(part) for part in text.split("\t"))
