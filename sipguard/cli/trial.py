"""Trying a filter on a log: what `test-filter` and `fail2ban-regex` share.

LOG is a file, `-`, `systemd-journal[options]` or lines given literally; a filter is a name, a file, both with options
behind them (`sshd[mode=ddos]`, `./my.conf[mode=ddos]`), or a regex given literally.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import filterfalse
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sipguard.config.filters import read_filter, read_filter_file
from sipguard.config.references import parse_reference
from sipguard.detection.detector import Detector
from sipguard.detection.encodings import is_wide, line_decoder
from sipguard.detection.pcre2 import Pattern
from sipguard.detection.results import Examined
from sipguard.detection.survey import SurveyError, Surveyor
from sipguard.detection.tags import without_names
from sipguard.errors import ConfigError, SipguardError
from sipguard.model import Clock, Filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sipguard.cli.filter_report import Report
    from sipguard.cli.regex_report import RegexReport

BIG = 4 << 20
"""Bytes from which on a log takes long enough to show progress."""
JOURNAL = "systemd-journal"
_PIECE = 1 << 18
"""Bytes of a log that are looked through at once."""
_HELD = 1000
"""Lines after which no record is waited for any longer."""
_NOTHING = Examined(False, False, None, None, None, None)
_REFERENCE = re.compile(r"[\w/.\-]+(?:\[.*\])?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says instead of the filter. None leaves the filter's word."""

    ignoreregex: str | None = None
    datepattern: str | None = None
    maxlines: int | None = None
    usedns: str | None = None
    journalmatch: tuple[str, ...] = ()
    timezone: str | None = None
    encoding: str = "utf-8"
    as_fail2ban: bool = False
    """Without the keys that Fail2ban does not know: records, tampering, successes (docs/sip.md)."""


def overrides_of(options: Mapping[str, Any], **more: Any) -> Overrides:
    """What the options that both programs have say. Raises ConfigError for a word of --usedns that is none."""
    names = ("ignoreregex", "datepattern", "maxlines", "timezone", "encoding")
    usedns = _usedns(options["raw"], options["usedns"])
    return Overrides(**{name: options[name] for name in names}, usedns=usedns, **more)


class Trial:
    """One filter and one log. Raises ConfigError: the filter, or what is said instead of it, is wrong."""

    def __init__(
        self, found: Filter, log: str, overrides: Overrides, directories: Sequence[Path], *, clock: Clock
    ) -> None:
        self.log = log
        self.filter = _overridden(found, overrides, directories)
        self.encoding = "utf-8" if overrides.encoding == "auto" else overrides.encoding
        matched = without_names(self.filter) if overrides.usedns == "no" else self.filter
        self._matched = matched
        self._options = {"clock": clock, "timezone": overrides.timezone, "encoding": self.encoding}
        self.detector = Detector(matched, clock=clock, timezone=overrides.timezone, encoding=self.encoding)

    def survey(self, *, quiet: bool = True, comments: bool = True) -> Iterator[Surveyor]:
        """What the log gives, piece by piece, without looking at each line: the same detector again after each piece.

        Raises SurveyError where every line has to be looked at, also when much of it has been read.
        """
        if self.log == "-" or not _is_file(self.log):
            raise SurveyError  # what can be read only once, or is next to nothing
        surveyor = Surveyor(self._matched, **self._options)
        with _lines(self.log, quiet) as lines:
            while piece := lines.read(_PIECE) + lines.readline():  # type: ignore[attr-defined] # it is a file
                surveyor.survey(_ended(piece) if comments else _without_comments(_ended(piece)))
                yield surveyor
        surveyor.survey_end()
        self.detector = surveyor
        yield surveyor

    def surveyed(self, report: Report | RegexReport, *, quiet: bool = True, comments: bool = True) -> bool:
        """Whether the report has what the log gives, without a look at each line; if not, some of it."""
        try:
            for surveyor in self.survey(quiet=quiet, comments=comments):
                report.add_survey(surveyor)
        except SurveyError:
            return False
        report.survey_done(surveyor)
        return True

    def results(
        self, own_time: Clock | None = None, *, quiet: bool = True, comments: bool = True
    ) -> Iterator[tuple[int, str, Examined]]:
        """Every line with its number, from 1, and what the detector makes of it.

        With `own_time` the lines come from the journal and have no date of their own. `quiet` shows no progress. Without
        `comments`, empty lines and those that begin with `#` are left out, as fail2ban-regex does.
        """
        if self.log.partition("[")[0] == JOURNAL:
            yield from self._journal()
            return
        with _lines(self.log, quiet) as lines:
            encoding = codecs.lookup(self.encoding).name
            decode = line_decoder(encoding)
            # In UTF-16 the second byte of the last LF is no further line.
            whole = filterfalse(b"\0".__eq__, lines) if is_wide(encoding) else lines
            decoded = ((n, decode(raw.removesuffix(b"\n")).rstrip("\r\n")) for n, raw in enumerate(whole, 1))
            wanted = ((n, line) for n, line in decoded if comments or (line and not line.startswith("#")))
            yield from _told(self.detector, wanted, own_time)

    def _journal(self) -> Iterator[tuple[int, str, Examined]]:
        from sipguard.sources.journal import read_journal  # noqa: PLC0415 - where a journal is read
        from sipguard.sources.journal_query import query  # noqa: PLC0415

        options = parse_reference(self.log, "LOG")[1]
        try:
            entries = read_journal(query(self.filter.journalmatch, options, "LOG"), self.encoding)
            for number, entry in enumerate(entries, 1):
                yield number, entry.text, self.detector.examine(entry.text, time=entry.time)
        except OSError as error:
            raise SipguardError(f"{self.log}: {error.strerror}; is systemd's journal here?") from error


def _told(
    detector: Detector, lines: Iterable[tuple[int, str]], own_time: Clock | None
) -> Iterator[tuple[int, str, Examined]]:
    """What the detector makes of each line; what a record of several lines tells is told of its first one."""
    held: dict[int, tuple[int, str, Examined]] = {}

    def note(results: list[tuple[int, Examined]]) -> None:
        for place, result in results:
            # Of two things in one line, the failure.
            if place in held and not held[place][2].matched:
                held[place] = (*held[place][:2], result)

    first = 1
    for place, (number, line) in enumerate(lines, 1):
        held[place] = (number, line, _NOTHING)
        note(detector.examine_record(line, time=own_time() if own_time else None))
        while first <= detector.settled or len(held) > _HELD:
            yield held.pop(first)
            first += 1
    note(detector.examine_rest())
    yield from held.values()


def _ended(piece: bytes) -> bytes:
    return piece if piece.endswith(b"\n") else piece + b"\n"


def _without_comments(piece: bytes) -> bytes:
    """Without empty lines and those that begin with `#`."""
    if not piece.startswith((b"\n", b"#")) and not Pattern(r"\n[\n#]").once(piece):
        return piece
    return b"".join(
        line for line in (one + b"\n" for one in piece.split(b"\n")[:-1]) if not line.startswith((b"\n", b"#"))
    )


def is_reference(text: str) -> bool:
    """Whether this can be the name of a filter or a file, with or without options, rather than a regex."""
    return bool(_REFERENCE.fullmatch(text)) and len(text) < os.pathconf("/", "PC_PATH_MAX")


def find_filter(text: str, directories: Sequence[Path], *, logtype: str | None = None) -> Filter:
    """The filter that `text` names; a file if there is one, else by name in `directories`; or the regex that it is.

    Raises ConfigError: a name of no filter, a file that is none.
    """
    if _is_file(text):
        return read_filter_file(Path(text), logtype=logtype)
    if is_reference(text):
        name, options = parse_reference(text, "FILTER")
        if "/" in name or name.endswith((".conf", ".local")):
            # `filter.d/sshd.conf` is below the tree, whatever the working directory is.
            bases = [base for folder in directories for base in (folder, folder.parent) if not name.startswith("/")]
            tried = [Path(name), *(base / name for base in bases)]
            path = next((one for one in tried if _is_file(str(one))), Path(name))
            return read_filter_file(path, options, logtype=logtype)
        return read_filter(text, directories, logtype=logtype)
    return Filter(name="given on the command line", failregex=(text,), origin="FILTER")


def _overridden(found: Filter, overrides: Overrides, directories: Sequence[Path]) -> Filter:
    changes: dict[str, Any] = {"options": {}} if overrides.as_fail2ban else {}
    if overrides.ignoreregex:
        changes["ignoreregex"] = (*found.ignoreregex, *_ignoreregexes(overrides.ignoreregex, directories))
    given = {name: getattr(overrides, name) for name in ("datepattern", "maxlines", "journalmatch")}
    changes |= {name: value for name, value in given.items() if value}
    return replace(found, **changes)


def _ignoreregexes(text: str, directories: Sequence[Path]) -> tuple[str, ...]:
    """A regex, or those of a filter file."""
    if text.endswith(".conf") and is_reference(text):
        return find_filter(text, directories).ignoreregex
    return (text,)


def _lines(log: str, quiet: bool) -> AbstractContextManager[Iterable[bytes]]:
    """The log's lines as bytes, in a context that closes them. Lines end at LF alone."""
    if log == "-":
        return nullcontext(sys.stdin.buffer)
    if os.path.lexists(log):
        try:
            file = Path(log).open("rb")  # noqa: SIM115 - the caller's context closes it
        except OSError as error:
            raise SipguardError(f"{log}: {error.strerror}") from error
        shown = not quiet and sys.stderr.isatty() and os.fstat(file.fileno()).st_size > BIG
        return _with_progress(file) if shown else file
    if re.fullmatch(r"/\S*|[\w.+~/-]+(?:/[\w.+~-]+|\.log)", log):
        raise SipguardError(f"{log}: {_missing(log)}; give a file, - for standard input, or one line of log")
    return nullcontext(os.fsencode(line) for line in log.split("\n"))


def _is_file(text: str) -> bool:
    """Whether this is the name of a file, rather than a regex or a line of log, as long as they may be."""
    return os.path.isfile(text)  # noqa: PTH113 - Path.is_file raises when a name is too long


def _missing(path: str) -> str:
    """Why nothing is found there."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return "no such file"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or "no such file"
    return "no such file"


def _with_progress(file: BinaryIO) -> AbstractContextManager[Iterable[bytes]]:
    from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
    from rich.progress import wrap_file  # noqa: PLC0415

    size = os.fstat(file.fileno()).st_size
    return wrap_file(file, total=size, description="reading", console=Console(stderr=True), transient=True)


def _usedns(raw: bool, usedns: str | None) -> str | None:
    """`--raw` is `--usedns raw`. Raises ConfigError for a word that is none."""
    words = {"yes": "yes", "warn": "warn", "no": "no", "raw": "raw", "true": "yes", "false": "no"}
    if usedns is not None and usedns.lower() not in words:
        raise ConfigError(f"--usedns {usedns[:40]!a}: write yes, warn, no or raw")
    return "raw" if raw else words[usedns.lower()] if usedns else None
