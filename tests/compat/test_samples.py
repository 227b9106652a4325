"""Every annotated log of the installed Fail2ban: which lines match, whom they accuse, when it happened.

The annotations are those of the package's own tests: `# failJSON: {…}` before a line says what must be found in it, a
line without one must not match, `# filterOptions: […]` names the variants of the filter that the lines below are for.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from reference import FILTERS, SAMPLES, THERE, WHY_NOT

from sipguard.config.filters import read_filter
from sipguard.detection.detector import Detector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sipguard.model import Failure

LOGS = SAMPLES / "files/logs"
OWN = SAMPLES / "config/filter.d"
NOW = 1124013600.0
"""2005-08-14T12:00:00+02:00, which the samples take for now."""

ANNOTATION = re.compile(r"#+ ?(failJSON|fileOptions|filterOptions|addFILE):(.+)")
CONDITION = re.compile(r"(name|opts\.get\('(\w+)'\)) ?([!=])= ?'([^']*)'")


def names() -> list[str]:
    """The filters that have samples."""
    if not THERE:
        return []
    known = {path.stem for path in (*FILTERS.glob("*.conf"), *OWN.glob("zzz-*.conf"))}
    return sorted(path.name for path in LOGS.iterdir() if path.name in known)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The package's filters, and those of its tests, which include others by the path that they have in its sources."""
    top = tmp_path_factory.mktemp("fail2ban")
    stock, own = top / "config" / "filter.d", top / "1" / "2" / "3" / "4" / "5" / "6" / "filter.d"
    shutil.copytree(FILTERS, stock)
    shutil.copytree(OWN, own)
    # How far up the sources' `config` lies is another in every version.
    for above in list(own.parents)[:-1]:
        if top in above.parents:
            (above / "config").symlink_to(top / "config")
    return [stock, own]


@dataclass
class Expected:
    """What the annotation before a line says."""

    match: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Sample:
    """One line of a log, what is expected of it, and the variants to try it with."""

    where: str
    line: str
    expected: Expected
    variants: list[dict[str, str]]


def holds(condition: str | None, name: str, options: dict[str, str]) -> bool:
    """Evaluate the few conditions that the annotations use."""
    if condition is None:
        return True
    match = CONDITION.fullmatch(condition.strip())
    assert match is not None, f"unknown condition {condition!r}"
    value = name if match[1] == "name" else options.get(match[2])
    return (value == match[4]) == (match[3] == "=")


def samples(name: str) -> Iterator[Sample]:
    """The lines of the logs of one filter, in order."""
    files = [name]
    variants: list[dict[str, str]] = [{}]
    for file in files:
        common: dict[str, str] = {}
        expected = Expected()
        for number, raw in enumerate((LOGS / file).read_bytes().split(b"\n"), 1):
            line = raw.decode("utf-8", "replace").rstrip("\r")
            if annotation := ANNOTATION.match(line):
                kind, data = annotation[1], json.loads(annotation[2])
                if kind == "failJSON":
                    expected = Expected(data.get("match", False), data)
                elif kind == "fileOptions":
                    common = data
                elif kind == "addFILE":
                    files.append(data)
                else:
                    listed = [{**common, **one} for one in (data if isinstance(data, list) else [data])]
                    variants = [one for one in listed if holds(one.get("test.condition"), name, one)]
                continue
            if expected.facts or not (line.startswith("#") or not line.strip()):
                yield Sample(f"{file}:{number}", line, expected, variants)
            expected = Expected()


@pytest.fixture(autouse=True)
def zurich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The samples are from Zurich."""
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def problem(failure: Failure | None, expected: Expected) -> str | None:
    """What is wrong with what was found in a line; None when it is right."""
    if failure is None:
        return "not matched" if expected.match else None
    if not expected.match:
        return f"matched {failure}"
    found: dict[str, Any] = {
        **failure.tags,
        "host": failure.host,
        "attempts": failure.attempts,
        "users": sorted(failure.users),
        "user": failure.user,
    }
    for key, value in expected.facts.items():
        if key in {"match", "desc", "constraint", "time"}:
            continue
        if found.get(key) != (sorted(value) if isinstance(value, list) else value):
            return f"{key} is {found.get(key)!r}, should be {value!r}"
    when = expected.facts.get("time")
    if when is not None and failure.time != local_time(when):
        return f"time is {failure.time}, should be {when}"
    return None


def local_time(text: str) -> float:
    """POSIX seconds of a time in the annotations: in the machine's zone, not always with two digits a field."""
    date_time, _, fraction = text.partition(".")
    return time.mktime(time.strptime(date_time, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction or 0}")


COUNTED = Counter[str]()
needs_package = pytest.mark.skipif(not THERE, reason=WHY_NOT)


@needs_package
@pytest.mark.parametrize("name", names())
def test_sample(name: str, directories: list[Path]) -> None:
    """Each variant of the filter finds in each line what the annotation says, and nothing else."""
    detectors: dict[str, Detector] = {}
    problems: list[str] = []
    checked = 0
    for sample in samples(name):
        for options in sample.variants:
            if not holds(sample.expected.facts.get("constraint"), name, options):
                continue
            chosen = {key: value for key, value in options.items() if not key.startswith("test.")}
            key = options.get("test.filter-name") or json.dumps(chosen)
            if key not in detectors:
                detectors[key] = Detector(read_filter(name + shown(chosen), directories), clock=lambda: NOW)
            line = options.get("test.prefix-line", "") + sample.line
            journal = options.get("logtype") == "journal"
            examined = detectors[key].examine(line, time=NOW if journal else None)
            checked += 1
            wrong = problem(examined.failure, sample.expected)
            if wrong:
                problems.append(f"{sample.where} {chosen or ''}: {wrong}: {line}")
    COUNTED.update(filters=1, variants=len(detectors), lines=checked)
    assert checked, "no line was checked"
    assert not problems, "\n".join(problems)


@needs_package
def test_count(capsys: pytest.CaptureFixture[str]) -> None:
    """How much the tests above have held against the package: printed, and not less than it has."""
    if COUNTED["filters"] != len(names()):
        pytest.skip("only a part of the samples was asked for")
    with capsys.disabled():
        print(f"\n{COUNTED['filters']} filters, {COUNTED['variants']} variants, {COUNTED['lines']} lines as annotated")
    assert COUNTED["lines"] > COUNTED["variants"] > COUNTED["filters"] > 80


def shown(options: dict[str, str]) -> str:
    """Options as `filter =` of a jail has them."""
    return "[" + ", ".join(f'{key}="{value}"' for key, value in options.items()) + "]" if options else ""
