"""`sipguard test-filter`: what a filter makes of a log."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sipguard.cli.advice import log_advice
from sipguard.cli.filter_report import Report, Wanted
from sipguard.cli.options import PATH, config_option
from sipguard.cli.out_format import shown
from sipguard.cli.output import complain
from sipguard.cli.trial import JOURNAL, Trial, find_filter, overrides_of
from sipguard.config import paths
from sipguard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sipguard.detection.results import Examined
    from sipguard.model import Clock, Filter


@click.command("test-filter")
@click.argument("log")
@click.argument("filter_", metavar="FILTER")
@click.argument("ignoreregex", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line of the log, and nothing else.")
@click.option(
    "-o",
    "--out",
    metavar="FORMAT",
    help="Print only this of each failure: ip, user, row, or tags such as '<ip> <F-USER>'.",
)
@click.option("--fail2ban-dir", type=PATH, help="Take filters from this Fail2ban tree's filter.d.")
@config_option("Take filters from the filters.d beside this file too.")
@click.option("--now", metavar="ISO8601", help="Act as at this time: for dates that lack a year or a day.")
@click.option("--journal", is_flag=True, help="The lines are of the journal: without a date of their own.")
@click.option("-m", "--journalmatch", multiple=True, help="With systemd-journal: which entries to read.")
@click.option("-d", "--datepattern", help="Pattern of the dates, instead of the filter's.")
@click.option("--timezone", "--TZ", metavar="ZONE", help="Time zone of dates that name none, e.g. UTC+0200.")
@click.option(
    "-L",
    "--maxlines",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Lines that a match may span, instead of the filter's.",
)
@click.option("-e", "--encoding", default="utf-8", show_default=True, help="The log's encoding.")
@click.option("-r", "--raw", is_flag=True, help="The same as --usedns raw.")
@click.option(
    "--usedns", metavar="WORD", help="yes, warn, no or raw; `no`: <HOST> matches addresses alone. No name is resolved."
)
@click.option(
    "--print-missed", "--print-all-missed", "missed", is_flag=True, help="Print the lines that nothing matched."
)
@click.option("--print-all-matched", "matched", is_flag=True, help="Print the lines that are failures.")
@click.option("--print-all-ignored", "ignored", is_flag=True, help="Print the lines that ignoreregex matched.")
@click.option("--print-no-missed", is_flag=True, help="Print no missed lines, which is the default.")
@click.option("--print-no-ignored", is_flag=True, help="Print no ignored lines, which is the default.")
@click.option("-v", "--verbose", count=True, help="Print every failure, and the regexes.")
def command(
    log: str, filter_: str, as_json: bool, out: str | None, now: str | None, journal: bool, **options: Any
) -> None:
    """Try FILTER on LOG: which lines are failures, whose, and which are missed.

    LOG is a file, `-` for standard input, `systemd-journal`, or one line of log. FILTER is the name of a filter
    (`asterisk`, `freeswitch[mode=scan]`), a filter file (`./my.conf[mode=scan]`), or a regex. IGNOREREGEX is a regex for
    lines to leave out, or a filter file.
    """
    trial = _trial(log, filter_, journal, options, clock=_clock(now))
    if not (as_json or out or journal):
        if not _report(trial, options):
            for hint in log_advice(trial.filter, Path(trial.log)):
                complain(f"advice: {hint}")
            raise click.exceptions.Exit(1)
        return
    results = trial.results(_clock(now) if journal else None, quiet=as_json or bool(out))
    if as_json:
        for number, _, result in results:
            sys.stdout.write(json.dumps(_as_json(number, result, trial.filter)) + "\n")
        return
    found = _print_out(results, out) if out else _read(trial, results, _wanted(options))
    if not found:
        raise click.exceptions.Exit(1)


def _trial(log: str, filter_: str, journal: bool, options: dict[str, Any], *, clock: Clock) -> Trial:
    from_journal = journal or log.partition("[")[0] == JOURNAL
    directories = _directories(options["fail2ban_dir"], options["config"])
    overrides = overrides_of(options, journalmatch=tuple(options["journalmatch"]))
    found = find_filter(filter_, directories, logtype="journal" if from_journal else None)
    return Trial(found, log, overrides, directories, clock=clock)


def _directories(fail2ban_dir: Path | None, config: Path | None) -> Sequence[Path]:
    if fail2ban_dir:
        return (fail2ban_dir / "filter.d",)
    return paths.filter_directories((config or paths.main_file()).parent)


def _print_out(results: Iterable[tuple[int, str, Examined]], form: str) -> int:
    count = 0
    for _, _, result in results:
        if result.failure:
            count += 1
            for line in shown(result.failure, form):
                click.echo(line)
    return count


def _wanted(options: dict[str, Any]) -> Wanted:
    return Wanted(
        matched=options["matched"],
        missed=options["missed"] and not options["print_no_missed"],
        ignored=options["ignored"] and not options["print_no_ignored"],
        failures=options["verbose"] > 0,
    )


def _report(trial: Trial, options: dict[str, Any]) -> int:
    """The failures: found in a survey of the log, or line by line where that is asked for or cannot be helped."""
    wanted = _wanted(options)
    if not wanted.lines:
        report = Report(trial.filter, trial.detector.counts, wanted)
        started = time.perf_counter()
        if trial.surveyed(report, quiet=False):
            report.show(trial.log, time.perf_counter() - started)
            return report.failures
    return _read(trial, trial.results(quiet=False), wanted)


def _read(trial: Trial, results: Iterable[tuple[int, str, Examined]], wanted: Wanted) -> int:
    report = Report(trial.filter, trial.detector.counts, wanted)
    started = time.perf_counter()
    for number, line, result in results:
        report.add(number, line, result)
    report.show(trial.log, time.perf_counter() - started)
    return report.failures


def _clock(now: str | None) -> Clock:
    if now is None:
        return time.time
    try:
        fixed = datetime.fromisoformat(now).astimezone().timestamp()
    except ValueError:
        raise ConfigError(f"--now {now}: not a time; write e.g. 2026-11-21T20:18:00+00:00") from None
    return lambda: fixed


def _as_json(number: int, result: Examined, filter_: Filter) -> dict[str, Any]:
    failure = result.failure
    regex = failure.regex if failure else result.regex
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
        "regex": regex,
        "session": failure.session if failure else None,
        "reason": filter_.reason(regex),
    }
