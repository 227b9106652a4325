"""The plain report of a filter, without a look at each line, is the one that reads them all: on every sample and on any text."""

import random
import re
from pathlib import Path

import pytest
from annotations import FILTERS, LOGS, SAMPLES
from click.testing import CliRunner
from effort import effort, part

from sipguard.cli import fail2ban_regex, test_filter
from sipguard.cli.trial import Trial
from sipguard.detection.survey import SurveyError

NOW = "2026-11-22T12:00:00+00:00"
SECONDS = re.compile(r"\d+\.\d\d s(?:ec)?\b")


def reports(monkeypatch, command, *arguments):
    """What the command prints as it is, whether it made a survey to the end, and what it prints without one."""
    surveyed = []
    survey = Trial.survey

    def watched(self, **options):
        yield from survey(self, **options)
        surveyed.append(True)

    def none(self, **_options):
        raise SurveyError
        yield

    told = []
    for instead in (watched, none):
        monkeypatch.setattr(Trial, "survey", instead)
        done = CliRunner().invoke(command, [str(each) for each in arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        told.append((done.exit_code, SECONDS.sub("", done.output)))
    return told[0], bool(surveyed), told[1]


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    """The zone of dates that name none."""
    monkeypatch.setenv("TZ", "UTC")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
def test_every_sample(sample, monkeypatch):
    """Both programs, our filters."""
    base = sample.filter.partition("[")
    filter_ = f"{FILTERS / base[0]}.conf{base[1]}{base[2]}"
    fast, _, slow = reports(monkeypatch, test_filter.command, "--now", NOW, sample.log, filter_)
    assert fast == slow
    fast, _, slow = reports(monkeypatch, fail2ban_regex.command, sample.log, filter_)
    assert fast == slow


def damaged(lines, seed, *, ascii_):
    """Lines of the samples of one server among each other's, some without anything, some without date."""
    source = random.Random(seed)
    pool = [line for log in sorted(LOGS.glob("*-*.log")) for line in log.read_bytes().split(b"\n") if b"\r" not in line]
    result = []
    for _ in range(lines):
        line = source.choice(pool)
        match source.randrange(30):
            case 0:
                line = b""
            case 1:
                line = b"# " + line
            case 2:
                line = line[source.randrange(len(line) + 1) :]
            case 3 if not ascii_:
                line = line[:30] + b"\xc3\xa9\xff" + line[30:]
        result.append(line if not ascii_ else line.decode("ascii", "ignore").encode())
    return b"\n".join(result)


@pytest.mark.more
@pytest.mark.parametrize("ascii_", [True, False])
@pytest.mark.parametrize("name", ["freeswitch", "asterisk", "asterisk[log=all]", "freeswitch[mode=aggressive]"])
def test_damaged_logs(name, ascii_, tmp_path, monkeypatch):
    """Records that are torn, packets, comments, empty lines; the last line without its end."""
    log = tmp_path / "log"
    base = name.partition("[")
    filter_ = f"{FILTERS / base[0]}.conf{base[1]}{base[2]}"
    for seed in range(effort(2, 40)):
        log.write_bytes(damaged(part(1500), seed, ascii_=ascii_))
        for command, options in ((test_filter.command, ("--now", NOW)), (fail2ban_regex.command, ())):
            fast, _, slow = reports(monkeypatch, command, *options, log, filter_)
            assert fast == slow


@pytest.mark.parametrize("name", ["freeswitch", "asterisk"])
def test_the_usual_log_is_surveyed(name, tmp_path, monkeypatch):
    """A log of its server is not read line by line."""
    log = tmp_path / "log"
    sample = {"freeswitch": "freeswitch-normal-debug.log", "asterisk": "asterisk22-full.log"}[name]
    log.write_bytes((LOGS / sample).read_bytes().replace(b"\r", b"") * 3)
    fast, surveyed, slow = reports(monkeypatch, test_filter.command, "--now", NOW, log, FILTERS / f"{name}.conf")
    assert surveyed
    assert fast == slow


@pytest.mark.parametrize("option", ["--print-missed", "-v", "--print-all-matched", "--json"])
def test_who_asks_for_lines_gets_them(option, monkeypatch):
    """Then each is looked at."""
    log = Path(LOGS / "freeswitch-debug.log")
    fast, surveyed, slow = reports(
        monkeypatch, test_filter.command, option, "--now", NOW, log, FILTERS / "freeswitch.conf"
    )
    assert not surveyed
    assert fast == slow
