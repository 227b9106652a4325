"""One sentence about a notice, for chats: `asterisk on pbx.example.com rejects 203.0.113.5 for 1h: 5 failures …`.

Chat programs turn some characters into mentions, links and layout, and strangers choose user names. So only letters, digits
and a few harmless characters of a name are kept.
"""

from __future__ import annotations

import math
import re

from sipguard.actions.base import Notice
from sipguard.actions.tags import host_name
from sipguard.config.values import format_duration
from sipguard.text import in_words

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._+-]")
_NOT_IN_REASONS = re.compile(r"[^A-Za-z0-9 .,;%+-]")
_LONGEST_NAME = 32
_LONGEST_REASON = 120


def sentence(notice: Notice) -> str:
    """The sentence; always one line."""
    ticket, ban = notice.ticket, notice.ticket.ban
    where = f"{ticket.jail.name} on {host_name(True)}"
    user = _NOT_IN_NAMES.sub("?", ticket.data.get("user") or "")[:_LONGEST_NAME]
    match notice.verb:
        case "ban":
            lasting = "for good" if math.isinf(ban.until) else f"for {format_duration(round(ban.until - ban.since))}"
            reason = _NOT_IN_REASONS.sub("?", in_words(ban.reason))[:_LONGEST_REASON]
            return f"{where} rejects {ban.address} {lasting}: {reason}{f', user {user}' if user else ''}"
        case "unban":
            return f"{where} lets {ban.address} through again"
        case "alarm":
            return f"{where}: the password of {user or 'a user'} may be known to {ban.address}"
        case "start":
            return f"{where} has started"
        case "stop":
            return f"{where} has stopped"
        case _:
            return f"{where}: {notice.verb}"
