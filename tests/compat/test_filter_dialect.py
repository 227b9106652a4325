"""Random filter files, and times, mean here what the installed Fail2ban takes them for, errors included."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import reference
from effort import effort

from sipguard.config.definition import Definition
from sipguard.config.filters import FILTER_KEYS, open_filter
from sipguard.errors import ConfigError
from sipguard.fail2ban.config.values import seconds

CASES = effort(250, 5000)

ORACLE = r"""
import json, logging, sys
logging.disable(logging.CRITICAL)
from fail2ban.client.filterreader import FilterReader

def answer(directory, options, jail):
    reader = FilterReader("f", "jail", dict(options), basedir=directory)
    try:
        reader.read()
        reader.applyAutoOptions("auto")
        if jail:
            reader.getOptions({"enabled": True}, all=True)
            reader.getCombined()
            reader.getOptions({"enabled": True, "maxretry": 5})
        else:
            reader.getOptions({})
        return {key: str(value) for key, value in reader.getCombined().items() if value is not None}
    except Exception:
        return None

json.dump([answer(*case) for case in json.load(sys.stdin)], sys.stdout)
"""

TIMES = [
    "600",
    "10m",
    "1d12h",
    "1d 12h",
    "1y-6mo",
    "6 months",
    "1hour+30min",
    "60*60",
    "2w",
    "1.5*60",
    "3 wee 2da",
    "1h30",
]


pytestmark = pytest.mark.fail2ban

KEYS = (*FILTER_KEYS, "a", "b", "c", "_p", "mode", "x-n", "x-m", "logtype")
# A key refers to those before it, so that most files can be resolved; some do not, and must fail on both sides.
ORDER = ("_p", "c", "b", "a")
TEXT = (
    " ",
    "foo",
    "%%",
    "<HOST>",
    "(?P<u>x)",
    "<F-ID>",
    " ; comment",
    " ;",
    "#",
    "=",
    ": ",
    "[x]",
    "\n   more",
    "\n\n   gap",
    "\n # no\n  z",
)
REFERENCES = (
    *("%(a)s", "%(b)s", "%(c)s", "%(C)s", "%(_p)s", "%(mode)s", "%(known/a)s", "%(known/failregex)s", "%(sect/a)s"),
    *("%(default/b)s", "%(__name__)s", "<a>", "<b>", "<c>", "<C>", "<_p>", "<mode>", "<x-<mode>>", "<known/a>"),
    *("<known/mode>", "<sect/c>", "<sect/b>", "<default/a>", "<lt_<logtype>/a>"),
)
INCLUDED = """[DEFAULT]
a = da
b = db
c = dc
_p = dp
mode = n
[sect]
a = sa %(__name__)s
c = sc
[lt_file]
a = file <c>
[Definition]
a = included %(_p)s
failregex = ^included <a>
[Init]
mode = m
[Init?family=inet6]
c = six
"""


def value(pick: random.Random, key: str) -> str:
    """A value that mostly refers to what `key` may refer to."""
    if key == "maxlines":
        return str(pick.randint(1, 9))
    later = ORDER[ORDER.index(key) :] if key in ORDER else ()
    allowed = [
        one for one in REFERENCES if not any(other in one.lower() for other in (*later, "x-" if later else "\0"))
    ]
    pieces = TEXT if key in ("mode", "logtype") else (*TEXT, *allowed)
    return "".join(pick.choice(pieces) for _ in range(pick.randint(0, 4)))


def section(pick: random.Random, name: str, most: int) -> str:
    """One section with some keys."""
    keys = pick.sample(KEYS, pick.randint(1, most))
    return f"[{name}]\n" + "".join(f"{key}{pick.choice((' = ', '=', ': '))}{value(pick, key)}\n" for key in keys)


def text(pick: random.Random) -> str:
    """One file: any of the sections, in the usual order."""
    parts = (
        ("DEFAULT", 4, 0.5),
        ("Definition", 7, 0.9),
        ("Init", 4, 0.6),
        ("Init?family=inet6", 2, 0.3),
        ("sect", 3, 0.5),
    )
    return "".join(section(pick, name, most) for name, most, chance in parts if pick.random() < chance)


def write_case(pick: random.Random, directory: Path) -> tuple[str, dict[str, str], bool]:
    """A filter.d with `f.conf`, what it includes, and now and then a `.local`; with options as a jail may give them."""
    filters = directory / "filter.d"
    filters.mkdir(parents=True)
    include = pick.choice(("[INCLUDES]\nbefore = common.conf\n", "[INCLUDES]\nafter = common.conf\n", ""))
    (filters / "common.conf").write_text(INCLUDED, encoding="utf-8")
    (filters / "f.conf").write_text(include + text(pick), encoding="utf-8")
    if pick.random() < 0.4:
        (filters / "f.local").write_text(text(pick), encoding="utf-8")
    given = pick.sample(("mode", "a", "b", "failregex", "logtype"), pick.randint(0, 2))
    return str(directory), {key: value(pick, key).replace("\n", " ").strip() for key in given}, pick.random() < 0.5


def ours(directory: str, options: dict[str, str], jail: bool) -> dict[str, str] | None:
    """What sipguard makes of it; None for an error."""
    try:
        definition = Definition(open_filter("f", [Path(directory) / "filter.d"]), options, FILTER_KEYS)
        if not options.get("logtype") and not definition.has("logtype"):
            definition.options["logtype"] = "file"
        if jail:
            definition.select({"enabled": "True"}, everything=True)
            definition.combined()
            definition.select({"enabled": "True", "maxretry": "5"})
        else:
            definition.select()
        return definition.combined()
    except ConfigError:
        return None


def plain(answer: dict[str, str] | None) -> dict[str, str] | None:
    """Without the keys that have a condition."""
    return answer and {key: text for key, text in answer.items() if "?" not in key}


@pytest.mark.fuzz
@pytest.mark.timeout(effort(300, 3000))
def test_random_filters_mean_the_same(tmp_path):
    """Includes, overrides, interpolation and tags in random company: the same text, or an error on both sides."""
    pick = random.Random(2026)
    cases = [write_case(pick, tmp_path / str(number)) for number in range(CASES)]
    answers: list[dict[str, Any] | None] = reference.ask(ORACLE, cases)
    mine = [ours(*case) for case in cases]
    if reference.version() >= "1.1.1":
        # There an option of the jail goes before `[Init?condition]`; sipguard does as Debian's stable versions do.
        mine, answers = [plain(one) for one in mine], [plain(one) for one in answers]
    different = [(case, one, other) for case, one, other in zip(cases, mine, answers, strict=True) if one != other]
    assert different == []
    resolved = sum(answer is not None for answer in answers)
    assert CASES // 2 < resolved < CASES, "most of the files can be resolved, and some cannot"


def test_times_mean_the_same():
    """Every form of a time gives the seconds that Fail2ban's own client prints."""
    code = "import json, sys; from fail2ban.server.mytime import MyTime; "
    code += "json.dump([float(MyTime.str2seconds(text)) for text in json.load(sys.stdin)], sys.stdout)"
    assert [seconds(text) for text in TIMES] == reference.ask(code, TIMES)
