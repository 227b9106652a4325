"""Every filter of the installed Fail2ban means here what it means there, in every variant that its samples name."""

from __future__ import annotations

import json
import re

import pytest
from reference import ETC, FILTERS, SAMPLES, ask

from sipguard.config.filters import read_filter
from sipguard.errors import ConfigError

# Runs under the system's Python, where the package is; reads [[name, options, logtype], …], answers in that order.
ORACLE = rf"""
ETC = {str(ETC)!r}
import json, logging, sys
logging.disable(logging.CRITICAL)
from fail2ban.client.filterreader import FilterReader

def answer(name, options, logtype):
    reader = FilterReader(name, "jail", dict(options), basedir=ETC)
    try:
        reader.read()
        if logtype:
            reader.applyAutoOptions("systemd" if logtype == "journal" else "auto")
        reader.getOptions({{}})
        found = reader.getCombined()
    except Exception as error:
        return {{"error": str(error)}}
    keys = ("failregex", "ignoreregex", "prefregex", "maxlines", "datepattern", "journalmatch", "usedns")
    return {{key: found.get(key) for key in keys}}

json.dump([answer(*case) for case in json.load(sys.stdin)], sys.stdout)
"""

pytestmark = pytest.mark.fail2ban


def variants(name: str) -> list[dict[str, str]]:
    """The option sets that the package's samples of this filter name."""
    sample = SAMPLES / "files/logs" / name
    if not sample.is_file():
        return []
    found: list[dict[str, str]] = []
    for line in sample.read_text(encoding="utf-8", errors="replace").splitlines():
        marked = re.match(r"^#+\s*(?:.*#\s*)?filterOptions:\s*(.+)$", line.strip())
        if marked:
            options = json.loads(marked[1])
            for one in options if isinstance(options, list) else [options]:
                found.append({key: value for key, value in one.items() if not key.startswith("test.")})
    return found


def all_cases() -> list[tuple[str, dict[str, str], str | None]]:
    """Each filter bare, with each variant, and with the log type that a jail's backend would set."""
    cases: list[tuple[str, dict[str, str], str | None]] = []
    for path in sorted(FILTERS.glob("*.conf")):
        sets = [{}, *variants(path.stem)]
        unique = [json.loads(text) for text in dict.fromkeys(json.dumps(one, sort_keys=True) for one in sets)]
        cases += [(path.stem, one, None) for one in unique]
        cases += [(path.stem, {}, logtype) for logtype in ("file", "journal")]
    return cases


def ours(name: str, options: dict[str, str], logtype: str | None) -> dict[str, object]:
    """The same answer as the oracle's, from sipguard's reader."""
    inside = ",".join(f'{key}="{value}"' for key, value in options.items())
    found = read_filter(f"{name}[{inside}]", [FILTERS], logtype=logtype)
    return {
        "failregex": list(found.failregex),
        "ignoreregex": list(found.ignoreregex),
        "prefregex": found.prefregex,
        "maxlines": found.maxlines,
        "datepattern": found.datepattern,
        "journalmatch": list(found.journalmatch),
        "usedns": found.options.get("usedns"),
    }


def normal(answer: dict[str, object]) -> dict[str, object]:
    """The oracle's answer as its server would take it: empty lines dropped, an empty text is no text."""
    lists = {
        key: [line for line in str(answer[key] or "").split("\n") if line]
        for key in ("failregex", "ignoreregex", "journalmatch")
    }
    texts = {key: answer[key] or None for key in ("prefregex", "datepattern", "usedns")}
    return {**lists, **texts, "maxlines": answer["maxlines"] or 1}


def test_every_filter_means_the_same():
    """All filters, all variants: the same regexes, patterns and matches as Fail2ban's own reader gives."""
    cases = all_cases()
    answers = ask(ORACLE, cases)
    differences = []
    compared = 0
    for case, answer in zip(cases, answers, strict=True):
        try:
            mine = ours(*case)
        except ConfigError as error:
            # What Fail2ban cannot read either, or what is only there to be included.
            if "error" not in answer and answer["failregex"]:
                differences.append(f"{case}: {error}")
            continue
        compared += 1
        theirs = normal(answer) if "error" not in answer else answer
        differences += [
            f"{case} {key}: {mine.get(key)!r} != {value!r}" for key, value in theirs.items() if mine.get(key) != value
        ]
    assert differences == []
    assert compared >= 250, "the package brings near a hundred filters, each read in at least three ways"
