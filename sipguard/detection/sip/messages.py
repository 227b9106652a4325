"""Reads of a SIP message what pairing and proof need, as liberally as the servers read.

What this reader refuses and a server takes would be a way to hide: lines may end in LF or CR alone, empty lines may come
first, names may be compact (RFC 3261, 7.3.3), lines folded, the start line's blanks doubled or tabs. Nothing here raises, and
the work is linear in the message's length; credentials are sought in the whole head, since padding would hide them else.

Nonces and responses are kept as hashes that mean nothing outside this process.
"""

from __future__ import annotations

import re
from typing import NamedTuple

HEAD = 64 << 10
"""Bytes of a message in which headers are sought: the longest UDP packet."""
_LONGEST = 128
"""Bytes kept of a header's value: callers choose it."""
_LONGEST_VIA = 1024
_MOST_VALUES = 4
"""Of one header's values and of branches: a second one may be the one that the answer carries."""
MOST_NONCES = 8

_ANSWER = re.compile(rb'SIP/2\.0 (\d\d\d)[^\r\n]*\r\nVia:[^\r\n",]*?;branch=([^;,\s"]+)')
"""An answer as servers write it; what it does not match is read the slow way."""
_PLAIN = re.compile(rb'[^\r\n]*\r\nVia: [^\r\n",=]*(?:;rport)?;branch=[^;,\s"]+(?:;rport)?\r\n')
_START = re.compile(rb"[\r\n \t\0]*(?:(SIP/2\.0)[ \t]+(\d\d\d)|([A-Za-z]{3,16})[ \t]+[^\r\n]*SIP/2\.0)", re.IGNORECASE)
_HEADER = re.compile(
    rb"[\r\n](via|v|from|f|to|t|call-id|i|cseq|user-agent|reason|x-asterisk-hangupcause)[ \t]*:"
    rb"[ \t]*([^\r\n]*(?:(?:\r\n|\r|\n)[ \t][^\r\n]*)*)",
    re.IGNORECASE,
)
_CANONICAL = {b"v": b"via", b"f": b"from", b"t": b"to", b"i": b"call-id"}
_NONCE = re.compile(rb'(?<![a-z])nonce\s*=\s*"?([^",\s]+)', re.IGNORECASE)
_RESPONSE = re.compile(rb'(?<![a-z])response\s*=\s*"?([^",\s]+)', re.IGNORECASE)
_USERNAME = re.compile(rb'(?<![a-z])username\s*=\s*(?:"((?:[^"\\\r\n]|\\[^\r\n]){0,256})"|([^",\s]+))', re.IGNORECASE)
_STALE = re.compile(rb'(?<![a-z])stale\s*=\s*"?true', re.IGNORECASE)
_HEAD_END = re.compile(rb"\r\n\r\n|\n\r?\n")
"""Where every server sees the end of the head. Some see one in CR CR too: others read on, so we do."""
_CREDENTIALS = re.compile(rb"[\r\n](?:proxy-)?authorization[ \t]*:", re.IGNORECASE)
_BRANCH = re.compile(rb'"(?:[^"\\]|\\.)*"|;[ \t\r\n]*branch[ \t\r\n]*=[ \t\r\n]*([^;,\s"]+)', re.IGNORECASE)
_URI_USER = re.compile(rb"sips?:([^@>;\s]*)@", re.IGNORECASE)
_METHOD_OF_CSEQ = re.compile(rb"\d+[ \t\r\n]+([A-Za-z]+)")
_CSEQ_FAST = re.compile(rb"\r\nCSeq: (\d+ [A-Z]+)\r\n")


class Answer(NamedTuple):
    """A final answer's start line and top Via."""

    status: int
    branches: tuple[int, ...]


class Headers(NamedTuple):
    """What a message says of itself. Every value is the sender's text, cut to a length."""

    branches: tuple[int, ...]
    """Hashes."""
    calls: tuple[bytes, ...]
    cseqs: tuple[bytes, ...]
    """As written, blanks made one: `2 REGISTER`."""
    method: str
    """Of the first CSeq, upper case."""
    from_user: str
    to_user: str
    agent: str
    call_failed: bool
    """The answer names the cause of a call that was tried (`Reason: Q.850`): authentication was no hurdle."""


class Request(NamedTuple):
    """A request with credentials."""

    method: str
    headers: Headers
    user: str
    """The user name of the credentials."""
    nonces: tuple[int, ...]
    response: int


def answer(payload: bytes) -> Answer | None:
    """The final answer that this message is; None for a request, a provisional answer and what is no SIP."""
    match = _ANSWER.match(payload)
    if match is not None:
        status = int(match[1])
        return Answer(status, (hash(match[2]),)) if status >= 200 else None
    start = _START.match(payload)
    if start is None or start[1] is None or int(start[2]) < 200:
        return None
    return Answer(int(start[2]), headers(payload).branches)


def begins_with_plain_via(payload: bytes) -> bool:
    """Whether the first header is a Via whose branch every server reads alike."""
    return _PLAIN.match(payload) is not None


def is_answer(payload: bytes) -> bool:
    """Whether the message begins as an answer does; it may be provisional."""
    return payload.startswith(b"SIP/2.0 ") or payload[:64].lstrip(b"\r\n \t\0")[:7].upper() == b"SIP/2.0"


def request(payload: bytes) -> Request | None:
    """A request that carries credentials; None for any other message."""
    start = _START.match(payload)
    if start is None or start[3] is None:
        return None
    end = _HEAD_END.search(payload, start.end())
    head = payload[: end.start() + 1] if end else payload
    if _CREDENTIALS.search(head) is None:
        return None
    nonces = nonces_in(head)
    if not nonces:
        return None
    match = _USERNAME.search(head)
    user = _text(match[1] or match[2] or b"") if match else ""
    response = hash(tuple(_RESPONSE.findall(head)[:MOST_NONCES]))
    return Request(start[3].decode("ascii").upper(), headers(head), user, nonces, response)


def may_carry_credentials(payload: bytes) -> bool:
    """False says that the message has no nonce: most have none, and asking costs little."""
    return b"nonce" in payload or b"nonce" in payload.lower()


def nonces_in(payload: bytes) -> tuple[int, ...]:
    """The hashes of the nonces of a message, each once; too long ones and too many are left out."""
    found = _NONCE.findall(payload)
    if len(found) == 1:
        return (hash(found[0]),)
    return tuple(dict.fromkeys(map(hash, found[: MOST_NONCES * 2])))[:MOST_NONCES]


def first_nonce(payload: bytes) -> bytes:
    """The nonce of a challenge as it was written, to see what kind it is; b"" without one. Never keep it."""
    match = _NONCE.search(payload)
    return match[1] if match else b""


def is_stale(payload: bytes) -> bool:
    """Whether a challenge says `stale=true`: the nonce was refused, not the password (RFC 7616, 3.3)."""
    return _STALE.search(payload) is not None


def method_of(payload: bytes) -> str:
    """The method that an answer's CSeq names, upper case; "" without one."""
    match = _CSEQ_FAST.search(payload)
    if match is not None:
        return match[1].partition(b" ")[2].decode("ascii")
    return headers(payload).method


def headers(payload: bytes) -> Headers:
    """Read the headers of a message."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in _HEADER.findall(payload[:HEAD]):
        key = name.lower()
        values = found.setdefault(_CANONICAL.get(key, key), [])
        if len(values) < _MOST_VALUES:
            values.append(value)
    cseqs = tuple(b" ".join(value[:_LONGEST].split()) for value in found.get(b"cseq", ()))
    method = _METHOD_OF_CSEQ.match(cseqs[0]) if cseqs else None
    reasons = found.get(b"reason", [])
    return Headers(
        _branches(found.get(b"via", [])),
        tuple(value.strip()[:_LONGEST] for value in found.get(b"call-id", ())),
        cseqs,
        method[1].decode("ascii").upper()[:16] if method else "",
        _user(found.get(b"from", [])),
        _user(found.get(b"to", [])),
        _text(found[b"user-agent"][0].strip()) if b"user-agent" in found else "",
        b"x-asterisk-hangupcause" in found or any(value.upper().startswith(b"Q.850") for value in reasons),
    )


def _branches(vias: list[bytes]) -> tuple[int, ...]:
    """The branch of the top Via, and what a server might take for it instead."""
    if not vias:
        return ()
    found = [branch for branch in _BRANCH.findall(vias[0][:_LONGEST_VIA]) if branch]
    return tuple(map(hash, dict.fromkeys(found[:_MOST_VALUES])))


def _user(values: list[bytes]) -> str:
    match = _URI_USER.search(values[0]) if values else None
    return _text(match[1]) if match else ""


def _text(value: bytes) -> str:
    return value[:_LONGEST].decode("utf-8", "replace")
