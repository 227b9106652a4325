"""Dates that are ruled out by the first characters of a line are none that their patterns would find there."""

from __future__ import annotations

import re

import pytest
from annotations import LOGS

from sipguard.detection.dates import DateFinder
from sipguard.detection.prefixes import beginning_of, beginnings, may_begin

BEGINS = [
    form for form, _ in DateFinder("{^LN-BEG}", clock=lambda: 0.0, zone=None, time_limit=1).formats if form.at_begin
]
DATES = [
    "2026-11-28 18:18:13",
    "Sat Nov 28 18:18:13.5 2026",
    "Nov 28 2026 18:18:13",
    "28/11/2026 18:18:13",
    "28/Nov/2026:18:18:13 +0100",
    "11/28/2026:18:18:13",
    "11-28-2026 18:18:13.123",
    "1795890000.123",
    "18:18:13",
    "<11/28/26@18:18:13>",
    "261128 18:18:13",
    "Nov 28, 2026 6:18:13 PM",
    "Nov-28-26 18:18:13",
    "20261128T181813",
    "PDT Nov 28 18:18:13",
    "+01:00 Nov 28 18:18:13.5 2026",
    "@4000000052ab5a2b1ca3a1c4",
]
LINES = [
    f"{lead}{date}{behind}" for date in DATES for lead in ("", "[", " ", "[ ", "x") for behind in ("] x", " x", "x")
]
LINES += [
    line[:80] for path in sorted(LOGS.glob("*.log")) for line in path.read_text("utf-8", "replace").split("\n")[:40]
]


@pytest.mark.parametrize("form", BEGINS, ids=lambda form: form.name)
def test_what_may_not_begin_does_not_match(form):
    """Of every pattern on every date, and on the logs."""
    pattern = re.compile(form.source)
    ruled_out = [line for line in LINES if not may_begin(form.source, beginning_of(line))]
    assert len(ruled_out) > len(LINES) / 3
    assert not [line for line in ruled_out if pattern.match(line)]


@pytest.mark.parametrize("form", BEGINS, ids=lambda form: form.name)
def test_two_dates_in_one_place(form):
    """Where one pattern finds a date behind a certain lead, those that it rules out find none."""
    pattern = re.compile(form.source)
    for line in LINES:
        match = pattern.match(line)
        if match is None or not line[: match.start(1)].isascii():
            continue
        known = beginnings(form.source, 1, line[: match.start(1)])
        assert all(ord(c) in chars or ord(c) > 127 for c, chars in zip(line, known, strict=False))
        for other in BEGINS:
            if not may_begin(other.source, known):
                assert re.match(other.source, line) is None, (line, other.name)


def test_the_usual_date_rules_out_all_others():
    """As loggers write it, in brackets or without: then no pattern need ask for another."""
    usual = next(form for form in BEGINS if form.name.endswith(r"%H:%M:%S(?:[.,]%f)?(?:\s*%z)?"))
    for lead in ("", "["):
        known = beginnings(usual.source, 1, lead)
        assert {form.name for form in BEGINS if may_begin(form.source, known)} == {usual.name}
