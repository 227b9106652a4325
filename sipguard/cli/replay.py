"""`sipguard replay`: what a jail would have done with a log."""

from __future__ import annotations

import heapq
import json
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from sipguard.cli import output
from sipguard.cli.open_files import Files
from sipguard.cli.options import PATH, config_option
from sipguard.cli.replay_captures import Captures, captures_among
from sipguard.config.filters import of_sip_servers
from sipguard.config.settings import jail_named
from sipguard.detection.detector import Detector
from sipguard.detection.time_range import Span
from sipguard.errors import SipguardError
from sipguard.model import Jail, LogEvent
from sipguard.policy.ignore import IgnoreList, own_addresses
from sipguard.policy.replay import Replay, Story
from sipguard.policy.sight import OffWire
from sipguard.text import span
from sipguard.wire_model import OF_ATTEMPTS, Attempt

_PIECE = 1 << 18
"""Bytes read at once."""
_LONGEST_LINE = 1 << 20
"""Bytes of a line; longer ones are left out, as when a log is followed."""


@click.command("replay")
@click.argument("logs", metavar="FILE...", nargs=-1, required=True)
@click.option("--jail", "name", required=True, metavar="NAME", help="A configured jail, or a packaged one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per address, and one for the whole.")
@click.option("--fail2ban-dir", type=PATH, metavar="DIR", help="Take the jail from this tree.")
@config_option()
def command(logs: tuple[str, ...], name: str, as_json: bool, fail2ban_dir: Path | None, config: Path | None) -> None:
    """Show what the jail NAME would have done with these logs or captures, by their own clock. Nobody is banned.

    FILE is a log, or a capture (pcap, pcapng) for a jail of the wire such as `sip`; also a compressed one (.gz), or a log
    as `-` for standard input. Logs and captures of the same time given together are cross-examined: a line counts as far
    as the packets confirm it. Several are read as one, by the times in them. Names in ignoreip are not resolved.
    """
    if logs.count("-") > 1:
        raise click.UsageError("standard input can be read once: give `-` once")
    jail = _jail(name, fail2ban_dir, config)
    replay = Replay(jail, IgnoreList(jail.ignoreip, own=own_addresses() if jail.ignoreself else ()))
    captures = _captures(jail, logs)
    texts = [one for one in logs if one not in captures]
    with Files(logs, quiet=as_json) as files:
        if captures and texts:
            off_wire = OffWire(jail.filter, packets=True, known=of_sip_servers() if fail2ban_dir else ())
            summary, notes = _cross_examine(_LogsRead(jail, texts), captures, off_wire, replay, files)
        elif captures:
            summary, notes = _replay_captures(captures, replay, files)
        else:
            summary, notes = _replay_logs(jail, texts, replay, files)
    stories = sorted(replay.stories.values(), key=lambda story: (-story.attempts, story.address))
    if as_json:
        for story in stories:
            sys.stdout.write(json.dumps(_story_as_json(story, jail)) + "\n")
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        _show(jail, stories, summary)
    for note in notes:
        click.echo(note, err=True)


def _captures(jail: Jail, files: Sequence[str]) -> list[str]:
    """Which of these files are captures. Raises `SipguardError` when the jail reads something else."""
    captures = captures_among(files)
    if jail.source == "logs":
        if len(captures) == len(files):
            raise SipguardError(
                f"{captures[0]}: a capture, but jail {jail.name} reads logs; name a log beside it, or a jail like sip"
            )
        return captures
    if others := [name for name in files if name not in captures]:
        raise SipguardError(f"{others[0]}: not a capture; jail {jail.name} reads captures, as tcpdump -w writes them")
    return captures


def _cross_examine(
    reading: _LogsRead, names: Sequence[str], off_wire: OffWire, replay: Replay, files: Files
) -> tuple[dict[str, Any], list[str]]:
    """What the logs say, held against the captures."""
    captures = Captures(names)
    captures.off_wire = off_wire
    told: list[tuple[float, str, LogEvent | Attempt]] = [(one.time, "", one) for one in captures.attempts(files)]
    told += reading.events(files)
    told.sort(key=lambda one: one[0])
    examined = replay.cross_examine([(log, one) for _, log, one in told], captures)
    first, last = captures.spans
    summary = reading.summary()
    summary |= {"packets": captures.packets, "confirmed": examined.confirmed, "reported": dict(examined.reasons)}
    summary["contradicted"] = examined.classes["contradicted"]
    summary["from"] = min(filter(None, (_iso(first), summary["from"])), default=None)
    summary["to"] = max(filter(None, (_iso(last), summary["to"])), default=None)
    notes = captures.notes()
    notes += [f"{number} lines count as without the capture: {why}" for why, number in examined.reasons.items()]
    return summary, notes


def _replay_captures(names: Sequence[str], replay: Replay, files: Files) -> tuple[dict[str, Any], list[str]]:
    captures = Captures(names)
    replay.run(captures.events(files))
    first, last = captures.spans
    return _summary(packets=captures.packets, first=first, last=last), captures.notes()


def _replay_logs(jail: Jail, logs: Sequence[str], replay: Replay, files: Files) -> tuple[dict[str, Any], list[str]]:
    reading = _LogsRead(jail, logs)
    replay.run(event for _, _, event in reading.events(files))
    return reading.summary(), []


class _LogsRead:
    """Several logs, read as one by the times in them."""

    def __init__(self, jail: Jail, logs: Sequence[str]) -> None:
        self._logs = logs
        self._detectors = [Detector(jail.filter, timezone=jail.timezone, encoding=jail.encoding) for _ in logs]
        self._spans = [Span(jail.filter, clock=time.time, timezone=jail.timezone, encoding=jail.encoding) for _ in logs]

    def events(self, files: Files) -> Iterator[tuple[float, str, LogEvent]]:
        """What they tell, each with its time and its log."""
        streams = [_events(*one, files) for one in zip(self._logs, self._detectors, self._spans, strict=True)]
        yield from heapq.merge(*streams, key=lambda one: one[0])

    def summary(self) -> dict[str, Any]:
        counts = [detector.counts for detector in self._detectors]
        return _summary(
            lines=sum(one.lines for one in counts),
            candidates=sum(one.candidates for one in counts),
            tampered=sum(one.tampered for one in counts),
            first=min((one.first for one in self._spans if one.first is not None), default=None),
            last=max((one.last for one in self._spans if one.last is not None), default=None),
        )


def _jail(name: str, fail2ban_dir: Path | None, config: Path | None) -> Jail:
    if fail2ban_dir is None:
        return jail_named(name, config)
    from sipguard.fail2ban.config.tree import read_one  # noqa: PLC0415 - only who has such a tree needs it

    return read_one(fail2ban_dir, name)


def _events(log: str, detector: Detector, span: Span, files: Files) -> Iterator[tuple[float, str, LogEvent]]:
    """What the log tells of, each with the time by which several logs are merged: that of the last dated line."""
    last = 0.0
    for lines in _whole_lines(log, files.open(log)):
        span.add(lines)
        for event in detector.events(lines):
            last = max(last, event.time or last)
            yield last, log, event
    yield from ((event.time or last, log, event) for event in detector.flush())


def _whole_lines(log: str, file: BinaryIO) -> Iterator[bytes]:
    """All of a log, in pieces that end where a line does; the last line may lack its end."""
    rest = b""
    skipping = False
    while piece := _read(log, file):
        if skipping:
            _, newline, piece = piece.partition(b"\n")
            if not newline:
                continue
            skipping = False
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        if newline:
            yield whole + newline
        if len(rest) > _LONGEST_LINE:
            rest, skipping = b"", True
    if rest:
        yield rest


def _read(log: str, file: BinaryIO) -> bytes:
    try:
        return file.read(_PIECE)
    except (OSError, EOFError, zlib.error) as error:
        # gzip tells of a damaged file in three ways.
        raise SipguardError(f"{log}: cannot be read to its end: {getattr(error, 'strerror', None) or error}") from error


def _iso(when: float | None) -> str | None:
    return None if when is None else datetime.fromtimestamp(when).astimezone().isoformat()


def _story_as_json(story: Story, jail: Jail) -> dict[str, Any]:
    return {
        "address": story.address,
        "attempts": story.attempts,
        **{name: story.evidence.get(name, 0) for name in OF_ATTEMPTS},
        "lines": story.lines,
        "users": len(story.users),
        "banned_at": _iso(story.banned_at),
        "banned": story.network if story.banned_at is not None else None,
        "misconfigured": story.misconfigured,
        "ignored": story.ignored or None,
        "reasons": _reasons(story, jail),
    }


def _reasons(story: Story, jail: Jail) -> dict[str, int]:
    """What was tried, in words → how often; without what the filter has no words for."""
    found: dict[str, int] = {}
    for regex, attempts in story.regexes.items():
        if name := jail.filter.reason(regex):
            found[name] = found.get(name, 0) + attempts
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _summary(
    *, lines: int = 0, packets: int = 0, candidates: int = 0, tampered: int = 0, first: float | None, last: float | None
) -> dict[str, Any]:
    return {
        "summary": True,
        "lines": lines,
        "packets": packets,
        "candidates": candidates,
        "tampered": tampered,
        "contradicted": 0,
        "from": _iso(first),
        "to": _iso(last),
    }


def _show(jail: Jail, stories: Sequence[Story], summary: dict[str, Any]) -> None:
    banned = sum(story.banned_at is not None for story in stories)
    wire = summary["packets"] > 0
    read = " and ".join(output.counted(summary[f"{what}s"], what) for what in ("line", "packet") if summary[f"{what}s"])
    read = read or output.counted(0, "packet" if jail.source == "wire" else "line")
    output.say(
        f"jail {jail.name}: {output.counted(jail.maxretry, 'attempt')} within {span(jail.findtime)} ban; "
        f"{read}, {output.counted(banned, 'address')} banned"
    )
    rows = [
        [story.address, story.attempts, *([_classes(story)] if wire else [story.lines]), len(story.users), _fate(story)]
        for story in stories
    ]
    output.table(("address", "attempts", "evidence" if wire else "lines", "users", "banned"), rows)
    if summary.get("contradicted"):
        click.echo(f"{summary['contradicted']} lines accuse addresses that have sent nothing: they count for nobody")
    if summary["tampered"]:
        click.echo(f"{summary['tampered']} lines were tampered with: whatever they name was not counted")


def _classes(story: Story) -> str:
    return ", ".join(f"{count} {name}" for name, count in story.evidence.items())


def _fate(story: Story) -> str:
    if story.banned_at is not None:
        network = f" ({story.network})" if story.network != story.address else ""
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(story.banned_at)) + network
    if story.ignored:
        return f"never: {story.ignored}"
    return "no: misconfigured, as it has logged in before" if story.misconfigured else "no"
