"""`sipguard test-filter`: what a filter makes of a log."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from sipguard.cli.filter_report import Report
from sipguard.config import paths
from sipguard.config.filters import read_filter, read_filter_file
from sipguard.detection.detector import Detector, Examined
from sipguard.errors import ConfigError, SipguardError
from sipguard.model import Clock, Filter

_HELD = 1000
"""Lines after which no record is waited for any longer."""
_NOTHING = Examined(False, False, None, None, None, None)
BIG = 4 << 20
"""Bytes from which on a log takes long enough to show progress."""


@click.command("test-filter")
@click.argument("log")
@click.argument("filter_", metavar="FILTER")
@click.argument("ignoreregex", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line of the log, and nothing else.")
@click.option(
    "--fail2ban-dir", type=click.Path(path_type=Path), help="Take filters from this Fail2ban tree's filter.d."
)
@click.option(
    "-c", "--config", type=click.Path(path_type=Path), help="The configuration file whose filters.d is looked into."
)
@click.option("--now", metavar="ISO8601", help="Pretend that it is this time: for dates without a year or a day.")
@click.option("--journal", is_flag=True, help="Lines come from the journal: they have no date of their own.")
@click.option(
    "--maxlines", type=click.IntRange(min=1), help="How many lines a match may span, instead of the filter's."
)
@click.option("--encoding", default="utf-8", show_default=True, help="The log's encoding.")
@click.option("--print-missed", is_flag=True, help="Print the lines that nothing matched.")
def command(  # noqa: PLR0913, PLR0917 - one parameter per option
    log: str,
    filter_: str,
    ignoreregex: str | None,
    as_json: bool,
    fail2ban_dir: Path | None,
    config: Path | None,
    now: str | None,
    journal: bool,
    maxlines: int | None,
    encoding: str,
    print_missed: bool,
) -> None:
    """Try FILTER on LOG: which lines are failures, whose, and which are missed.

    LOG is a file, `-` for standard input, or one line of log. FILTER is the name of a filter (`asterisk`,
    `freeswitch[mode=scan]`), a filter file, or a regex. IGNOREREGEX is a regex for lines to leave out.

    Exit status: 0 if something matched, 1 if nothing did (with --json: 0 as soon as all was read), 2 if the call or the
    filter is wrong.
    """
    found = _filter(filter_, fail2ban_dir, config, journal)
    if ignoreregex:
        found = replace(found, ignoreregex=(*found.ignoreregex, ignoreregex))
    if maxlines:
        found = replace(found, maxlines=maxlines)
    clock = _clock(now)
    detector = Detector(found, clock=clock, encoding=encoding)
    results = _examine(log, detector, encoding, clock if journal else None, quiet=as_json)
    if as_json:
        for number, _, result in results:
            sys.stdout.write(json.dumps(_as_json(number, result)) + "\n")
        return
    report = Report(found, detector.counts)
    started = time.perf_counter()
    for number, line, result in results:
        report.add(number, line, result)
    report.show(log, time.perf_counter() - started, print_missed=print_missed)
    if not report.failures:
        raise click.exceptions.Exit(1)


def _filter(text: str, fail2ban_dir: Path | None, config: Path | None, journal: bool) -> Filter:
    """A filter by name, by file, or a regex as it stands."""
    logtype = "journal" if journal else None
    path = Path(text)
    if len(text) < os.pathconf("/", "PC_PATH_MAX") and "\n" not in text and path.is_file():
        return read_filter_file(path, logtype=logtype)
    name = text.partition("[")[0]
    if name and all(c.isalnum() or c in "-_." for c in name):
        folder = fail2ban_dir / "filter.d" if fail2ban_dir else None
        directories = (folder,) if folder else paths.filter_directories((config or paths.CONFIG_DIR / "x").parent)
        return read_filter(text, directories, logtype=logtype)
    return Filter(name="given on the command line", failregex=(text,), origin="FILTER")


def _clock(now: str | None) -> Clock:
    if now is None:
        return time.time
    try:
        fixed = datetime.fromisoformat(now).astimezone().timestamp()
    except ValueError:
        raise ConfigError(f"--now {now}: not a time; write e.g. 2026-11-21T20:18:00+00:00") from None
    return lambda: fixed


def _examine(
    log: str, detector: Detector, encoding: str, own_time: Clock | None, *, quiet: bool
) -> Iterator[tuple[int, str, Examined]]:
    """Every line of the log with its number, from 1, and what the detector makes of it.

    What a record of several lines tells is told of its first one.
    """
    held: dict[int, tuple[str, Examined]] = {}
    first = number = 1
    with _lines(log, quiet) as lines:
        for number, raw in enumerate(lines, 1):
            line = raw.decode(encoding, "replace").rstrip("\r\n")
            held[number] = (line, _NOTHING)
            _note(held, detector.examine_record(line, time=own_time() if own_time else None))
            while first <= detector.settled or len(held) > _HELD:
                yield (first, *held.pop(first))
                first += 1
    _note(held, detector.examine_rest())
    for number in sorted(held):
        yield (number, *held[number])


def _note(held: dict[int, tuple[str, Examined]], results: list[tuple[int, Examined]]) -> None:
    """What is known of a line now; of two things in one line, the failure."""
    for number, result in results:
        if number in held and not held[number][1].matched:
            held[number] = (held[number][0], result)


def _lines(log: str, quiet: bool) -> AbstractContextManager[Iterable[bytes]]:
    """The log's lines as bytes, in a context that closes them. Lines end at LF alone."""
    if log == "-":
        return nullcontext(sys.stdin.buffer)
    looks_like_path = "\n" not in log and len(log) < os.pathconf("/", "PC_PATH_MAX")
    if looks_like_path and Path(log).exists():
        try:
            file = Path(log).open("rb")  # noqa: SIM115 - the caller's context closes it
        except OSError as error:
            raise SipguardError(f"{log}: {error.strerror}") from error
        return _with_progress(file) if _worth_a_bar(file, quiet) else file
    if looks_like_path and log.startswith("/") and " " not in log:
        raise SipguardError(f"{log}: no such file; give a file, - for standard input, or one line of log")
    return nullcontext(line.encode() for line in log.split("\n"))


def _worth_a_bar(file: BinaryIO, quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty() and os.fstat(file.fileno()).st_size > BIG


def _with_progress(file: BinaryIO) -> AbstractContextManager[Iterable[bytes]]:
    from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
    from rich.progress import wrap_file  # noqa: PLC0415

    size = os.fstat(file.fileno()).st_size
    return wrap_file(file, total=size, description="reading", console=Console(stderr=True), transient=True)


def _as_json(number: int, result: Examined) -> dict[str, Any]:
    failure = result.failure
    when = failure.time if failure else result.time
    return {
        "line": number,
        "matched": result.matched,
        "ignored": result.ignored,
        "host": failure.host if failure else None,
        "time": None if when is None else datetime.fromtimestamp(when).astimezone().isoformat(),
        "user": failure.user if failure else None,
        "users": list(failure.users) if failure else [],
        "attempts": failure.attempts if failure else 0,
        "regex": failure.regex if failure else result.regex,
        "session": failure.session if failure else None,
    }
