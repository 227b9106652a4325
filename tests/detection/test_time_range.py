"""From when to when a log goes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from annotations import FILTERS, LOGS

from sipguard.config.filters import read_filter
from sipguard.detection.time_range import Span


def span_of(name, pieces):
    span = Span(read_filter(name, [FILTERS]), clock=lambda: 1795300000.0, timezone="UTC", encoding="utf-8")
    for piece in pieces:
        span.add(piece)
    return tuple(
        None if when is None else datetime.fromtimestamp(when, UTC).isoformat(" ")[:19]
        for when in (span.first, span.last)
    )


@pytest.mark.parametrize("size", [300, 1 << 20])
@pytest.mark.parametrize("log", ["freeswitch-normal-debug.log", "freeswitch-warning.log", "asterisk22-full.log"])
def test_first_and_last(log, size):
    """Lines that matter to no filter count too; in one piece and in many."""
    data = (LOGS / log).read_bytes()
    lines = data.splitlines(keepends=True)
    dates = [text for line in lines for text in [line.lstrip(b"[")[:60].decode(errors="replace")] if "2026-" in text]
    first, last = (date[date.index("2026-") :][:19] for date in (dates[0], dates[-1]))
    pieces = [data] if size > len(data) else lines
    assert span_of(log.partition("-")[0].rstrip("2"), pieces) == (first, last)


def test_json_and_nothing():
    """A date within an object; no date at all."""
    line = b'{"timestamp":1768472430123456,"level":4,"file":"sofia_reg.c","line":1787,"message":"x"}\n'
    assert span_of("freeswitch", [b"no date\n" * 50 + line + b"nor here\n"]) == ("2026-01-15 10:20:30",) * 2
    assert span_of("freeswitch", [b"no date\n" * 5000, b""]) == (None, None)
