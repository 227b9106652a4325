"""Makes what the daemon answers fit to be shown: no secret of a SIP server, nothing that a browser or a reader obeys.

Log lines, user names and reasons hold what strangers wrote. The page shows them as text; here, characters that are invisible or
change the direction of writing are spelled out, and what proves a password is left out: a nonce or response, and bodies.
"""

from __future__ import annotations

import re
from typing import Any

from sipguard.text import in_words, printable

LONGEST = 10_000
"""Characters of one text."""
HIDDEN = "…"

_HEADERS = re.compile(
    r"\b((?:proxy-)?authori[sz]ation|(?:www|proxy)-authenticate|authentication-info)(\s*[:=]\s*)(?:(?!\\r|\\n)[^\r\n])*",
    re.IGNORECASE,
)
"""RFC 3261, section 20: all that is said for and against a password."""
_NAME = re.compile(r"\b(\w++)[\"']?\s*+[=:]\s*+")
"""Of `name=value`, `name: value`, `"name": "value"`; without a step back, so that no text makes the search long."""
_VALUE = re.compile(r"\"[^\"]*+\"?|'[^']*+'?|[^\s,;)\]}>\"']++")
_SECRET = re.compile(
    r"nonce|challenge|opaque|receivedhash|expectedresponse|rspauth|ha1|passw|secret|token|credential", re.IGNORECASE
)
"""In the names of fields. Asterisk's security events have most; `password` and its like stand in debugging logs."""
_RESPONSE = re.compile(r"(\bresponse[\"']?\s*[=:]\s*)(\"[^\"]*\"?|'[^']*'?|[0-9a-f]{16,})", re.IGNORECASE)
"""Without quotes and no hash, it is an ordinary word: `response: 403`."""
_BODY = re.compile(r"\r?\n\r?\n.*|(?:\\r\\n){2}.*|(?:\\n){2}.*|\bv=0(?:\s|\\r|\\n).*", re.DOTALL)
"""RFC 3261, section 7: it follows an empty line; RFC 8866: SDP begins with `v=0`."""


def without_credentials(text: str) -> str:
    """A line of a log without what passwords can be guessed from, and without the bodies of messages."""
    text = _BODY.sub(f" {HIDDEN}", text)
    text = _HEADERS.sub(rf"\1\2{HIDDEN}", text)
    text = _without_fields(text)
    return _RESPONSE.sub(rf"\1{HIDDEN}", text)


def _without_fields(text: str) -> str:
    parts, end = [], 0
    for name in _NAME.finditer(text):
        if name.start() >= end and _SECRET.search(name[1]) and (value := _VALUE.match(text, name.end())):
            parts += [text[end : name.end()], HIDDEN]
            end = value.end()
    return "".join([*parts, text[end:]])


def fit(value: Any) -> Any:
    """The same JSON with every text fit to be shown; keys too, as paths of logs are keys. Reasons of bans are in words."""
    if isinstance(value, str):
        return printable(without_credentials(value[: LONGEST + 1]), LONGEST)
    if isinstance(value, dict):
        return {
            fit(key): in_words(fit(one)) if key == "reason" and isinstance(one, str) else fit(one)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [fit(one) for one in value]
    return value
