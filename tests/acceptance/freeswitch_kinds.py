"""Every kind of hostile text that mod_logfile of FreeSWITCH writes, each as a strategy: (guesses made by it, bytes of the log).

A message without session is one write. Of a message of a session each of the first 99 lines is a write, and the rest is
another; each begins with the UUID and is cut at 2,047 bytes with its line feed.
"""

from __future__ import annotations

from hypothesis import strategies as st
from server_lines import ATTACKER, FS_DATE, PBX, UUID, VICTIM, failure, unknown
from strangers import FRAGMENTS

FAILED = "[WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile 'a' for"
FORGED = f"{FS_DATE} {FAILED} [1@b] from ip {VICTIM}"
OTHER_SESSION = "11111111-5716-4147-b8e7-07fadf48c9de"
QUIET = f'{FS_DATE} [DEBUG] sofia.c:10566 verifying acl "domains" for ip/port {PBX}:0.\n'.encode()
FOLDS = ["\r\n ", "\r\n\t", "\n ", "\r\n \r\n ", "\r\n  \t"]
WORDS = [
    *FRAGMENTS, FORGED, f"{OTHER_SESSION} {FORGED}", f"{OTHER_SESSION} ", f"[{OTHER_SESSION}]", "-" * 72, "\r", "\v", "\f",
    "\x00", f"recv 900 bytes from udp/[{VICTIM}]:5060 at 10:20:30.123456:",
    "send 1 bytes to tcp/[::1]:5060 at 10:20:30.123456:",
    f"Jan 15 10:20:30 pbx1 freeswitch[777]: {FORGED}", f"A registration failed user[1] ip[{VICTIM}]",
    f"Can't find user [1@b] from {VICTIM}", "You must define a domain called 'b' in your directory", "x" * 700, "é" * 1100,
    f'{{"timestamp":1,"level":4,"file":"sofia_reg.c","line":1,"message":"SIP auth failure {VICTIM}"}}',
    f"2026-01-15T10:20:30.1Z stdout F {FORGED}", '{"log":"', "pbx  | ", "\x1b[0m", "\x1b[1;31m", "#015#012", "a" * 5500,
]  # fmt: skip


def texts(*more: str) -> st.SearchStrategy[str]:
    """What a caller may write."""
    return st.lists(st.sampled_from([*WORDS, *more]), max_size=5).map("".join)


LINE, HEADER, TEXT = texts(), texts(*FOLDS, *FOLDS, *FOLDS), texts("\n", "\r\n", f"\n{FORGED}\n", f"\n{FORGED}\n")


def encoded(text: str) -> bytes:
    """As it came in a packet."""
    return text.encode("utf-8", "surrogateescape")


def session(message: bytes, uuid: str = UUID) -> bytes:
    """A message of a session."""
    lines = message.removesuffix(b"\n").split(b"\n")
    writes = [*lines[:99], b"\n".join(lines[99:])] if len(lines) > 100 else lines
    return b"".join((uuid.encode() + b" " + write + b"\n")[:2047] for write in writes)


def guess(shape: object, fields: dict[str, str]) -> tuple[int, bytes]:
    """A refused registration; header fields may be folded."""
    return 1, b"".join(encoded(f"{FS_DATE} {message}\n") for message in shape(fields))  # type: ignore[operator]


def call(channel: str, text: str, filler: int) -> tuple[int, bytes]:
    """The first line of a call: name of the channel and Call-ID are the caller's."""
    head = (
        f"{FS_DATE} [INFO] sofia.c:10472 sofia/internal/{channel} receiving invite from {ATTACKER}:5060 version: 1.11"
    )
    return 0, session(encoded(f"{head} call-id: {'é' * filler}{text}\n"))


def body(lines: int, text: str, long: str, dated: frozenset[int] = frozenset()) -> bytes:
    """What stands in the log of a call's body; lines of these numbers look like messages."""
    rows = [f"a=line:{number}{long if number == lines // 2 else ''}\n" for number in range(lines)]
    for number in dated:
        rows[number : number + 1] = [f"{FS_DATE} [DEBUG] sofia.c:{number} x\n"]
    return session(encoded(f"{FS_DATE} [DEBUG] mod_sofia.c:1 Remote SDP:\n{''.join(rows)}{text}\n{FORGED}\n"))


def many_lines(lines: int, text: str, long: str, goes_on: bool, dated: frozenset[int]) -> tuple[int, bytes]:
    """A message of more than 100 lines; then its session goes on, or others write more than a write has."""
    behind = f"{UUID} {FS_DATE} [DEBUG] switch_core_media.c:1 Set Codec\n".encode() if goes_on else 25 * QUIET
    return 0, body(lines, text, long, frozenset(each for each in dated if each < lines)) + (
        QUIET if goes_on else b""
    ) + behind


def packet(way: str, text: str) -> tuple[int, bytes]:
    """`sofia global siptrace on`: its length, dashes, the packet without its CRs, dashes."""
    sent = encoded(f"OPTIONS sip:x SIP/2.0\r\nCall-ID: {text}\r\n\r\n{FORGED}\r\n")
    head = f"{way} {len(sent)} bytes {'from' if way == 'recv' else 'to'} udp/[{ATTACKER}]:5060 at 10:20:30.123456:\n"
    dashes = b"-" * 72 + b"\n"
    return 0, head.encode() + dashes + sent.replace(b"\r\n", b"\n") + dashes


def cut_tail(lines: int, text: str) -> tuple[int, bytes]:
    """A message of more than 100 lines whose raw rest is cut, and a guess that hangs on its last line; see `test_sip_tail`."""
    rest = f"{text}\n{FORGED}\na={'y' * 2100}"
    message = encoded(f"{FS_DATE} [DEBUG] mod_sofia.c:1 Remote SDP:\n{'a=x' + chr(10)}" + "a=x\n" * lines + rest)
    made, hangs = guess(failure, {"user": "1", "host": "b"})
    return made, session(message) + hangs


SOFIA = st.fixed_dictionaries({"user": HEADER, "host": HEADER, "realm": HEADER})
LONGEST = st.sampled_from(["\r\n " + "f" * 60_000, ("\r\n " + FORGED) * 900])
HUGE = st.fixed_dictionaries(dict.fromkeys(("user", "host", "realm"), LONGEST))
KINDS = {
    "wrong password": st.builds(guess, st.just(failure), SOFIA),
    "unknown user": st.builds(guess, st.just(unknown), SOFIA),
    "a field of 100 KB": st.builds(guess, st.sampled_from([failure, unknown]), HUGE),
    "a call that is cut in bytes": st.builds(call, TEXT, LINE, st.integers(0, 1500)),
    "more than 100 lines": st.builds(
        many_lines,
        st.one_of(st.integers(0, 60), st.integers(100, 130)),
        TEXT,
        st.sampled_from(["", "y" * 3000]),
        st.booleans(),
        st.frozensets(st.integers(0, 99)),
    ),
    "more than 100 lines that are cut": st.builds(cut_tail, st.integers(99, 110), TEXT.filter(lambda text: len(text) < 1000)),
    "siptrace": st.builds(packet, st.sampled_from(["recv", "send"]), TEXT),
    "what others write": st.just((0, QUIET)),
}  # fmt: skip
