"""The filters are Fail2ban filters: Fail2ban itself reads the sample logs with them, and finds what must be found.

Needs `fail2ban-regex`; sipguard's own engine is held against the same samples elsewhere.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
import reference
from annotations import FILTERS, LOGS, SAMPLES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.fail2ban


def found_by_fail2ban(log: Path, filter_reference: str) -> Counter[tuple[str, str, str]]:
    """(address, user, line) → how often Fail2ban matched it."""
    name, _, options = filter_reference.partition("[")
    filter_file = f"{FILTERS / name}.conf" + (f"[{options}" if options else "")
    # A line of a log may hold tabs, never LF: one row of the output per match.
    arguments = ("--encoding", "utf-8", "-o", "<ip>\t<F-USER>\t<matches>", log, filter_file)
    done = reference.run(reference.REGEX, *arguments)
    said = done.stdout.decode("utf-8", "replace")
    assert not said.startswith("ERROR"), said
    rows = (row.split("\t", 2) for row in said.split("\n") if row)
    return Counter((host, user, text.strip("\r")) for host, user, text in rows)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
def test_fail2ban_finds_what_the_annotations_say(sample):
    """Every required line with its address and user, and no other; gaps and forgeries are free."""
    lines = sample.lines()
    required = Counter((e.host, e.user or "", lines[e.line - 1]) for e in sample.expected if e.required)
    free = {(e.host, lines[e.line - 1]) for e in sample.expected if not e.required}
    found = found_by_fail2ban(sample.log, sample.filter)
    assert Counter({key: n for key, n in found.items() if (key[0], key[2]) not in free}) == required


OPTIONS = [
    f"asterisk[mode={mode}, log={log}]" for mode in ("normal", "scan", "aggressive") for log in ("security", "notice")
]
OPTIONS += [
    f"freeswitch[mode={mode}, unknown={unknown}]"
    for mode in ("normal", "scan", "aggressive")
    for unknown in ("both", "once")
]


@pytest.mark.parametrize("reference", OPTIONS)
def test_every_combination_of_options_is_a_filter(reference):
    """No tag stays unresolved, and each finds something among the hand-made lines."""
    assert found_by_fail2ban(LOGS / f"{reference.partition('[')[0]}-constructed.log", reference)
