"""Which names are those of rotated files."""

from __future__ import annotations

import pytest

from sipguard.sources.rotated import is_rotated


@pytest.mark.parametrize(
    ("name", "base", "expected"),
    [
        ("auth.log.1", "auth.log", True),
        ("auth.log.2.gz", "auth.log", True),
        ("auth.log-20261121", "auth.log", True),
        ("auth-20261121.log", "auth.log", True),
        ("auth.1.log", "auth.log", True),
        ("auth.log.old", "auth.log", True),
        ("freeswitch.log.2026-11-21-03-00-00.1", "freeswitch.log", True),
        ("full.0", "full", True),
        ("full-20261121.xz", "full", True),
        ("full", "full", False),
        ("full2", "full", False),
        ("mail.log", "mail", False),
        ("mail.err", "mail.log", False),
        ("queue_log", "queue", False),
        ("auth.log.1", "mail.log", False),
    ],
)
def test_is_rotated(name, base, expected):
    """Digits, dates and `.old` behind the name or before its extension; anything else is a log of its own."""
    assert is_rotated(name, base) is expected
