"""fail2ban-regex: the command line and the report of Fail2ban's program of that name, over sipguard's detection.

Runs when sipguard is started under the name `fail2ban-regex` (a symbolic link). Exit status 0 when all was read, 255
when the call or the filter is wrong, as there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from sipguard import __version__
from sipguard.cli.options import PATH
from sipguard.cli.out_format import shown
from sipguard.cli.output import complain_of_call
from sipguard.cli.regex_report import Asked, RegexReport
from sipguard.cli.trial import JOURNAL, Trial, find_filter, is_reference, overrides_of
from sipguard.config import paths
from sipguard.config.references import parse_reference
from sipguard.errors import ConfigError, SipguardError
from sipguard.fail2ban.config.tree import read_one
from sipguard.model import Failure, Filter
from sipguard.text import printable

WRONG = 255
_LOG_LEVEL = "Taken for the sake of scripts; there is no such log here."


@click.command("fail2ban-regex", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fail2ban-regex", message="%(prog)s (sipguard) %(version)s")
@click.argument("log")
@click.argument("regex")
@click.argument("ignoreregex", required=False)
@click.option("-c", "--config", type=PATH, default=Path("/etc/fail2ban"), help="The Fail2ban tree.")
@click.option("-d", "--datepattern", help="How dates look.")
@click.option("--timezone", "--TZ", help="The zone of dates that name none.")
@click.option("-e", "--encoding", default="auto", help="The log's encoding.")
@click.option("-r", "--raw", is_flag=True, help="Do not resolve names; nor is it done without.")
@click.option("--usedns", help="With `no`, <HOST> is an address, never a name.")
@click.option("-L", "--maxlines", type=click.IntRange(min=1), help="How many lines a match may span.")
@click.option("-m", "--journalmatch", help="With systemd-journal: the entries to read.")
@click.option("-l", "--log-level", help=_LOG_LEVEL)
@click.option("-V", "short_version", is_flag=True, help="Print the version alone.")
@click.option("-v", "--verbose", count=True, help="Print every failure, and regexes without hits.")
@click.option("--verbosity", type=int, default=0, help="As so many -v.")
@click.option("--verbose-date", "--VD", is_flag=True, help=_LOG_LEVEL)
@click.option("-D", "--debuggex", is_flag=True, help="Taken; no links are made.")
@click.option("--no-check-all", is_flag=True, help="The first regex that matches decides here anyway.")
@click.option(
    "-o", "--out", metavar="FORMAT", help="Print of each failure this alone: ip, id, row, msg, '<ip> <F-USER>' …"
)
@click.option("-i", "--invert", is_flag=True, help="With --out: print what did not match.")
@click.option("--print-no-missed", is_flag=True, help="Print no missed lines.")
@click.option("--print-no-ignored", is_flag=True, help="Print no ignored lines.")
@click.option("--print-all-matched", is_flag=True, help="Print all matched lines.")
@click.option("--print-all-missed", is_flag=True, help="Print all missed lines.")
@click.option("--print-all-ignored", is_flag=True, help="Print all ignored lines.")
@click.option("-t", "--log-traceback", is_flag=True, help=_LOG_LEVEL)
@click.option("--full-traceback", is_flag=True, help=_LOG_LEVEL)
def command(log: str, regex: str, **options: Any) -> None:
    """Try REGEX on LOG.

    LOG is a file, `systemd-journal`, or a line of log. REGEX is a regex, the name of a jail or a filter, or a filter
    file, the last three with options behind them if need be. IGNOREREGEX is a regex or a filter file.
    """
    if options["out"]:
        for _, text, result in _trial(log, regex, options).results(comments=False):
            wanted = result.failure
            if options["invert"]:
                wanted = None if wanted else Failure("", result.time, None, (), 0, 0, None, (text,), {})
            for line in shown(wanted, options["out"]) if wanted else ():
                click.echo(line)
        return
    click.echo("\nRunning tests\n=============\n")
    trial = _trial(log, regex, options)
    _introduce(trial, regex)
    names = ("all_matched", "all_missed", "all_ignored", "no_missed", "no_ignored")
    asked = Asked(
        verbose=bool(options["verbose"] or options["verbosity"]), **{name: options[f"print_{name}"] for name in names}
    )
    started = time.perf_counter()
    report = RegexReport(trial.filter, asked)
    if asked.lines or not trial.surveyed(report, comments=False) or not report.shows_enough():
        report = RegexReport(trial.filter, asked)
        for number, line, result in trial.results(comments=False):
            report.add(number, line, result)
    report.show(time.perf_counter() - started)


def main() -> None:
    """Run the command line of fail2ban-regex. An interruption is handled in `cli.main`, as for every command."""
    if "-V" in sys.argv[1:]:
        click.echo(__version__)
        return
    try:
        command(standalone_mode=False)
    except click.ClickException as error:
        complain_of_call(error)
        sys.exit(WRONG)
    except SipguardError as error:
        click.echo(f"ERROR: {printable(str(error))}")
        sys.exit(WRONG)


def _trial(log: str, regex: str, options: dict[str, Any]) -> Trial:
    tree: Path = options["config"]
    folder = tree if tree.name == "filter.d" else tree / "filter.d"
    # A host without Fail2ban has the filters that come with sipguard.
    directories = (folder,) if folder.is_dir() else paths.filter_directories(tree)
    journalmatch = (options["journalmatch"],) if options["journalmatch"] else ()
    overrides = overrides_of(options, journalmatch=journalmatch, as_fail2ban=True)
    journal = log.partition("[")[0] == JOURNAL
    found = _of_jail(regex, tree, journal) or find_filter(regex, directories, logtype="journal" if journal else None)
    return Trial(found, log, overrides, directories, clock=time.time)


def _of_jail(text: str, tree: Path, journal: bool) -> Filter | None:
    """The filter of the jail that `text` names, with all that the jail says; None if there is none, or it is no good."""
    if not is_reference(text) or not (tree / "jail.conf").is_file():
        return None
    try:
        name, options = parse_reference(text, "REGEX")
        return read_one(tree, name, {**options, "backend": "systemd" if journal else "auto"}).filter
    except ConfigError:
        return None


def _introduce(trial: Trial, regex: str) -> None:
    """What is tried on what."""
    is_filter = trial.filter.origin != "FILTER"
    rows = [("failregex filter file" if is_filter else "failregex line", regex)]
    rows += [("datepattern", trial.filter.datepattern)] if trial.filter.datepattern else []
    if trial.log.partition("[")[0] == JOURNAL:
        rows.append(("systemd journal", " + ".join(trial.filter.journalmatch)))
    else:
        is_file = len(trial.log) < 4096 and "\n" not in trial.log and Path(trial.log).is_file()
        rows.append(("log file" if is_file else "single line", trial.log))
    rows.append(("encoding", trial.encoding.upper()))
    for name, value in rows:
        click.echo(f"Use {name:>16} : {printable(value, 200)}")
    click.echo("")
