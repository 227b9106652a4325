"""The report of fail2ban-regex, for scripts and people that know it: counts per regex and date format, then lines."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from sipguard.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sipguard.detection.results import Examined
    from sipguard.detection.survey import Surveyor
    from sipguard.model import Filter

FEW = 20
"""Lines of a kind that are printed unasked."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks to be printed."""

    verbose: bool = False
    all_matched: bool = False
    all_missed: bool = False
    all_ignored: bool = False
    no_missed: bool = False
    no_ignored: bool = False

    @property
    def lines(self) -> bool:
        """Whether each line has to be looked at."""
        return self.verbose or self.all_matched or self.all_missed or self.all_ignored


class RegexReport:
    """Counts as fail2ban-regex counts: comments and empty lines are left out, `<F-NOFAIL>` is ignored."""

    def __init__(self, filter_: Filter, asked: Asked) -> None:
        self._filter = filter_
        self._asked = asked
        self.counts = Counter[str]()
        self._hits: dict[int, list[tuple[str, float | None]]] = {}
        self._prefregex = 0
        self._dates = Counter[str]()
        self._lines: dict[str, list[tuple[int, str]]] = {"matched": [], "ignored": [], "missed": []}

    def add(self, number: int, line: str, result: Examined) -> None:
        if result.date_format:
            self._dates[result.date_format] += 1
        if result.regex is not None and not result.ignored:
            found = (result.failure.host, result.failure.time) if result.failure else ("", result.time)
            self._hits.setdefault(result.regex, []).append(found)
        if result.consumed:
            self._reclaim(number, result.consumed)
        kind = "ignored" if result.ignored or result.nofail else "matched" if result.failure else "missed"
        self.counts[kind] += 1
        self._lines[kind].append((number, line))

    def add_survey(self, surveyor: Surveyor) -> None:
        """What has come of a piece of the log: see `survey_done` for the lines that nobody looked at."""
        for failure in surveyor.failures:
            self._hits.setdefault(failure.regex, []).append((failure.host, failure.time))
        self.counts["matched"] += len(surveyor.failures)
        for number, (line, result) in surveyor.examined.items():
            if result.failure is None:
                self.add(number, line, result)
            elif result.date_format:
                self._dates[result.date_format] += 1

    def survey_done(self, surveyor: Surveyor) -> None:
        """The log has ended."""
        self._dates += surveyor.dates
        self.counts["missed"] = surveyor.counts.lines - self.counts["matched"] - self.counts["ignored"]

    def shows_enough(self) -> bool:
        """Whether no line is to be printed that nobody has looked at."""
        return self._asked.no_missed or self.counts["missed"] >= FEW

    def _reclaim(self, number: int, count: int) -> None:
        """Lines before this one that its match has used up are no longer missed."""
        missed = self._lines["missed"]
        for index in range(len(missed) - 1, -1, -1):
            if not count or missed[index][0] < number - self._filter.maxlines:
                break
            self._lines["matched"].append(missed.pop(index))
            self.counts["missed"] -= 1
            self.counts["matched"] += 1
            count -= 1

    def show(self, seconds: float) -> None:
        click.echo("\nResults\n=======")
        if self._filter.prefregex:
            click.echo(f"\nPrefregex: {sum(map(len, self._hits.values()))} total")
            _box([printable(self._filter.prefregex)])
        hits = {index: len(found) for index, found in self._hits.items()}
        click.echo(f"\nFailregex: {sum(hits.values())} total")
        _box(self._regex_rows(hits), " #) [# of hits] regular expression")
        click.echo(f"\nIgnoreregex: {self.counts['ignored'] if self._filter.ignoreregex else 0} total")
        click.echo("\nDate template hits:")
        _box([f"[{count}] {printable(name)}" for name, count in self._dates.most_common()], "[# of hits] date format")
        total = self.counts.total()
        kinds = ", ".join(f"{self.counts[kind]} {kind}" for kind in ("ignored", "matched", "missed"))
        click.echo(f"\nLines: {total} lines, {kinds}\n[processed in {seconds:.2f} sec]\n")
        self._show_lines()

    def _regex_rows(self, hits: dict[int, int]) -> Iterable[str]:
        for index, text in enumerate(self._filter.failregex):
            if hits.get(index) or self._asked.verbose:
                yield f"{index + 1:2}) [{hits.get(index, 0)}] {printable(text)}"
            if self._asked.verbose:
                for host, when in self._hits.get(index, ()):
                    yield f"    {printable(host)}  {time.ctime(when) if when is not None else ''}"

    def _show_lines(self) -> None:
        asked = self._asked
        if asked.all_matched:
            self._show_kind("matched", everything=True)
        if not asked.no_ignored:
            self._show_kind("ignored", everything=asked.all_ignored)
        if not asked.no_missed:
            self._show_kind("missed", everything=asked.all_missed)

    def _show_kind(self, kind: str, *, everything: bool) -> None:
        count = self.counts[kind]
        if not count:
            return
        heading = f"{kind.capitalize()} line(s):"
        if everything or count < FEW:
            _box([printable(line.rstrip()) for _, line in sorted(self._lines[kind])], heading)
        else:
            click.echo(f"{heading} too many to print.  Use --print-all-{kind} to print all {count} lines")


def _box(rows: Iterable[str], heading: str = "") -> None:
    """Rows with a margin as Fail2ban draws it; none, no box."""
    listed: Sequence[str] = list(rows)
    if listed:
        click.echo("\n".join([*([f"|- {heading}"] if heading else []), *(f"|  {row}" for row in listed), "`-"]))
