"""What `test-filter` tells the author of a filter: hits per regex, dates, addresses, missed lines."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

import click

from sipguard.cli import output
from sipguard.detection.results import Counts, Examined
from sipguard.detection.survey import Surveyor
from sipguard.model import Failure, Filter
from sipguard.text import printable, short

MOST_ADDRESSES = 20
WORTH_CUTTING = 20
"""A prefix that all regexes of a filter share is shown once if it has at least this many characters."""
MOST_LINES = 1000
"""Lines of a kind that are kept to be printed: a log may have millions."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to print beside the summary."""

    matched: bool = False
    missed: bool = False
    ignored: bool = False
    failures: bool = False

    @property
    def lines(self) -> bool:
        """Whether each line has to be looked at."""
        return self.matched or self.missed or self.ignored or self.failures


class Report:
    """Collects what the lines gave, and shows it."""

    def __init__(self, filter_: Filter, counts: Counts, wanted: Wanted) -> None:
        self.filter = filter_
        self.failures = 0
        self._counts = counts
        self._wanted = wanted
        self._regexes = Counter[int]()
        self._dates = Counter[str]()
        self._addresses: dict[str, Counter[str]] = {}
        self._lines: dict[str, list[tuple[int, str]]] = {"matched": [], "ignored": [], "missed": []}
        self._line_counts = Counter[str]()
        self._failures: list[tuple[int, int, str, str, str]] = []

    def add(self, number: int, line: str, result: Examined) -> None:
        if result.date_format:
            self._dates[result.date_format] += 1
        if result.regex is not None and not result.ignored:
            self._regexes[result.regex] += 1
        if failure := result.failure:
            self._count(failure)
            self._keep("matched", number, line)
            if len(self._failures) < MOST_LINES:
                when = "" if failure.time is None else output.moment(failure.time)
                reason = self.filter.reason(failure.regex) or ""
                self._failures.append((number, failure.regex + 1, failure.host, when, reason))
        elif result.ignored:
            self._keep("ignored", number, line)
        elif result.regex is None and line:
            self._keep("missed", number, line)

    def add_survey(self, surveyor: Surveyor) -> None:
        """Add the results of one chunk of the log; `survey_done` adds the lines that were skipped."""
        for failure in surveyor.failures:
            self._regexes[failure.regex] += 1
            self._count(failure)
        for _, result in surveyor.examined.values():
            if result.date_format:
                self._dates[result.date_format] += 1
            if result.failure is None and (result.ignored or result.regex is not None):
                self._line_counts["others"] += 1
                if result.regex is not None and not result.ignored:
                    self._regexes[result.regex] += 1

    def survey_done(self, surveyor: Surveyor) -> None:
        """The log has ended."""
        self._counts = surveyor.counts
        self._dates += surveyor.dates
        told = self.failures + self._line_counts["others"]
        self._line_counts["missed"] = surveyor.counts.lines - surveyor.empty - told

    def _count(self, failure: Failure) -> None:
        self.failures += 1
        self._addresses.setdefault(failure.host, Counter())[failure.user or ""] += 1

    def _keep(self, kind: str, number: int, line: str) -> None:
        self._line_counts[kind] += 1
        if getattr(self._wanted, kind) and len(self._lines[kind]) < MOST_LINES:
            self._lines[kind].append((number, line))

    def show(self, log: str, seconds: float) -> None:
        counts = self._counts
        output.say(f"log     {printable(log, 500)}: {output.counted(counts.lines, 'line')} in {seconds:.2f} s")
        output.say(f"filter  {self.filter.name}, {printable(self.filter.origin, 500)}")
        if self._wanted.failures:
            self._show_regexes()
        else:
            self._show_reasons()
        undated = [(self._counts.undated, "no date found")] if self._counts.undated else []
        output.table(("lines", "date format"), [*((n, name) for name, n in self._dates.most_common()), *undated])
        self._show_addresses()
        if self._wanted.failures:
            output.table(("line", "failregex", "address", "when", "reason"), self._failures)
        for kind, lines in self._lines.items():
            if getattr(self._wanted, kind):
                output.table(("line", kind), lines)
                if self._line_counts[kind] > MOST_LINES:
                    click.echo(f"… and {self._line_counts[kind] - MOST_LINES} more {kind} lines")
        missed = self._line_counts["missed"]
        output.say(
            f"{output.counted(self.failures, 'failure')} of {output.counted(len(self._addresses), 'address')}; "
            f"{output.counted(counts.ignored, 'line')} ignored, {missed} missed"
            + (f", {counts.timed_out} gave up: a regex took too long" if counts.timed_out else "")
            + ("" if self._wanted.missed or not missed else " (--print-missed shows them)")
        )

    def _show_reasons(self) -> None:
        """Hits by what the regexes find; by number where the filter does not say."""
        names = [line for line in self.filter.options.get("reasons", "").split("\n") if line.strip()]
        if names and not self.filter.reasons:
            regexes = output.counted(len(self.filter.failregex), "failregex")
            output.say(f"reasons: {output.counted(len(names), 'name')} for {regexes}, so none is used", "warn")
        hits = Counter[str]()
        for regex, count in self._regexes.items():
            hits[self.filter.reason(regex) or f"failregex {regex + 1}"] += count
        output.table(("hits", "reason"), [(count, reason) for reason, count in hits.most_common()])
        if not hits:
            output.say(f"none of {output.counted(len(self.filter.failregex), 'failregex')} matched (-v shows them)")

    def _show_regexes(self) -> None:
        """Hits of each. What all of them begin with (the log's prefix, as a rule) is shown once."""
        texts = self.filter.failregex
        # Character by character is what is wanted here.
        common = os.path.commonprefix(texts) if len(texts) > 1 else ""  # noqa: RUF071
        common = common if len(common) > WORTH_CUTTING else ""
        if common:
            output.say(f"each failregex begins with  {printable(common, output.MOST_CHARACTERS)}")
        rows = [
            [self._regexes[i], i + 1, ("…" if common else "") + text[len(common) :]] for i, text in enumerate(texts)
        ]
        output.table(("hits", "no.", "failregex"), rows)

    def _show_addresses(self) -> None:
        ranked = sorted(self._addresses.items(), key=lambda item: -item[1].total())
        output.table(
            ("failures", "address", "users"),
            ([users.total(), address, _names(users)] for address, users in ranked[:MOST_ADDRESSES]),
        )
        if len(ranked) > MOST_ADDRESSES:
            output.say(f"… and {len(ranked) - MOST_ADDRESSES} more addresses")


def _names(users: Counter[str]) -> str:
    names = [short(name, 24) for name, _ in users.most_common() if name]
    return " ".join(names[:5]) + (f" … ({len(names)} users)" if len(names) > 5 else "")
