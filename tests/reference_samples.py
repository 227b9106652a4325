"""The annotated logs of the Fail2ban that sipguard is held against.

The annotations are those of the package's own tests: `# failJSON: {…}` before a line says what must be found in it, a
line without one must not match, `# filterOptions: […]` names the variants of the filter that the lines below are for.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reference import FILTERS, SAMPLES, THERE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1124013600.0
"""2005-08-14T12:00:00+02:00, which the samples take for now; they are from Zurich."""

_LOGS = SAMPLES / "files/logs"
_OWN = SAMPLES / "config/filter.d"
_ANNOTATION = re.compile(r"#+ ?(failJSON|fileOptions|filterOptions|addFILE):(.+)")
_CONDITION = re.compile(r"(name|opts\.get\('(\w+)'\)) ?([!=])= ?'([^']*)'")
_NOT_COMPARED = frozenset({"match", "desc", "constraint", "time"})


@dataclass
class Expected:
    """What the annotation before a line says."""

    match: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Sample:
    """One line of a log, and what is expected of it."""

    where: str
    line: str
    expected: Expected


@dataclass
class Variant:
    """One way to call a filter, and all the lines that are for it, in order."""

    filter: str
    options: dict[str, str]
    samples: list[Sample] = field(default_factory=list)

    @property
    def reference(self) -> str:
        """As `filter =` of a jail has it."""
        inside = ", ".join(f'{key}="{value}"' for key, value in self.options.items())
        return f"{self.filter}[{inside}]" if inside else self.filter

    @property
    def is_journal(self) -> bool:
        """Whether the lines come from the journal, without a date."""
        return self.options.get("logtype") == "journal"


def names() -> list[str]:
    """The filters that have samples."""
    if not THERE:
        return []
    known = {path.stem for path in (*FILTERS.glob("*.conf"), *_OWN.glob("zzz-*.conf"))}
    return sorted(path.name for path in _LOGS.iterdir() if path.name in known)


def copy_filters(top: Path) -> tuple[Path, Path]:
    """Two trees below `top`: the package's filters, and those of its tests, which include others by a path in its sources."""
    stock, own = top / "config", top / "1/2/3/4/5/6"
    shutil.copytree(FILTERS, stock / "filter.d")
    shutil.copytree(_OWN, own / "filter.d")
    # How far up the sources' `config` lies is another in every version.
    for above in (own, *own.parents):
        if top in above.parents:
            (above / "config").symlink_to(stock)
    return stock, own


def variants(name: str) -> list[Variant]:
    """Every variant of a filter that its logs name, with its lines."""
    found: dict[str, Variant] = {}
    for sample, settings in _samples(name):
        for given in settings:
            if _holds(sample.expected.facts.get("constraint"), name, given):
                options = {key: value for key, value in given.items() if not key.startswith("test.")}
                key = given.get("test.filter-name") or json.dumps(options)
                line = given.get("test.prefix-line", "") + sample.line
                variant = found.setdefault(key, Variant(name, options))
                variant.samples.append(Sample(sample.where, line, sample.expected))
    return list(found.values())


def _samples(name: str) -> Iterator[tuple[Sample, list[dict[str, str]]]]:
    """The lines of the logs of one filter, in order, each with the settings that it is to be tried with."""
    files = [name]
    settings: list[dict[str, str]] = [{}]
    for file in files:
        common: dict[str, str] = {}
        expected = Expected()
        for number, raw in enumerate((_LOGS / file).read_bytes().split(b"\n"), 1):
            line = raw.decode("utf-8", "replace").rstrip("\r")
            if annotation := _ANNOTATION.match(line):
                kind, data = annotation[1], json.loads(annotation[2])
                if kind == "failJSON":
                    expected = Expected(data.get("match", False), data)
                elif kind == "fileOptions":
                    common = data
                elif kind == "addFILE":
                    files.append(data)
                else:
                    listed = [{**common, **one} for one in (data if isinstance(data, list) else [data])]
                    settings = [one for one in listed if _holds(one.get("test.condition"), name, one)]
                continue
            if expected.facts or not (line.startswith("#") or not line.strip()):
                yield Sample(f"{file}:{number}", line, expected), settings
            expected = Expected()


def _holds(condition: str | None, name: str, options: dict[str, str]) -> bool:
    """Evaluate the few conditions that the annotations use."""
    if condition is None:
        return True
    match = _CONDITION.fullmatch(condition.strip())
    assert match is not None, f"unknown condition {condition!r}"
    value = name if match[1] == "name" else options.get(match[2])
    return (value == match[4]) == (match[3] == "=")


def problem(found: dict[str, Any] | None, when: float | None, expected: Expected) -> str | None:
    """What is wrong with the facts found in a line (None: it did not match) and its time; None when all is right."""
    if found is None:
        return "not matched" if expected.match else None
    if not expected.match:
        return f"matched {found}"
    for key, value in expected.facts.items():
        # Facts that the answer has no place for are not asked for.
        if key not in _NOT_COMPARED and key in found and _sorted(found[key]) != _sorted(value):
            return f"{key} is {found[key]!r}, should be {value!r}"
    told = expected.facts.get("time")
    if told is not None and when != _local_time(told):
        return f"time is {when}, should be {told}"
    return None


def _sorted(value: Any) -> Any:
    return sorted(value) if isinstance(value, (list, tuple)) else value


def _local_time(text: str) -> float:
    """POSIX seconds of a time in the annotations: in the machine's zone, not always with two digits a field."""
    date_time, _, fraction = text.partition(".")
    return time.mktime(time.strptime(date_time, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction or 0}")
