"""Where a long log begins to matter."""

from __future__ import annotations

import io
import time

import pytest
from annotations import FILTERS

from sipguard.config.filters import read_filter
from sipguard.detection import seek_by_time as seek
from sipguard.detection.seek_by_time import MARGIN, offset_since

NOW = 1795300000.0
HOUR = 3600.0
PACKET_BEGINS = (
    "ERROR[1]: pjproject: \tsip_endpoint.c Error processing packet from 203.0.113.66:36168: Missing header [code 1]:"
)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """As if a few kilobytes were a long log."""
    monkeypatch.setattr(seek, "CLOSE", 2000)


def lines(count, text, form="[%Y-%m-%d %H:%M:%S] ", hours=100):
    """So many lines over so many hours, the last one now."""
    dates = (NOW - hours * HOUR * (count - number) / count for number in range(1, count + 1))
    return [time.strftime(form, time.gmtime(when)) + text for when in dates]


def begins(log, name="asterisk", since=NOW - 600, timezone="UTC", encoding="utf-8"):
    data = "".join(line + "\n" for line in log).encode()
    filter_ = read_filter(name, [FILTERS])
    offset = offset_since(io.BytesIO(data), filter_, since, clock=lambda: NOW, timezone=timezone, encoding=encoding)
    assert offset == 0 or data[offset - 1 : offset] == b"\n"
    return data, offset


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("asterisk", "[%Y-%m-%d %H:%M:%S] "),
        ("freeswitch", "%Y-%m-%d %H:%M:%S.123456 "),
        ("freeswitch", "%b %d %H:%M:%S "),
    ],
)
@pytest.mark.parametrize("hours", [1, 10, 50])
def test_the_part_that_matters(name, form, hours):
    """It begins before what matters, with the margin, and hardly earlier than that."""
    log = lines(5000, "NOTICE[1] x", form)
    since = NOW - hours * HOUR
    data, offset = begins(log, name, since)
    first = 5000 * (1 - (hours + MARGIN / HOUR) / 100)
    skipped = data.count(b"\n", 0, offset)
    assert first - 300 < skipped <= first


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(lines(5000, "x", hours=2), id="nothing is old"),
        pytest.param(["no date at all"] * 5000, id="no dates"),
        pytest.param(["x" * 200_000] * 3, id="long lines"),
        pytest.param(lines(50, "x"), id="short"),
        pytest.param([], id="empty"),
    ],
)
def test_from_the_beginning(log):
    """Where dates do not tell, or all of it matters."""
    assert begins(log)[1] == 0


def test_wide_characters_are_read_from_the_beginning():
    """A line feed is no byte of its own there."""
    assert begins(lines(5000, "x"), encoding="utf-16-le")[1] == 0


def test_not_within_a_packet():
    """The text of a dumped packet would be taken for the server's own lines: begin before it, as often as needed."""
    log = lines(5000, "NOTICE[1] x")
    data, offset = begins(log)
    number = data.count(b"\n", 0, offset)
    log[number - 100] = log[number - 100][:22] + PACKET_BEGINS
    data, offset = begins(log)
    assert data.count(b"\n", 0, offset) < number - 100


def test_dates_that_go_back():
    """A clock that was set back by an hour: within the margin nothing is lost."""
    log = lines(5000, "x")
    late = lines(5000, "x", hours=99)
    log[4000:] = late[4000:]
    data, offset = begins(log, since=NOW - HOUR)
    left = data[offset:].decode().splitlines()
    wanted = [line for line in log if line[1:20] > time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(NOW - HOUR))]
    assert set(wanted) <= set(left)
