"""The fast way and the exact way tell the same of every log: with libpcre2, and without it.

`make test-long` reads a million generated lines; otherwise fewer, in `make test` fewest: that suite is run often.
"""

from __future__ import annotations

import random
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from annotations import FILTERS, LOGS, SAMPLES
from effort import effort, in_part, part
from hypothesis import given
from hypothesis import strategies as st

from sipguard.config.filters import read_filter
from sipguard.detection import pcre2
from sipguard.detection.detector import Detector
from sipguard.detection.matching import Matcher
from sipguard.detection.record_rule import declares
from sipguard.errors import ConfigError
from sipguard.model import Filter

NOW = 1795300000.0
LINES = effort(part(16_000), 1_000_000)
PACKAGE_FILTERS = Path("/etc/fail2ban/filter.d")


@pytest.fixture(autouse=True, params=["pcre2", "python"])
def backend(request, monkeypatch):
    """With libpcre2, and on a machine without."""
    if request.param == "python":
        monkeypatch.setattr(pcre2, "_load", lambda: (None, "not here"))
    else:
        assert pcre2.library() is not None, pcre2.why_not()
    return request.param


def both(filter_, data, *, chunk=1 << 18, now=NOW, encoding="utf-8", timezone="UTC"):
    """The events by the fast way and by the exact one, and how many lines were read by the former."""
    results = []
    for fast in (True, False):
        detector = Detector(filter_, clock=lambda: now, timezone=timezone, encoding=encoding, fast=fast, time_limit=5)
        failures = []
        start = 0
        while start < len(data):
            end = data.rfind(b"\n", start, start + chunk) + 1 or data.find(b"\n", start) + 1 or len(data)
            failures += detector.events(data[start:end])
            start = end
        failures += detector.flush()
        results.append((failures, detector.counts))
    (quick, counts), (exact, all_counts) = results
    assert counts.lines == all_counts.lines
    assert counts.tampered == all_counts.tampered
    assert declares(filter_) or all_counts.read == all_counts.lines
    return quick, exact, counts.read


@pytest.mark.parametrize("chunk", [300, 1 << 18])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
def test_own_samples(sample, chunk):
    """Our filters on our samples, in small chunks and in one."""
    fast, exact, _ = both(read_filter(sample.filter, [FILTERS]), sample.log.read_bytes(), chunk=chunk)
    assert fast == exact


def package_logs():
    """The annotated logs of the installed Fail2ban."""
    python = "/usr/bin/python3"
    if not PACKAGE_FILTERS.is_dir() or not Path(python).exists():
        return []
    find = "import fail2ban, os; print(os.path.join(os.path.dirname(fail2ban.__file__), 'tests/files/logs'))"
    done = subprocess.run([python, "-c", find], capture_output=True, text=True, check=False)
    folder = Path(done.stdout.strip() or "/nonexistent")
    return sorted(path for path in folder.glob("*") if (PACKAGE_FILTERS / f"{path.name}.conf").exists())


@pytest.mark.fail2ban
def test_package_samples():
    """Every filter of the package on its own sample log, thrice over, and on that of its neighbour."""
    differences = []
    logs = package_logs()
    for path, neighbour in zip(logs, [*logs[1:], logs[0]], strict=True):
        try:
            filter_ = read_filter(path.name, [PACKAGE_FILTERS])
        except ConfigError:
            continue
        data = path.read_bytes() * 2 + neighbour.read_bytes() + path.read_bytes()
        fast, exact, _ = both(filter_, data, chunk=5000, now=1124013600.0, timezone="Europe/Zurich")
        if fast != exact:
            differences.append(path.name)
    assert differences == []


def generated(lines, seed):
    """Lines of all samples in disorder, cut, joined, without dates, with others' dates, with invalid bytes."""
    source = random.Random(seed)
    pool = [line for log in sorted(LOGS.glob("*.log")) for line in log.read_bytes().split(b"\n")]
    dates = [b"2026-11-21 21:24:07.402258 ", b"[2026-11-21 22:11:06] ", b"Nov 21 20:00:01 ", b"01-02-2026 10:00:00 "]
    result = []
    for _ in range(lines):
        line = source.choice(pool)
        match source.randrange(12):
            case 0:
                line = line[source.randrange(len(line) + 1) :]
            case 1:
                line = line[: source.randrange(len(line) + 1)]
            case 2:
                line = source.choice(dates) + line
            case 3:
                place = source.randrange(len(line) + 1)
                line = line[:place] + source.choice((b"\xff", b"\r", b"\0", b"\xe2\x80\xa8", *dates)) + line[place:]
            case 4:
                line = line[:40] + source.choice(pool)
        result.append(line)
    return b"\n".join(result) + b"\n"


@pytest.mark.more
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["freeswitch", "asterisk", "asterisk[log=notice,mode=aggressive]"])
def test_generated_lines(name):
    """A disordered log: what is read and what is left out changes at every line."""
    filter_ = read_filter(name, [FILTERS])
    left = LINES // 3
    seed = 0
    while left > 0:
        fast, exact, _ = both(filter_, generated(min(left, 20_000), seed), chunk=30_000)
        assert fast == exact
        assert exact
        left -= 20_000
        seed += 1


DATED = re.compile(rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{3,6})?")
JUNK = (
    b"\r",
    b"\0",
    b"\x1b[31m",
    b"]",
    b"[",
    b"{",
    b" ",
    b"-",
    b"6",
    b"99",
    b"#012",
    b"\xd9\xa3",
    b"\n",
    b"\n2026-11-21 21:24:07.4022",
)


@cache
def sample_lines(name):
    """All lines of the samples, and those of them that accuse somebody by this filter."""
    detector = Detector(read_filter(name, [FILTERS]), clock=lambda: NOW, timezone="UTC")
    every = [line for log in sorted(LOGS.glob("*.log")) for line in log.read_bytes().split(b"\n")]
    return every, [line for line in every if DATED.search(line) and detector.feed(line + b"\n")]


def flood(name, lines, seed):
    """The lines of the samples that accuse somebody, second after second, each hundredth changed a little."""
    source = random.Random(seed)
    every, guilty = sample_lines(name)
    others = source.sample(every, 50)
    result = []
    line = guilty[0]
    for number in range(lines):
        if not source.randrange(50):
            line = source.choice(guilty)
        date = f"2026-11-21 21:{number // 3000 % 60:02}:{number // 50 % 60:02}.{source.randrange(10**6):06}"
        new = DATED.sub(lambda match, date=date: date.encode()[: len(match[0])], line)
        match source.randrange(200):
            case 0 | 1:
                place = source.choice((source.randrange(60), source.randrange(len(new) + 1), len(new)))
                new = new[:place] + source.choice(JUNK) + new[place + source.randrange(2) :]
            case 2:
                new = new[: source.randrange(len(new) + 1)]
            case 3:
                new = source.choice(others)
            case 4:
                new += source.choice(guilty)
        result.append(new)
    return b"\n".join(result) + b"\n"


@pytest.mark.more
@pytest.mark.timeout(900)
@pytest.mark.parametrize("chunk", [700, 30_000])
@pytest.mark.parametrize(
    "name", ["freeswitch", "freeswitch[mode=scan]", "asterisk", "asterisk[log=all,mode=aggressive]"]
)
def test_floods(name, chunk):
    """An attack, for which there is a short way, with lines among it that must leave it."""
    filter_ = read_filter(name, [FILTERS])
    lines = max(LINES // 8, 1000)
    fast, exact, _ = both(filter_, flood(name, lines, chunk), chunk=chunk)
    assert fast == exact
    assert len(exact) > lines / 5


ATOM = st.sampled_from(
    ["login ", "failed ", "from ", "192.0.2.7", "LOGIN ", "2026-11-21 20:00:00 ", "01-02-2026 10:00:00 ", "\u212a",
     "fa", "iled ", "Nov 21 20:00:01 ", "x", "\n", "\n", "2026-11-21 20:00:30", " "]
)  # fmt: skip
FILTERS_MADE = [
    Filter("plain", (r"^\s*login failed from <HOST>$", r"^wrong <HOST>$")),
    Filter("folded", (r"(?i)^\s*login failed from <HOST>", r"(?i:kiss) <HOST>")),
    Filter("anchored", (r"login failed from <HOST>",), datepattern="{^LN-BEG}"),
    Filter("own-date", (r"login failed from <HOST>",), datepattern=r"^(?:x )?(%Y-%m-%d %H:%M:%S)\s*"),
    Filter("gate", (r"^<HOST>$",), prefregex=r"login failed from <F-CONTENT>.*</F-CONTENT>$"),
    Filter("session", (r"^<F-MLFID>x</F-MLFID> login <F-NOFAIL>ok</F-NOFAIL>", r"^<F-MLFID>x</F-MLFID> failed <HOST>")),
]


@in_part(20)
@given(lines=st.lists(ATOM, max_size=60).map("".join), chunk=st.integers(1, 200))
@pytest.mark.parametrize("filter_", FILTERS_MADE, ids=lambda filter_: filter_.name)
def test_any_text(filter_, lines, chunk):
    """Dates within words, words within dates, two dates in a line, lines without one."""
    data = lines.encode()
    if not data.endswith(b"\n"):
        data += b"\n"
    fast, exact, _ = both(filter_, data, chunk=chunk)
    assert fast == exact


def test_counted_work():
    """Of a million lines with two per cent attacks, two per cent are read, and each of those is searched once."""
    quiet = (LOGS / "freeswitch-normal-debug.log").read_bytes().split(b"\n")[:-1]
    quiet = [line for line in quiet if b"auth failure" not in line]
    attack = next(line for line in (LOGS / "freeswitch-debug.log").read_bytes().split(b"\n") if b"auth failure" in line)
    lines = [attack if number % 50 == 0 else quiet[number % len(quiet)] for number in range(20_000)]
    detector = Detector(read_filter("freeswitch", [FILTERS]), clock=lambda: NOW, timezone="UTC")
    for start in range(0, len(lines), 2000):
        detector.feed(b"\n".join(lines[start : start + 2000]) + b"\n")
    detector.flush()
    counts = detector.counts
    assert (counts.lines, counts.failures, counts.read) == (20_000, 400, 400)
    assert counts.searches <= 1.1 * counts.read


def test_plain_lines_are_plain(backend, monkeypatch):
    """Of an attack's lines all but the last of a chunk are taken by one search; what others write between costs them nothing."""
    exact = []
    process = Matcher.process
    monkeypatch.setattr(
        Matcher,
        "process",
        lambda self, line, *rest, **more: (exact.append(line), process(self, line, *rest, **more))[1],
    )
    every = (LOGS / "freeswitch-debug.log").read_bytes().split(b"\n")
    attack = next(line for line in every if b"auth failure" in line)
    strange = b"%08x-94a2-4d4c-9de9-dcf8a0a5c79b " + attack  # read, and no failure
    data = b"\n".join([attack, attack, strange, attack, attack]) + b"\n"
    detector = Detector(read_filter("freeswitch", [FILTERS]), clock=lambda: NOW, timezone="UTC")
    for number in range(200):
        detector.feed(data.replace(b"%08x", b"%08x" % number))
    detector.flush()
    counts = detector.counts
    assert (counts.failures, counts.read) == (800, 1000)
    assert len(exact) == (1000 if backend == "python" else 400)


def test_a_search_that_is_given_up_is_no_line_lost(backend, monkeypatch):
    """At the match limit a line goes to the exact way, and those around it are counted as ever."""
    if backend == "python":
        pytest.skip("there is no limit without libpcre2")
    regexes = (r"^\s*(?:a|aa|aaa)*!y from <ADDR>$", r"^\s*a+x from <ADDR>$")  # the first is tried in vain, and for long
    filter_ = Filter("x", regexes, datepattern="{^LN-BEG}")
    date = "2026-11-21 20:00:00"
    lines = [f"{date} {'a' * 60 if number % 3 else 'a'}x from 203.0.113.{number}" for number in range(60)]
    lines += [f"{date} {'a' * 200}y from 203.0.113.9"]
    data = "".join(f"{line}\n" for line in lines).encode()
    given_up = []
    monkeypatch.setattr(pcre2, "MATCH_LIMIT", 2000)
    pcre2._load.cache_clear()
    try:
        detector = Detector(filter_, clock=lambda: NOW, timezone="UTC", time_limit=5)
        found = detector.events(data)
        given_up = [one.host for one in found if one.reader is None]
    finally:
        pcre2._load.cache_clear()
    assert [one.host for one in found] == [f"203.0.113.{number}" for number in range(60)]
    assert given_up == [f"203.0.113.{number}" for number in range(60) if number % 3]


def test_a_line_without_a_date_behind_plain_ones():
    """It takes the last date before it, also that of a line which was left out."""
    filter_ = Filter("x", (r"^\s*login failed from <ADDR>$",), datepattern="{^LN-BEG}")
    lines = [f"2026-11-21 20:00:0{n} login failed from 203.0.113.5" for n in range(4)]
    lines += ["2026-11-21 20:00:25 nothing", "login failed from 203.0.113.6", lines[0]]
    fast, exact, _ = both(filter_, "".join(f"{line}\n" for line in lines).encode(), now=1795291230.0)
    assert fast == exact
    assert fast[4].time == fast[0].time + 25


def test_a_mixed_line_that_begins_like_others():
    """From the line on that only a log of other things has, logins are not believed: also where it begins like an attack."""
    filter_ = Filter(
        "x",
        (r"^\s*login failed from <ADDR>",),
        datepattern="{^LN-BEG}",
        options={"successregex": r"^\s*login worked from <ADDR>$", "mixed": r"login failed from \S+ by others$"},
    )
    date = "2026-11-21 20:00:00"
    failed, worked = f"{date} login failed from 203.0.113.5", f"{date} login worked from 203.0.113.6"
    lines = [failed] * 4 + [worked] + [failed] * 2 + [f"{failed} by others"] + [failed] * 2 + [worked]
    fast, exact, _ = both(filter_, "".join(f"{line}\n" for line in lines).encode(), chunk=200)
    assert fast == exact
    assert len(exact) == len(lines) - 1


def test_logins_that_are_not_believed_are_not_read():
    """Behind the first line that only a log of other things has, in the same chunk too."""
    options = {"successregex": r"^\s*login worked from <ADDR>$", "mixed": r"others$"}
    filter_ = Filter("x", (r"^\s*login failed from <ADDR>",), datepattern="{^LN-BEG}", options=options)
    lines = ["others", *["login worked from 203.0.113.6"] * 100, "login failed from 203.0.113.5"]
    data = "".join(f"2026-11-21 20:00:00 {line}\n" for line in lines).encode()
    fast, exact, read = both(filter_, data)
    assert fast == exact
    assert (len(exact), read) == (1, 2)


def test_many_regexes_need_few_searches():
    """Regexes with words in common are served by those words."""
    search = Detector(read_filter("asterisk", [FILTERS]))._candidates
    assert search is not None
    assert len(search.texts) <= 10


@pytest.mark.fail2ban
def test_most_filters_of_the_package_are_skimmed():
    """Of the filters that Fail2ban ships, most have texts to look for."""
    skimmed = total = 0
    for path in sorted(PACKAGE_FILTERS.glob("*.conf")):
        try:
            detector = Detector(read_filter(path.stem, [PACKAGE_FILTERS]))
        except ConfigError:
            continue
        total += 1
        skimmed += detector._candidates is not None
    assert skimmed >= 0.8 * total, f"{skimmed} of {total}"


def test_an_ambiguous_date_where_every_line_is_read():
    """JSON among the lines: none may be left out, and a date that can be read in two ways loses no failure of them."""
    filter_ = Filter("x", (r"^\s*failed from <HOST>$",), options={"jsonline": "{m}"})
    data = b'{"m": "x"}\n01-02-2012 10:20:30 failed from 203.0.113.5\n01-02-2012 10:20:31 failed from 203.0.113.6\n'
    fast, exact, _ = both(filter_, data)
    assert fast == exact
    assert [failure.host for failure in exact] == ["203.0.113.5", "203.0.113.6"]


def test_an_ambiguous_date_does_not_move_the_lines_behind_it():
    """Which lines lie in a caller's field is told by where they stand in their chunk, also where the way changes within it."""
    event = '[2026-11-21 22:11:10] SECURITY[{}] res_security_log.c: SecurityEvent="{}",EventTV="x",Severity="Error",'
    notice = (
        "] NOTICE[7] res_pjsip/pjsip_distributor.c: Request 'REGISTER' from 'x' failed for '192.0.2.1:5060' (callid: 1)"
    )
    peer = 'LocalAddress="IPV4/UDP/192.0.2.9/5060",RemoteAddress="IPV4/UDP/192.0.2.1/5060"'
    answer = 'Challenge="1",Response="2",ExpectedResponse=""'
    lines = [
        f"[2026-11-21 22:11:09] VERBOSE[7] x.c: {'y' * 800}",
        f"[01-02-2026 10:00:00{notice}",
        event.format(4250, "InvalidAccountID") + 'Service="SIP",EventVersion="1",AccountID="',
        event.format(4251, "ChallengeResponseFailed")
        + f'Service="PJSIP",EventVersion="1",AccountID="1",SessionID="2",{peer},{answer}',
        event.format(4250, "SuccessfulAuth"),
    ]
    data = "".join(f"{line}\n" for line in lines).encode()
    fast, exact, _ = both(read_filter("asterisk", [FILTERS]), data, chunk=900)
    assert fast == exact == []
    assert both(read_filter("asterisk", [FILTERS]), data[data.index(b"] SECURITY[4251]") - 20 :])[1]
