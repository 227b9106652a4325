"""Reads of a SIP message what pairing and proof need, as liberally as the servers read.

What this reader refuses and a server takes would be a way to hide: lines may end in LF or CR alone, empty lines may come
first, names may be compact (RFC 3261, 7.3.3), lines folded, the start line's blanks doubled or tabs. Nothing here raises, and
the work is linear in the message's length; credentials are sought in the whole head, since padding would hide them else.

Messages as nearly everybody writes them are read line by line (`_fast`); any other by regexes (`_slow`), which takes five times
as long. Nonces and responses are kept as hashes that mean nothing outside this process.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sipguard.detection.sip import names

_LONGEST = 128
"""Bytes kept of a header's value: callers choose it."""
_LONGEST_VIA = 1024
_MOST_VALUES = 4
"""Of one header's values and of branches: a second one may be the one that the answer carries."""
MOST_NONCES = 8

_ANSWER = re.compile(
    rb'SIP/2\.0 (\d\d\d)[^\r\n]*+\r\nVia:[^\r\n",;]*+(?:;(?!branch=)[^\r\n",;]*+)*+;branch=([^;,\s"]+)'
)
"""An answer as servers write it; what it does not match is read the slow way."""
_PLAIN = re.compile(
    rb'([A-Z]{3,16}) [^\r\n]* SIP/2\.0\r\nVia: [^\r\n",=]*(?:;rport)?;branch=([^;,\s"]+)(?:;rport)?\r\n'
)
"""A request whose method and top Via every server reads alike."""
_START = re.compile(rb"[\r\n \t\0]*(?:(SIP/2\.0)[ \t]+(\d\d\d)|([A-Za-z]{3,16})[ \t]+[^\r\n]*SIP/2\.0)", re.IGNORECASE)
_HEADER = re.compile(
    rb"[\r\n]([a-z-]{1,24})[ \t]*:[ \t]*([^\r\n]*(?:(?:\r\n|\r|\n)[ \t][^\r\n]*)*)",
    re.IGNORECASE,
)
_NONCE = re.compile(rb'(?<![a-z])nonce\s*=\s*"?([^",\s]+)', re.IGNORECASE)
_USUAL_NONCE = re.compile(rb"[0-9A-Za-z/+=-]+")
_RESPONSE = re.compile(rb'(?<![a-z])response\s*=\s*"?([^",\s]+)', re.IGNORECASE)
_USERNAME = re.compile(rb'(?<![a-z])username\s*=\s*(?:"((?:[^"\\\r\n]|\\[^\r\n]){0,256})"|([^",\s]+))', re.IGNORECASE)
_DIGEST = re.compile(
    rb'Digest username="([^"\\=]+)", ?realm="[^"=]*", ?nonce="([^", =]+)", ?uri="[^"=]*", ?response="([^"=]+)"'
    rb'(?:, ?(?:algorithm|qop|nc|cnonce|opaque)=(?:"[^"=]*"|[^", =]*))*[ \t]*'
)
"""Credentials in the usual order, with one of each: what could be a second one has an equals sign."""
_STALE = re.compile(rb'(?<![a-z])stale\s*=\s*"?true', re.IGNORECASE)
_BRANCH = re.compile(rb'"(?:[^"\\]|\\.)*"|;[ \t\r\n]*branch[ \t\r\n]*=[ \t\r\n]*([^;,\s"]+)', re.IGNORECASE)
_URI_USER = re.compile(rb"sips?:([^@>;\s]*)@", re.IGNORECASE)
_METHOD_OF_CSEQ = re.compile(rb"\d+[ \t\r\n]+([A-Za-z]+)")
_CSEQ_FAST = re.compile(rb"\r\nCSeq: \d+ ([A-Z]+)\r\n")
_NONE: tuple[bytes, ...] = ()
_new = tuple.__new__
"""Past the constructors of named tuples, which take twice as long."""
_METHODS: dict[bytes, str] = {}
"""The methods that have been seen, as text."""


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
    sender: bytes
    """From."""
    target: bytes
    """To."""
    software: bytes
    """User-Agent."""
    call_failed: bool
    """The answer names the cause of a call that was tried (`Reason: Q.850`): authentication was no hurdle."""

    @property
    def method(self) -> str:
        """Of the first CSeq, upper case."""
        match = _METHOD_OF_CSEQ.match(self.cseqs[0]) if self.cseqs else None
        return match[1].decode("ascii").upper()[:16] if match else ""

    @property
    def from_user(self) -> str:
        """The user of From."""
        return _user(self.sender)

    @property
    def to_user(self) -> str:
        """The user of To."""
        return _user(self.target)

    @property
    def agent(self) -> str:
        """The User-Agent."""
        return _text(self.software.strip())


class Request(NamedTuple):
    """A request with credentials."""

    method: str
    headers: Headers
    user: str
    """The user name of the credentials."""
    nonces: tuple[int, ...]
    response: int
    plain: bool
    """Every server reads its branch alike."""


def answer(payload: bytes) -> Answer | None:
    """The final answer that this message is; None for a request, a provisional answer and what is no SIP."""
    match = _ANSWER.match(payload)
    if match is not None:
        status = int(match[1])
        return _new(Answer, (status, (hash(match[2]),))) if status >= 200 else None
    start = _START.match(payload)
    if start is None or start[1] is None or int(start[2]) < 200:
        return None
    return Answer(int(start[2]), headers(payload).branches)


def is_answer(payload: bytes) -> bool:
    """Whether the message begins as an answer does; it may be provisional."""
    if payload[:1].isupper() and payload[:1] != b"S":
        return False  # nearly every request
    return payload[:64].lstrip(b"\r\n \t\0")[:7].upper() == b"SIP/2.0"


def request(payload: bytes) -> Request | None:
    """A request that carries credentials; None for any other message."""
    plain = _PLAIN.match(payload)
    if plain is not None:
        begin, method = 0, _method(plain[1])
    else:
        start = _START.match(payload)
        if start is None or start[3] is None:
            return None
        begin, method = start.start(3), _method(start[3])
    found = _fields(payload[begin : _head_end(payload, begin)])
    credentials = found.get(b"authorization")
    if credentials is None:
        return None
    named = _quoted(credentials[0]) if len(credentials) == 1 else None
    if named is None:
        named = _any_credentials(b"\r\n".join(credentials))
    user, nonces, response = named
    if not nonces:
        return None
    branch = None if plain is None else hash(plain[2])
    return _new(Request, (method, _headers(found, branch), user, nonces, response, plain is not None))


def _head_end(payload: bytes, begin: int) -> int:
    """Where every server sees the end of the head. Some see one in CR CR too: others read on, so we do."""
    end, bare = payload.find(b"\n\r\n", begin), payload.find(b"\n\n", begin)
    if end < 0 or 0 <= bare < end:
        return bare if bare >= 0 else len(payload)
    return end - 1 if payload[end - 1] == 13 and end > begin else end  # the last line ends before its CR LF


def _quoted(credentials: bytes) -> tuple[str, tuple[int, ...], int] | None:
    """User, nonce and response where there is one of each, written as nearly everybody does; None otherwise."""
    usual = _DIGEST.fullmatch(credentials)
    if usual is not None:
        user, nonce, response = usual.groups()
        return _text(user), (hash(nonce),), hash((response,))
    low = credentials.lower()
    if low.count(b"nonce") - low.count(b"cnonce") != 1 or low.count(b"response") != 1 or low.count(b"username") != 1:
        return None
    values = []
    for name in (b'username="', b' nonce="', b'response="'):
        begin = credentials.find(name) + len(name)
        end = credentials.find(b'"', begin)
        if begin < len(name) or end <= begin:
            return None
        values.append(credentials[begin:end])
    user, nonce, response = values
    if b"\\" in user or b" " in nonce or b"," in nonce:
        return None
    return _text(user), (hash(nonce),), hash((response,))


def _any_credentials(text: bytes) -> tuple[str, tuple[int, ...], int]:
    """The first user, every nonce, every response."""
    named = _USERNAME.search(text)
    user = _text(named[1] or named[2] or b"") if named else ""
    return user, nonces_in(text)[0], hash(tuple(_RESPONSE.findall(text)[:MOST_NONCES]))


def may_carry_credentials(payload: bytes) -> bool:
    """False says that the message has no nonce: most have none, and asking costs little."""
    # `in` takes longer: from behind more is skipped.
    return payload.rfind(b"nonce") >= 0 or payload.lower().rfind(b"nonce") >= 0


def nonces_in(text: bytes) -> tuple[tuple[int, ...], bytes]:
    """The hashes of the nonces of a challenge or of credentials, each once; too many are left out.

    And the first as it was written, to see what kind it is: never keep that.
    """
    begin = text.find(b' nonce="') + 8
    if begin >= 8 and text.lower().count(b"nonce") == 1:  # as nearly everybody writes it
        nonce = text[begin : text.find(b'"', begin)]
        if nonce and text[begin + len(nonce)] == 34 and _USUAL_NONCE.fullmatch(nonce):
            return (hash(nonce),), nonce
    found = _NONCE.findall(text)
    if len(found) == 1:
        return (hash(found[0]),), found[0]
    return tuple(dict.fromkeys(map(hash, found[: MOST_NONCES * 2])))[:MOST_NONCES], found[0] if found else b""


def challenge(payload: bytes) -> bytes:
    """The challenges of an answer, as written. Never keep them."""
    begin = payload.find(b"uthenticate: ")
    if begin > 0 and payload.find(b"uthenticate", begin + 1) < 0:
        end = payload.find(b"\r\n", begin)
        if payload[end : end + 4].strip(b"\r\n") or payload[end : end + 4] == b"\r\n\r\n":  # no fold
            return payload[begin:end]
    return payload


def is_stale(text: bytes) -> bool:
    """Whether a challenge says `stale=true`: the nonce was refused, not the password (RFC 7616, 3.3)."""
    return (b"tale" in text or b"TALE" in text or b"stale" in text.lower()) and _STALE.search(text) is not None


def method_of(payload: bytes) -> str:
    """The method that an answer's CSeq names, upper case; "" without one."""
    match = _CSEQ_FAST.search(payload)
    return _method(match[1]) if match is not None else headers(payload).method


def headers(payload: bytes) -> Headers:
    """Read the headers of a message."""
    return _headers(_fields(payload.lstrip(b"\r\n \t\0")))


def _fields(head: bytes) -> dict[bytes, list[bytes]]:
    """Name → values, of the headers that matter; b"authorization" is both kinds of credentials."""
    lines = head.split(b"\r\n")
    if head.count(b"\n") == head.count(b"\r") == len(lines) - 1:
        found = _fast(lines)
        if found is not None:
            return found
    return _slow(head)


def _fast(lines: list[bytes]) -> dict[bytes, list[bytes]] | None:
    """Of lines that nobody can read in two ways; None when a line goes on in the next."""
    found: dict[bytes, list[bytes]] = {}
    known = names.KNOWN
    rest = iter(lines)
    next(rest)  # the start line
    for line in rest:
        name, colon, value = line.partition(b":")
        key = known.get(name)
        if key is None:
            key = names.learn(name)
        if key:
            if key == names.FOLD:
                return None
            if not colon:
                continue
            values = found.get(key)
            if values is None:
                found[key] = [value.lstrip(b" \t")]
            elif len(values) < _MOST_VALUES or key == b"authorization":
                values.append(value.lstrip(b" \t"))
        elif not line:
            break
    return found


def _slow(head: bytes) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in _HEADER.findall(head):
        if (key := names.learn(name)) and key != names.FOLD:
            values = found.setdefault(key, [])
            if len(values) < _MOST_VALUES or key == b"authorization":
                values.append(value)
    return found


def _headers(found: dict[bytes, list[bytes]], branch: int | None = None) -> Headers:
    """`branch`: that of the top Via, where it is known."""
    calls, cseqs = found.get(b"call-id", _NONE), found.get(b"cseq", _NONE)
    values = (
        _branches(found.get(b"via")) if branch is None else (branch,),
        (calls[0].strip()[:_LONGEST],) if len(calls) == 1 else tuple([value.strip()[:_LONGEST] for value in calls]),
        (_cseq(cseqs[0]),) if len(cseqs) == 1 else tuple(map(_cseq, cseqs)),
        _first(found, b"from"),
        _first(found, b"to"),
        _first(found, b"user-agent"),
        b"x-asterisk-hangupcause" in found
        or (b"reason" in found and any(value.upper().startswith(b"Q.850") for value in found[b"reason"])),
    )
    return _new(Headers, values)


def _cseq(value: bytes) -> bytes:
    return b" ".join(value[:_LONGEST].split())


def _first(found: dict[bytes, list[bytes]], name: bytes) -> bytes:
    values = found.get(name)
    return values[0][:_LONGEST_VIA] if values else b""


def _branches(vias: list[bytes] | None) -> tuple[int, ...]:
    """The branch of the top Via, and what a server might take for it instead."""
    if not vias:
        return ()
    found = [branch for branch in _BRANCH.findall(vias[0][:_LONGEST_VIA]) if branch]
    if len(found) == 1:
        return (hash(found[0]),)
    return tuple(map(hash, dict.fromkeys(found[:_MOST_VALUES])))


def _method(written: bytes) -> str:
    method = _METHODS.get(written)
    if method is None:
        method = written.decode("ascii").upper()[:16]
        if len(_METHODS) < 100:
            _METHODS[written] = method
    return method


def _user(value: bytes) -> str:
    match = _URI_USER.search(value)
    return _text(match[1]) if match else ""


def _text(value: bytes) -> str:
    return value[:_LONGEST].decode("utf-8", "replace")
