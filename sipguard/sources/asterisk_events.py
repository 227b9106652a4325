"""Reads the security events of Asterisk's manager interface (AMI).

No I/O here: bytes in, events and answers out. Asterisk does not escape values: a caller's name with line ends in it writes
lines, and whole events, of its own. So an event counts only if it is complete: the keys that Asterisk writes, each once and in
its order, with addresses that are some. Anything else is tampered, and names nobody. What a caller can write with line ends is a
name alone, of 36 characters (measured: Asterisk 22 and 16): too few for a whole event.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sipguard.sources.event_dialogue import EventCounts, RefusedError
from sipguard.wire_model import ServerEvent

if TYPE_CHECKING:
    from sipguard.secret import Secret

LARGEST = 65_536
"""Bytes of an event; what a caller can make of it is about 10 KB."""
SUSPECT = 16_384
"""Bytes behind the head of an event that is cut, in which its rest must come."""
_END = b"\r\n\r\n"
_ORDER = (
    "EventTV", "Severity", "Service", "EventVersion", "AccountID", "SessionID", "LocalAddress", "RemoteAddress",
)  # fmt: skip
"""The keys of every security event that names an account, after `Event` and `Privilege`."""
_OWN = frozenset({"Timestamp", "SequenceNumber", "File", "Line", "Func", "SystemName"})
"""What manager.conf and asterisk.conf can add before `EventTV`, where nothing of a caller's stands yet."""
_TAILS: dict[str, tuple[str, ...]] = {
    "ChallengeResponseFailed": ("Challenge", "Response", "ExpectedResponse"),
    "ChallengeSent": ("Challenge",),
    "SuccessfulAuth": ("UsingPassword",),
}
"""What must follow the addresses, so that an event which a value has cut off is seen to be incomplete."""
_SHORT = frozenset({*_TAILS, "InvalidAccountID", "InvalidPassword", "FailedACL"})
"""Events behind whose keys nothing may stand but these:"""
_MAY_FOLLOW = frozenset({"Module", "SessionTV", "ACLName", "ReceivedChallenge", "ReceivedHash", "Challenge"})
_new = tuple.__new__
_NAME = re.compile(r"[A-Z][A-Za-z0-9]{1,40}")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,40}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?[+-][0-9]{4}")
_PLACE = re.compile(r"IPV[46]/[A-Za-z]{2,8}/[0-9A-Fa-f.:]{2,45}/\d{1,5}")
_VALUE = r"[^\r\n]*+"
_FORMS = {"EventTV": _TIME.pattern, "LocalAddress": _PLACE.pattern, "RemoteAddress": _PLACE.pattern}
_USUAL = re.compile(
    rf"Event: (?P<Event>{_NAME.pattern})\r\nPrivilege: security,all"
    + "".join(rf"\r\n{key}: (?P<{key}>{_FORMS.get(key, _VALUE)})" for key in _ORDER)
    + rf"(?P<rest>(?:\r\n{_KEY.pattern}: {_VALUE})*+)"
)
"""An event as nearly all are: every key that is expected and nothing before them; behind them, whatever has the form."""
_TAIL = re.compile(rf"\r\n({_KEY.pattern}): ({_VALUE})")
_SECURITY = frozenset({"security,all", "security"})


class BlockReader:
    """Cuts the stream into blocks of lines, each ended by an empty line. Holds `LARGEST` bytes at most."""

    def __init__(self, counts: EventCounts) -> None:
        self._buffer = bytearray()
        self._seen = 0
        """Bytes at the beginning of the buffer that hold no end of a block."""
        self._skipping = False
        self._counts = counts

    def feed(self, data: bytes) -> list[str]:
        """The blocks that are complete now, without their end, a character for each byte."""
        buffer = self._buffer
        buffer += data
        blocks: list[str] = []
        if buffer.find(_END, max(0, self._seen - len(_END))) >= 0:
            *blocks, rest = buffer.decode("latin-1").split("\r\n\r\n")
            if self._skipping:
                self._skipping = False
                blocks[0] = ""  # a broken one: it could not be read
            del buffer[: len(buffer) - len(rest)]
        if len(buffer) > LARGEST:
            if not self._skipping:
                self._counts.oversize += 1
            self._skipping = True
            del buffer[: -len(_END)]
        self._seen = len(buffer)
        return blocks


class AsteriskDialogue:
    """Logs in for security events, and gives those that hold."""

    def __init__(self, user: str, password: Secret) -> None:
        self.counts = EventCounts()
        self.ready = False
        self._user = user
        self._password = password
        self._blocks = BlockReader(self.counts)
        self._banner = b""
        self._step = "banner"
        self._suspect = 0
        """Bytes that are still to be disbelieved behind a broken event."""

    def take(self, data: bytes) -> tuple[list[ServerEvent], bytes]:
        """What the bytes tell, and what to send now. Raises `RefusedError` when the server does not want us."""
        answer = b""
        if self._step == "banner":
            self._banner += data
            head, found, data = self._banner.partition(b"\r\n")
            if not found:
                if len(self._banner) > 256:
                    raise RefusedError("this is no manager interface of Asterisk")
                return [], b""
            if not head.startswith(b"Asterisk Call Manager/"):
                raise RefusedError("this is no manager interface of Asterisk")
            self._step = "login"
            answer = self._login()
        events = []
        for block in self._blocks.feed(data):
            if self._step != "login":  # a `Response` would be a caller's: nothing more is asked
                if (event := self._believed(block)) and self.ready:
                    events.append(event)
            elif block.startswith("Response: "):
                self._replied(block)
        return events, answer

    @staticmethod
    def farewell() -> bytes:
        """What to send before hanging up."""
        return b"Action: Logoff\r\n\r\n"

    def _login(self) -> bytes:
        lines = ("Action: Login", f"Username: {self._user}", f"Secret: {self._password.reveal()}", "Events: security")
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode()

    @property
    def silence(self) -> str:
        """What it means when nothing more comes before `ready`; empty where that may be anything."""
        if self._step != "accepted":
            return ""
        return "the login is right, but no event tells of it: write read = security to this user in manager.conf"

    def _replied(self, block: str) -> None:
        if block.startswith("Response: Success"):
            # Who may read security events is told of his own login first; Asterisk says nothing to who may not.
            self._step = "accepted"
        elif "Permission denied" in block:
            raise RefusedError("permission denied: write read = security to this user in manager.conf")
        else:
            raise RefusedError("user or password is wrong, or an ACL of manager.conf refuses this host")

    def _believed(self, block: str) -> ServerEvent | None:
        """The event of a block, unless it, or one just before it, was written into."""
        event = parse(block)
        suspect, self._suspect = self._suspect, max(0, self._suspect - len(block) - len(_END))
        if event is None:
            # Asterisk writes an event in one go: between a head that is cut and its rest stands what a caller has written.
            self._suspect = SUSPECT if not suspect and _is_head(block) else 0
            self.counts.tampered += 1
            return None
        if suspect:
            self.counts.tampered += 1
            return None
        if event.name == "":
            return None
        self.counts.events += 1
        if self._step == "accepted":
            self._step = "listening"
            self.ready = True
            if event.fields.get("AccountID") == self._user and event.fields.get("Service") == "AMI":
                return None  # our own login
        return event


def _is_head(block: str) -> bool:
    """Whether a broken block is the beginning of an event that lacks its end."""
    if not block.startswith("Event: "):
        return False
    name = block[7:60].split("\r\n", maxsplit=1)[0]
    last = block.rpartition("\r\n")[2].partition(":")[0]
    ends = {_TAILS[name][-1]} if name in _TAILS else {_ORDER[-1], "ACLName", "ReceivedHash"}
    return last not in ends | {"Module", "SessionTV"}


def parse(block: str) -> ServerEvent | None:
    """A security event; one without name for an event of another kind; None for a block that is none as Asterisk writes it.

    Each character of the block stands for a byte; the fields are text.
    """
    event = _usual(block) or _exact(block)
    if event is None or block.isascii():
        return event
    return ServerEvent(
        event.name, {key: text.encode("latin-1").decode("utf-8", "replace") for key, text in event.fields.items()}
    )


def _usual(text: str) -> ServerEvent | None:
    """What `_exact` says of an event that needs no more than one look; None for any other."""
    match = _USUAL.fullmatch(text)
    if match is None:
        return None
    tail = _TAIL.findall(match["rest"])
    fields = match.groupdict()
    del fields["rest"]
    fields["Privilege"] = "security,all"
    count = len(fields) + len(tail)
    fields.update(tail)
    if len(fields) < count or not _ends_rightly(match["Event"], [key for key, _ in tail]):
        return None
    return _new(ServerEvent, (match["Event"], fields))


def _exact(text: str) -> ServerEvent | None:
    """What a block is, line by line."""
    lines = text.split("\r\n")
    # A value may hold anything but the end of a line: ESC, CR and LF alone stand in what callers choose.
    parts = [line.partition(": ") for line in lines]
    names = [name for name, _, _ in parts]
    fields = {name: value for name, colon, value in parts if colon and _KEY.fullmatch(name)}
    whole = len(fields) == len(lines)
    if not whole or names[:2] != ["Event", "Privilege"] or not _NAME.fullmatch(fields["Event"]):
        return None
    if fields["Privilege"] not in _SECURITY:
        return ServerEvent("", fields)
    return ServerEvent(fields["Event"], fields) if _is_complete(names[2:], fields) else None


def _is_complete(names: list[str], fields: dict[str, str]) -> bool:
    """Whether a security event has the keys that Asterisk writes, in its order, and addresses that are some."""
    while names and names[0] in _OWN:
        del names[0]
    order = _ORDER if "AccountID" in fields else tuple(name for name in _ORDER if name != "AccountID")
    if tuple(names[: len(order)]) != order or not _ends_rightly(fields["Event"], names[len(order) :]):
        return False
    places = (fields["LocalAddress"], fields["RemoteAddress"])
    return bool(_TIME.fullmatch(fields["EventTV"])) and all(map(_PLACE.fullmatch, places))


def _ends_rightly(event: str, names: list[str]) -> bool:
    """Whether the keys behind the addresses are those that this event has there."""
    tail = _TAILS.get(event, ())
    if tuple(names[: len(tail)]) != tail:
        return False
    return event not in _SHORT or _MAY_FOLLOW.issuperset(names[len(tail) :])
