"""Random filters over random logs: line for line, sipguard finds what Fail2ban's own engine finds."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from effort import effort
from reference import ask

from sipguard.detection.detector import Detector
from sipguard.detection.tags import without_names
from sipguard.errors import ConfigError
from sipguard.model import Filter

if TYPE_CHECKING:
    from sipguard.model import Failure

NOW = 1124013600.0
CASES = effort(800, 20_000)

pytestmark = [pytest.mark.fail2ban, pytest.mark.usefixtures("zurich")]

# Each case by Fail2ban's server: its answer per line is what it would count, before any name is looked up.
ORACLE = r"""
import json, logging, os, sys, time
os.environ["TZ"] = "Europe/Zurich"
time.tzset()
logging.disable(logging.CRITICAL)
from fail2ban.server import datedetector
from fail2ban.server.filter import Filter
from fail2ban.server.mytime import MyTime
from fail2ban.helpers import getLogger

NOW = 1124013600.0
MyTime.setTime(NOW)
time.time = lambda: NOW

def failure(one):
    index, fid, when, fail = one
    if fid is None or fail.get("nofail"):
        return None
    users = fail.get("users") or ([fail["user"]] if fail.get("user") else [])
    host = fid.ntoa if fid.isValid else fid.raw
    tags = {key: value for key, value in fail.items() if key in ("port", "note", "dns") and value is not None}
    return [index, str(host), when, fail.get("user"), sorted(users), len(fail.get("matches", ())), tags]

def answer(case):
    # Whether a date pattern has matched before is known to the pattern, which all filters of a process share.
    for one in datedetector.DateDetector._defCache.templates:
        one.hits = 0
    log = Filter(None)
    log.returnRawHost, log.checkFindTime, log.active = True, False, True
    try:
        if case["usedns"]:
            log.setUseDns(case["usedns"])
        log.setMaxLines(case["maxlines"])
        if case["prefregex"]:
            log.prefRegex = case["prefregex"]
        for regex in case["failregex"]:
            log.addFailRegex(regex)
        for regex in case["ignoreregex"]:
            log.addIgnoreRegex(regex)
        if case["datepattern"]:
            log.setDatePattern(case["datepattern"])
        if case["timezone"]:
            log.setLogTimeZone(case["timezone"])
    except Exception as error:
        return "error"
    answers = []
    for line in case["lines"]:
        try:
            if case["journal"]:
                found = log.processLine(("", "", line), NOW)
            else:
                found = log.processLine(line)
        except Exception as error:
            answers.append(None)  # a zone that it does not know, for instance: the line is lost
            continue
        told = [one for one in map(failure, found) if one]
        answers.append(told[0] if told else None)
    return answers

json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
"""


@dataclass
class Case:
    """A filter and what it reads."""

    failregex: list[str]
    lines: list[str] = field(default_factory=list)
    ignoreregex: list[str] = field(default_factory=list)
    prefregex: str | None = None
    maxlines: int = 1
    datepattern: str | None = None
    usedns: str | None = None
    timezone: str | None = None
    journal: bool = False


HOSTS = (
    *("192.0.2.1", "192.0.2.2", "198.51.100.77", "192.030.0.6", "::ffff:203.0.113.5", "2001:db8::5", "2001:DB8::5"),
    *(
        "[2001:db8::7]",
        "[192.0.2.3]",
        "::1",
        "a.example.com",
        "host_1",
        "192.0.2.0/24",
        "192.0.2.5/24",
        "192.0.2.5/77",
        "2001:db8::1/64",
        "-",
        "x",
    ),
    *("1.2.3.4.5", "1.2.3", "999.1.1.1", "b-c.example.com.", "fe80::1%eth0", "192.0.2.1:5060", "12"),
)
USERS = ("bob", "eve", "", "o'brien", "root", "[x]", "bob@example.com", "ü", "a b")
IDS = ("c1", "c2", "c3")

# Pieces of a failregex, and of lines that they may match.
WHO = (
    *("<HOST>", "<ADDR>", "<IP4>", "<IP6>", "<DNS>", "<SUBNET>", "<ADDR>(?:/<CIDR>)?", "<F-ID>\\S+</F-ID>", "<F-ID/>"),
    *("<F-ID><HOST></F-ID>", "(?:<ADDR>|<DNS>)", "\\[?<HOST>\\]?", "<F-IP4>\\S+</F-IP4>", "(?:<IP4>|x<IP6>)"),
)
USER = (
    *("<F-USER>\\w*</F-USER>", "<F-USER>\\S+</F-USER>", "(?:<F-USER>[a-d]\\w+</F-USER>|<F-ALT_USER>\\w+</F-ALT_USER>)"),
    *("<F-ALT_USER_1>\\w*</F-ALT_USER_1>", "\\S*", "(?:<F-USER>bob</F-USER>)?\\S*", "<F-NOTE>\\S*</F-NOTE>"),
)
TEMPLATES = (
    "^ ?bad {who} user={user}$",
    "^ ?bad {who}",
    "bad {who} user={user}",
    "^.*? {who} user={user}(?: more)?\\s*$",
    "(?i)^ ?BAD {who}",
    "^(?:(?i)BAD) {who}",
    "^ ?(?:bad|worse) {who}(?: user={user})?$",
    "^ ?<F-MLFID>\\w+</F-MLFID> bad {who} user={user}$",
    "^ ?<F-MLFID>\\w+</F-MLFID> fail(?:ed)?(?: user={user})?$",
    "^ ?<F-MLFID>\\w+</F-MLFID> <F-NOFAIL>conn</F-NOFAIL> {who}",
    "^ ?<F-NOFAIL><F-MLFID>\\w+</F-MLFID> seen</F-NOFAIL>(?: user={user})?",
    "^ ?<F-MLFID>\\w+</F-MLFID> <F-MLFFORGET>bye</F-MLFFORGET>",
    "^ ?<F-MLFFORGET><F-MLFGAINED><F-MLFID>\\w+</F-MLFID> ok</F-MLFGAINED></F-MLFFORGET> user={user}",
    "^ ?<F-MLFGAINED><F-MLFID>\\w+</F-MLFID> ok</F-MLFGAINED>",
    "^ ?<F-MLFFORGET><F-NOFAIL><F-MLFID>\\w+</F-MLFID> end</F-NOFAIL></F-MLFFORGET>",
)
MULTILINE = (
    "^ ?(?P<id>\\w+) bad {who}.*\\n<SKIPLINES> ?(?P=id) bye",
    "^ ?bad {who}<SKIPLINES>.*worse",
    "^ ?(\\w+) conn {who}(?: .*)?<SKIPLINES> ?\\1 fail<SKIPLINES> ?\\1 bye",
    "^ ?c1 conn {who}$(?:\\n.*){{0,2}}^ ?c1 fail",
    "conn {who}\\n ?\\S+ fail",
)
LINES = (
    "bad {host} user={user}",
    "bad {host} user={user} more",
    "worse {host}",
    "worse {host} user={user}",
    "BAD {host}",
    "{id} bad {host} user={user}",
    "{id} conn {host}",
    "{id} fail user={user}",
    "{id} fail",
    "{id} seen user={user}",
    "{id} ok user={user}",
    "{id} ok",
    "{id} bye",
    "{id} end",
    "bad {host} user={user} from {host}",
    "nothing of it",
    "\tbad {host}",
    "bad  {host} user={user}\x1dx",
)
IGNORE = ("user=root", "^ ?c3", "192\\.0\\.2\\.2", "worse", "<HOST> user=eve$", "bad {who}")
PREF = (
    "^ ?<F-CONTENT>.+</F-CONTENT>$",
    "^ ?(?:<F-MLFID>\\w+</F-MLFID> )?<F-CONTENT>(?:bad|worse|fail|conn).*</F-CONTENT>$",
    "^ ?\\w+ {who} <F-CONTENT>user=.+</F-CONTENT>$",
    "^ ?(?:bad|worse) (?:<F-USER>b\\w+</F-USER>)?.*$",
    "^(?:.* user=<F-USER>\\w+</F-USER>)?.*<F-CONTENT>bad.*</F-CONTENT>$",
)
CONTENT = ("^user={user}", "^bad {who}", "^(?:fail|bad)(?: {who})?(?: user={user})?$", "^conn {who}")

DATES = (
    *(
        "2005-08-14 11:59:{s}",
        "2005-08-14T09:59:{s}Z",
        "Aug 14 11:58:{s}",
        "Sun Aug 14 11:58:{s} 2005",
        "14/08/2005 11:57:{s}",
    ),
    *(
        "[14/Aug/2005:11:57:{s} +0200]",
        "08/14/2005:11:57:{s}",
        "08-14-2005 11:57:{s}.252",
        "1124013{s}0",
        "[1124013{s}0]",
    ),
    *(
        "11:56:{s}",
        "13:56:{s}",
        "<08/14/05@11:56:{s}>",
        "050814 11:55:{s}",
        "Aug 14, 2005 11:55:{s} AM",
        "Aug-14-05 11:55:{s}",
    ),
    *(
        "20050814T1155{s}",
        "20050814 1155{s}",
        "PDT Aug 14 02:55:{s}",
        "+00:00 Aug 14 09:55:{s} 2005",
        "@4000000042ff1a{s}0000000a",
    ),
    *(
        "Dec 31 23:59:{s}",
        "Aug 15 11:59:{s}",
        "Aug 16 11:59:{s}",
        "Feb 30 11:59:{s}",
        "2005.08.14 11:59:{s}",
        "",
        "",
        "x",
    ),
    *("2005-08-14 25:00:{s}", "2004-02-29 11:00:{s}", "Feb 29 11:00:{s}", "01-02-2005 10:00:{s}", "1/2/2005 10:00:{s}"),
    *(
        "2005-08-14 11:59:{s},123 CEST",
        "2005-08-14 11:59:{s}.999 -0730",
        "2037-08-14 11:59:{s}",
        "audit(11240130{s}.123:5):",
    ),
)
PATTERNS = (
    *("%Y-%m-%d %H:%M:%S", "{^LN-BEG}", "{DEFAULT}", "EPOCH", "{^LN-BEG}EPOCH", "LEPOCH", "{UNB}^%H:%M:%S", "{NONE}"),
    *(
        "^%b %d %H:%M:%S",
        "%d/%m/%Y %H:%M:%S",
        "^\\[{DATE}\\]",
        "{^LN-BEG}{DATE}",
        "{DATE}",
        "%Y-%m-%d",
        "%b %d",
        "%H:%M",
    ),
    *(
        "(?:%Y-)?%m-%d %H:%M:%S",
        "^(?:%Y-%m-%d %H:%M:%S)?",
        "%ExY-%Exm-%Exd %ExH:%ExM:%ExS",
        "TAI64N",
        "{^LN-BEG}TAI64N",
    ),
    *("%Y-%m-%d %H:%M:%S(?:\\.%f)? %z", "%Y-%m-%d %H:%M:%S(?:,%f)? %Z", "%Exz %b %d %H:%M:%S", "%j %Y", "%W %w %Y"),
    *("%Y-%m-%d %H:%M:%S\n%b %d %H:%M:%S", "{^LN-BEG}\n{NONE}", "EPOCH\n%b %d %H:%M:%S"),
    *(
        "^%Y",
        "**%H:%M:%S**",
        "(?i)at %H:%M:%S",
        "at (%H:%M:%S)",
        "^(at|on)? ?%Y-%m-%d %H:%M:%S",
        "%Y-%m-%d %I:%M:%S %p",
    ),
    *(
        "{^LN-BEG}(?:at )?%Y-%m-%d %H:%M:%S",
        "%Y-%m-%d %H:%M:%S$",
        "\\[?{EPOCH}\\]?",
        "audit\\({EPOCH}:\\d+\\):",
        "%c",
        "%x %X",
    ),
    *("%E", "100%", "((?P<Y>20\\d\\d)-%m-%d)", "^[^%%]%Y", "%d%%%m", "%B %d %Y", "{epoch}", "tai64n", "%Ex"),
)
BEFORE = ("", "", "", "[", "host ", "at ", "<6>", "x: ", "said 2004-01-02 03:04:05, ", "  ")
ZONES = (None, None, None, "UTC", "UTC+0200", "CET", "-0730", "Z+05:30", "EST")


def make(pick: random.Random) -> Case:
    """A filter of one kind, and lines for it."""
    kind = pick.choice(("plain", "plain", "session", "session", "multiline", "prefregex", "dates", "dates"))
    templates = {"session": TEMPLATES, "multiline": (*MULTILINE, *TEMPLATES[:4]), "prefregex": (*CONTENT, *TEMPLATES)}
    some = templates.get(kind, TEMPLATES[:7])
    case = Case([fill(pick, pick.choice(some)) for _ in range(pick.randint(1, 8 if kind == "session" else 5))])
    if pick.random() < 0.4:
        case.ignoreregex = [fill(pick, pick.choice(IGNORE)) for _ in range(pick.randint(1, 3))]
    if kind == "prefregex" or pick.random() < 0.1:
        case.prefregex = fill(pick, pick.choice(PREF))
    if kind == "multiline":
        case.maxlines = pick.randint(2, 6)
    if kind == "dates":
        case.datepattern = pick.choice((None, *PATTERNS, *PATTERNS))
        if case.datepattern and "%Y" in case.datepattern and "\n" not in case.datepattern:
            case.timezone = pick.choice(ZONES)
        dates = pick.sample(DATES, pick.randint(1, 5))
    else:
        case.journal = pick.random() < 0.2
        dates = ["" if case.journal else pick.choice(DATES[:3])]
    case.usedns = pick.choice((None, None, "no"))
    befores = pick.sample(BEFORE, 2)
    for _ in range(pick.randint(5, 25)):
        date = pick.choice(dates).format(s=f"{pick.randint(0, 59):02}")
        before = pick.choice(befores) if kind == "dates" else ""
        case.lines.append(" ".join(filter(None, (before + date, fill(pick, pick.choice(LINES))))))
    if kind == "multiline":
        # For Fail2ban a line that was skipped ends at U+001D as well, and so is not found again.
        case.lines = [line.replace("\x1d", " ") for line in case.lines]
    return case


def fill(pick: random.Random, text: str) -> str:
    """A template with some of everything in its places."""
    values = {"who": WHO, "host": HOSTS} if pick.random() < 0.4 else {"who": WHO[:2], "host": HOSTS[:3]}
    values |= {"user": USER if "user={user}$" in text or "{who}" in text or "\\" in text else USERS, "id": IDS}
    return text.format(**{name: pick.choice(some) for name, some in values.items()})


def ours(case: Case) -> list[Any] | str:
    """What sipguard makes of it, in the oracle's words."""
    filter_ = Filter(
        "t",
        tuple(case.failregex),
        ignoreregex=tuple(case.ignoreregex),
        prefregex=case.prefregex,
        maxlines=case.maxlines,
        datepattern=case.datepattern,
    )
    try:
        filter_ = without_names(filter_) if case.usedns == "no" else filter_
        detector = Detector(filter_, clock=lambda: NOW, timezone=case.timezone)
    except ConfigError:
        return "error"
    return [told(detector.examine(line, time=NOW if case.journal else None).failure) for line in case.lines]


def told(failure: Failure | None) -> list[Any] | None:
    """A failure in the oracle's words."""
    if failure is None:
        return None
    tags = {key: value for key, value in failure.tags.items() if key in ("port", "note", "dns")}
    users = sorted(failure.users)
    return [failure.regex, canonical(failure.host), failure.time, failure.user, users, failure.attempts, tags]


def canonical(host: str) -> str:
    """An address or network as Fail2ban writes it; sipguard tells it as the log has it."""
    try:
        return str(ipaddress.ip_network(host, strict=False) if "/" in host else ipaddress.ip_address(host))
    except ValueError:
        return host


@pytest.mark.fuzz
@pytest.mark.timeout(effort(300, 3000))
def test_random_filters_find_the_same():
    """Regexes, dates, sessions, buffers of lines: the same failure in the same line, with all that is told of it.

    Left out is what Fail2ban's manual says otherwise than Fail2ban does (`{DEFAULT}` beside other patterns), and times of
    day and years that are left out in a zone that is not the machine's, which it compares with the machine's clock.
    """
    pick = random.Random(2026)
    cases = [make(pick) for _ in range(CASES)]
    differences: list[str] = []
    lines = hits = 0
    for case, theirs in zip(cases, ask(ORACLE, [asdict(case) for case in cases]), strict=True):
        mine = ours(case)
        if "error" in (mine, theirs):
            differences += [f"{case}: sipguard {mine}, Fail2ban {theirs}"] if mine != theirs else []
            continue
        lines += len(mine)
        hits += sum(one is not None for one in mine)
        differences += [
            f"{case}: {line!r}: sipguard {one}, Fail2ban {other}"
            for line, one, other in zip(case.lines, mine, theirs, strict=True)
            if one != (other and [other[0], canonical(other[1]), *other[2:]])
        ]
    assert not differences, "\n".join(differences)
    print(f"{CASES} filters, {lines} lines, {hits} of them failures")
    assert lines > 8_000
    assert hits > 1_000
