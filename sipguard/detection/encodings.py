"""The bytes of one line → its text. Lines are told apart by the byte LF, in every encoding.

In UTF-16 that byte is half of a character. Its other half, a NUL, ends the line (big endian) or begins the next one
(little endian), where `sources` may have dropped it, since after a truncation NULs stand at the beginning of lines.
Any other character with that byte in it (U+0A0A) ends a line as well.
"""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING

from sipguard.text import WIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

from sipguard.text import log_codec

_MARK = "\ufeff"


def codec_of(encoding: str) -> str:
    """The codec of a log as `codecs.lookup` names it; `auto` is UTF-8. Raises LookupError: there is none for logs."""
    return log_codec("utf-8" if encoding.lower() == "auto" else encoding)


def line_decoder(encoding: str) -> Callable[[bytes], str]:
    """Gives the text of a line without its LF; what is invalid is replaced. `encoding` as `codecs.lookup` names it."""
    if encoding == "utf-16-be":
        return _big
    if encoding in ("utf-16", "utf-16-le"):
        return _little
    return methodcaller("decode", encoding, "replace")


def is_wide(encoding: str) -> bool:
    """Whether only single lines can be decoded, not several at once."""
    return encoding in WIDE


def is_ascii_based(encoding: str) -> bool:
    """Whether ASCII characters are the same single bytes in this encoding, and nothing else is decoded to one."""
    if encoding == "utf-8":
        return True
    every = bytes(range(256))
    try:
        text = every.decode(encoding, "replace")
    except (LookupError, UnicodeError):
        return False
    return len(text) == 256 and text[:128] == every[:128].decode("ascii") and not text[128:].isascii()


def decoded_lines(data: bytes, encoding: str) -> Iterable[str]:
    """The lines of `data` without their ends."""
    decode = line_decoder(encoding)
    if is_wide(encoding):
        return (decode(line).rstrip("\r") for line in data.removesuffix(b"\n").split(b"\n"))
    return (line.rstrip("\r") for line in decode(data).removesuffix("\n").split("\n"))


def count_lines(data: bytes) -> int:
    """The number of lines in `data`, the last of which need not be ended.

    `bytes.count` looks at every byte before Python 3.13; `bytes.replace` jumps from one LF to the next, in a third of the time.
    """
    return len(data) - len(data.replace(b"\n", b"")) + (not data.endswith(b"\n"))


def _little(line: bytes) -> str:
    return line.lstrip(b"\0").decode("utf-16-le", "replace").removeprefix(_MARK)


def _big(line: bytes) -> str:
    line = line.removesuffix(b"\0").lstrip(b"\0")
    even = line if len(line) % 2 == 0 else b"\0" + line
    return even.decode("utf-16-be", "replace").removeprefix(_MARK)
