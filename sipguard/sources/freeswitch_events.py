"""Reads FreeSWITCH's event socket (mod_event_socket): frames of a head and a body, events as JSON.

No I/O here: bytes in, events and answers out. FreeSWITCH writes no line feed into JSON, so a frame's head is found again
behind whatever was damaged. The password is power over the whole server: `auth`, `event` and `exit` are all that is sent.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from sipguard.sources.event_dialogue import EventCounts, RefusedError
from sipguard.wire_model import ServerEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sipguard.secret import Secret

LARGEST = 262_144
"""Bytes of an event; the largest that a registration makes is about 20 KB."""
_LONGEST_HEAD = 4096
_LENGTH_DIGITS = 9
_HEAD = re.compile(rb"((?:(?:Content|Controlled|Reply|Job|Socket)-[A-Za-z-]{1,30}: ?[^\n]{0,1000}\n){1,8})\n")
_FIELD = re.compile(rb"([A-Za-z-]+): ?([^\n]*)\n")
_BOUNDARY = re.compile(rb"(?<![A-Za-z-])Content-(?:Length|Type): ?[^\n]{1,100}\n")
_EVENT = "text/event-json"
_USUAL_HEAD = re.compile(rb"Content-Length: (\d{1,5})\nContent-Type: text/event-json\n\n")
_USUAL_TEXT = re.compile(_USUAL_HEAD.pattern.decode(), re.ASCII)
_FIRST = '{"Event-Subclass":"'
_new = tuple.__new__


class Frame(NamedTuple):
    """One frame: its `Content-Type`, `Reply-Text` and body, a character for each byte."""

    kind: str
    reply: str
    body: str


class FrameReader:
    """Cuts the stream into frames. Holds at most `LARGEST` bytes and a head; rubbish between frames is skipped and counted."""

    def __init__(self, counts: EventCounts) -> None:
        self._buffer = bytearray()
        self._counts = counts
        self._seen = 0
        """Bytes at the beginning of the buffer in which no next head stands."""
        self._skip = 0
        """Bytes of a frame that is too large and still to come."""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now."""
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        position, text = 0, ""
        while True:
            if not self._skip and self._is_usual(position):
                text = text or buffer.decode("latin-1")
                position = _usual_frames(text, position, frames)
                self._seen = 0
            frame, position = self._next(position)
            if frame is None:
                break
            frames.append(frame)
            self._seen = 0
        del buffer[:position]
        return frames

    def _is_usual(self, position: int) -> bool:
        """Whether what begins there is worth reading as nearly all frames are: an event, and complete."""
        head = _USUAL_HEAD.match(self._buffer, position)
        return head is not None and head.end() + int(head[1]) <= len(self._buffer)

    def _next(self, position: int) -> tuple[Frame | None, int]:
        """The frame at `position` or behind it, and where what is left begins."""
        buffer = self._buffer
        while True:
            match = _HEAD.search(buffer, position)
            if self._skip:
                # A frame that claims to be too large: a head within it shows that the claim was a lie.
                end = match.start() if match else max(position, len(buffer) - _LONGEST_HEAD)
                passed = min(self._skip, end - position)
                self._skip = 0 if match and passed < self._skip else self._skip - passed
                position += passed
                if match is None and self._skip:
                    return None, position
                continue
            if match is None:
                return None, self._without_rubbish(position)
            if match.start() > position:
                self._counts.rubbish += 1
            frame, after = self._body(match)
            if after is None:
                return None, match.start()
            if frame is not None:
                return frame, after
            position = after

    def _body(self, match: re.Match[bytes]) -> tuple[Frame | None, int | None]:
        """The frame whose head matched and where it ends; without frame: go on there, or wait (None)."""
        head = {name.lower(): value.strip() for name, value in _FIELD.findall(match[1])}
        length_text = head.get(b"content-length", b"0")
        if not length_text.isdigit() or len(length_text) > _LENGTH_DIGITS:
            self._counts.damaged += 1
            return None, match.end()
        length, begin = int(length_text), match.end()
        if length > LARGEST:
            self._counts.oversize += 1
            self._skip = length
            return None, begin
        kind, reply = _text(head.get(b"content-type", b"")), _text(head.get(b"reply-text", b""))
        end = begin + length
        if kind == _EVENT:
            end = self._true_end(begin, end)
        if len(self._buffer) < end:
            return None, None
        return Frame(kind, reply, self._buffer[begin:end].decode("latin-1")), end

    def _true_end(self, begin: int, end: int) -> int:
        """Where an event ends: a length that lies swallows the next head, which a line feed shows."""
        feed = self._buffer.find(b"\n", max(begin, self._seen), end)
        if feed < 0:
            self._seen = min(end, len(self._buffer)) if begin < _LONGEST_HEAD else 0
            return end
        other = _BOUNDARY.search(self._buffer, begin, end)
        return other.start() if other else end

    def _without_rubbish(self, position: int) -> int:
        """A head may still be growing at the end; more than that is rubbish."""
        if len(self._buffer) - position > _LONGEST_HEAD:
            self._counts.rubbish += 1
            return len(self._buffer) - _LONGEST_HEAD
        return position


def _usual_frames(text: str, position: int, frames: list[Frame]) -> int:
    """Adds the events that stand there, one behind the other, complete and without a line feed; where they end."""
    match, find, size = _USUAL_TEXT.match, text.find, len(text)
    while head := match(text, position):
        begin = head.end()
        end = begin + int(head[1])
        if end > size or find("\n", begin, end) >= 0:
            break
        frames.append(_new(Frame, (_EVENT, "", text[begin:end])))  # past its constructor, which takes twice as long
        position = end
    return position


class FreeSwitchDialogue:
    """Logs in, asks for events by name, and gives them."""

    def __init__(self, password: Secret, wanted: Mapping[str, Iterable[str]]) -> None:
        """`wanted`: events by name, and which of their fields are read."""
        self.counts = EventCounts()
        self.ready = False
        self.silence = ""
        self._names = sorted(wanted)
        self._marks = {name: _marks(keys) for name, keys in wanted.items()}
        self._password = password
        self._frames = FrameReader(self.counts)
        self._step = "greeting"

    def take(self, data: bytes) -> tuple[list[ServerEvent], bytes]:
        """What the bytes tell, and what to send now. Raises `RefusedError` when the server does not want us."""
        events: list[ServerEvent] = []
        answer = b""
        for frame in self._frames.feed(data):
            if frame.kind == _EVENT:
                if self.ready and (event := self._event(frame.body)):
                    events.append(event)
            else:
                answer += self._answer(frame)
        return events, answer

    @staticmethod
    def farewell() -> bytes:
        """What to send before hanging up."""
        return b"exit\n\n"

    def _answer(self, frame: Frame) -> bytes:
        if frame.kind == "text/rude-rejection":
            raise RefusedError(
                "the ACL of the event socket refuses this host (apply-inbound-acl in event_socket.conf.xml)"
            )
        if frame.kind == "text/disconnect-notice":
            raise RefusedError("FreeSWITCH has ended the connection")
        if frame.kind == "auth/request" and self._step == "greeting":
            self._step = "auth"
            return b"auth " + self._password.reveal().encode() + b"\n\n"
        if frame.kind == "command/reply":
            return self._replied(frame.reply)
        return b""

    def _replied(self, reply: str) -> bytes:
        if self._step == "auth":
            if not reply.startswith("+OK"):
                raise RefusedError("the password is wrong; see events_password_file")
            self._step = "event"
            custom = [name for name in self._names if "::" in name]
            plain = [name for name in self._names if "::" not in name]
            return f"event json {' '.join([*plain, 'CUSTOM', *custom] if custom else plain)}\n\n".encode()
        if self._step == "event":
            if not reply.startswith("+OK"):
                raise RefusedError("FreeSWITCH refuses the command `event`: this user may not read these events")
            self._step = "listening"
            self.ready = True
        return b""

    def _event(self, body: str) -> ServerEvent | None:
        """The fields that are wanted of an event; None where it is none, or a key of them stands twice."""
        event = self._usual(body)
        if event is None:
            try:
                event = self._decoded(body)
            except (ValueError, TypeError, RecursionError):
                self.counts.damaged += 1
                return None
            if event is None:
                self.counts.tampered += 1
                return None
        self.counts.events += 1
        return event

    def _usual(self, body: str) -> ServerEvent | None:
        """An event as nearly all are, found by its keys alone: a fifth of the time that reading all of it takes.

        JSON has no quotation mark in a text without a backslash before it: behind a comma, a key in its quotation marks with a
        colon and another mark is that key, wherever it stands. No letter of a key is written as `\\u0061`: cJSON never does.
        """
        # From behind: `find` takes three times as long, it skips less on text like this.
        find, rfind = body.find, body.rfind
        if not body.startswith(_FIRST) or not body.endswith('"}') or rfind("Event-Subclass", len(_FIRST)) >= 0:
            return None
        name = body[len(_FIRST) : find('"', len(_FIRST))]
        if not name or "\\" in name or not name.isascii():
            return None
        fields = {}
        for key, mark, length in self._marks.get(name, ()):
            at = rfind(mark)
            if at < 0:
                continue
            begin = at + length
            value = body[begin : find('"', begin)]
            if "\\" in value or rfind(mark, 0, at) >= 0:
                return None
            fields[key] = value if value.isascii() else _utf8(value)
        return _new(ServerEvent, (name, fields))

    def _decoded(self, body: str) -> ServerEvent | None:
        """Any event. None if a key that is wanted stands twice with different values (the profile's name does, with one)."""
        pairs = _IN_PAIRS.decode(_utf8(body))
        if not isinstance(pairs, _Pairs):
            raise TypeError("no object")
        fields = dict(pairs)
        name = fields.get("Event-Subclass") or fields.get("Event-Name") or "?"
        name = name if isinstance(name, str) else "?"
        wanted = [key for key, _, _ in self._marks.get(name, ())]
        naming = ("Event-Subclass", *(() if fields.get("Event-Subclass") else ("Event-Name",)))
        if any(key in (*wanted, *naming) and fields[key] != value for key, value in pairs):
            return None
        return ServerEvent(name, {key: text for key in wanted if isinstance(text := fields.get(key), str)})


class _Pairs(list[tuple[str, Any]]):
    """An object with each of its keys, also one that stands twice."""


_IN_PAIRS = json.JSONDecoder(object_pairs_hook=_Pairs, strict=False)


def _marks(keys: Iterable[str]) -> tuple[tuple[str, str, int], ...]:
    """How each key stands in an event, up to its value, and how long that is."""
    return tuple((key, mark, len(mark)) for key in keys if (mark := f',"{key}":"'))


def _utf8(text: str) -> str:
    """Text of which each character is a byte."""
    return text.encode("latin-1").decode("utf-8", "replace")


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
