"""The nouns of the wire, in the manner of `model`: SIP messages, attempts, and what proves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

Evidence = Literal["proven", "lent", "corroborated", "reported", "unproven", "contradicted", "hand"]
"""What an accusation rests on, docs/wire.md: from strong to weak; `hand` is the word of an operator."""
CLASSES: tuple[Evidence, ...] = get_args(Evidence)
OF_ATTEMPTS = tuple(one for one in CLASSES if one != "hand")
"""What an attempt, or a line about one, can rest on."""

Transport = Literal["udp", "tcp", "tls", "ws", "wss", "sctp"]
"""What carries SIP."""

AttemptVerdict = Literal["failure", "success", "stale", "again", "scan", "seen"]
"""What became of a SIP request: credentials refused; accepted; too old a nonce to be judged; a nonce that was accepted once, used
again; a call to nowhere without credentials; credentials that nobody answered."""


class Packet(NamedTuple):
    """One SIP message on its way, with the addresses of the packet that carried it: not those that it writes of itself."""

    time: float
    source: str
    source_port: int
    destination: str
    destination_port: int
    transport: Transport
    payload: bytes
    inbound: bool | None = None
    """Whether it was seen coming into this machine (True) or leaving it (False); None where that is not known."""


def without_payload(packet: Packet) -> Packet:
    """The same packet without its message, which is not to be kept."""
    return tuple.__new__(Packet, (*packet[:6], b"", packet[7]))  # past its constructor: for every request


class Attempt(NamedTuple):
    """One attempt to authenticate, or call to nowhere, as the packets show it. Never holds nonce, response or body."""

    time: float
    """Of the answer; of the request where there was none."""
    address: str
    """Who is charged with it: the source, or the one who has lent it the nonce."""
    source: str
    """The address that the request came from, as its packet says."""
    port: int
    server: str
    server_port: int
    transport: Transport
    method: str
    user: str
    """The user name of the credentials."""
    account: str
    """The user that the request is about: of To in a REGISTER, of From in others."""
    agent: str
    status: int
    """Of the final answer; 0 without one."""
    verdict: AttemptVerdict
    evidence: Evidence | None
    """None where no answer has come."""
    alarm: bool = False
    """Asterisk has taken a password together with an invented nonce: it may be known to an attacker."""
    blind: str = ""
    """Why the proof may have gone unseen."""
    target: str = ""
    """The user of To: of a call, the number."""


class Blindness(NamedTuple):
    """A time in which packets may have gone unseen."""

    since: float
    until: float
    reason: str


class ServerEvent(NamedTuple):
    """One event of a SIP server, as it tells it over its event socket or manager interface: nothing of it is judged yet."""

    name: str
    fields: Mapping[str, str]


class Watch(NamedTuple):
    """Which of this machine's SIP packets the kernel is to copy to us, and to which NFLOG groups."""

    ports: tuple[tuple[int, int], ...]
    """First and last of each range."""
    requests: int
    """Group of what comes in over UDP."""
    answers: int
    """Group of what goes out over UDP."""
    streams: int
    """Group of TCP, both ways: what both sides say must be read in one order."""
    rate: int
    """Packets per second of each kind at most."""


class Watched(NamedTuple):
    """What the kernel has counted of the wire since the rules were made."""

    limited: int
    """Packets that were not copied, since they were too many."""
    held_back: int
    """Packets that the meter has dropped."""
    metered: int
    """Addresses that are metered now."""


class Meter(NamedTuple):
    """An address of which a few more SIP requests over UDP are let through."""

    address: str
    """Canonical; an IPv6 network of /64 too."""
    until: float
    requests: int
    """How many until then; 0: none, whatever an order before this one has let through."""
    flows: tuple[tuple[str, int], ...] = ()
    """Addresses and source ports of its proven logins: they pass freely."""


SHORT = 64
"""Bytes of a packet that a mark carries: enough for its addresses."""
MARK_FLUSH, MARK_FAILED, MARK_SENT, MARK_SOURCE, MARK_ALL = "flush", "failed", "sent", "source", "all"
"""Prefixes of what NFLOG brings, other than a plain packet.

`flush`: all requests before a failing answer are here now. `failed`: that answer. `sent`: a TCP segment of the server. `source`:
this packet's source has sent more than is read of one address. `all`: more came than is read.
"""


LIMITED_SOURCE = "this address sent more packets than are read of one"
"""Why packets of one address over UDP, and of no other kind, went unseen."""


class Unpaired(NamedTuple):
    """What must survive a crash: testimony that waits, or an attempt that counts and of which no line has told yet."""

    number: int
    kind: str
    """`line`, `wire`; `event`, `silenced` (`policy.told_once`); `asked` (`daemon.pending_lookups`)."""
    address: str
    time: float
    user: str
    line: str
    regex: int
    tags: str = ""
    """JSON of evidence and tags, where they are kept: of `asked`."""
