"""The names of headers, as they are written → what they are."""

from __future__ import annotations

FOLD = b" "
"""The line goes on with the value of the one before it."""
_MEANT = {
    b"via": b"via",
    b"v": b"via",
    b"from": b"from",
    b"f": b"from",
    b"to": b"to",
    b"t": b"to",
    b"call-id": b"call-id",
    b"i": b"call-id",
    b"cseq": b"cseq",
    b"user-agent": b"user-agent",
    b"reason": b"reason",
    b"x-asterisk-hangupcause": b"x-asterisk-hangupcause",
    b"authorization": b"authorization",
    b"proxy-authorization": b"authorization",
}
"""RFC 3261, 7.3.3 for the compact ones; the others of no interest."""
_MOST = 1000
_LONGEST = 40

KNOWN: dict[bytes, bytes] = {}
"""Names that have been seen → which header that is; b"" is one of no interest."""


def learn(name: bytes) -> bytes:
    """Which header a name stands for, however it is written; `FOLD` for a line that begins with a blank."""
    if name[:1] in (b" ", b"\t"):
        return FOLD
    key = _MEANT.get(name.rstrip(b" \t").lower(), b"")
    if len(KNOWN) < _MOST and len(name) <= _LONGEST:
        KNOWN[name] = key
    return key
