"""Converts a notice to JSON-compatible data, for `exec` and for webhooks without `fields`."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from sipguard.actions.base import Notice
from sipguard.actions.tags import host_name


def record(notice: Notice) -> dict[str, Any]:
    """Convert a notice. Times are ISO 8601 in UTC, durations seconds; null is for ever. `start` and `stop` have no address."""
    ticket = notice.ticket
    ban = ticket.ban
    found: dict[str, Any] = {"event": notice.verb, "jail": ticket.jail.name, "host": host_name(True)}
    if not ban.address:
        return {**found, "time": moment(ban.since)}
    if notice.verb == "alarm":
        return {
            **found,
            "time": moment(ban.since),
            "address": ban.address,
            "family": ticket.family,
            "reason": ban.reason,
            "user": ticket.data.get("user"),
            "lines": list(ticket.lines),
        }
    return {
        **found,
        "address": ban.address,
        "family": ticket.family,
        "since": moment(ban.since),
        "until": None if math.isinf(ban.until) else moment(ban.until),
        "bantime": None if math.isinf(ban.until) else ban.until - ban.since,
        "attempts": ban.attempts,
        "count": ban.count,
        "reason": ban.reason,
        "user": ticket.data.get("user"),
        "lines": list(ticket.matches),
    }


def moment(when: float) -> str:
    """A time as `2026-11-21T20:18:00+00:00`."""
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")
