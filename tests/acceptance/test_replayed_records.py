"""`replay` of hostile records: who wrote them is counted, and the address that they name is not."""

from __future__ import annotations

import pytest
from annotations import ROOT
from test_sip_replay import counted, replay

NAMED = "192.0.2.99"
"""It never sent a packet."""
RIGHT = {
    "fold": ("freeswitch", {"203.0.113.70": 5, "203.0.113.71": 3, "203.0.113.72": 3}),
    "asterisk-security": ("asterisk", {"203.0.113.77": 6, "203.0.113.78": 6, "203.0.113.79": 6}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_who_wrote_them_is_counted(name):
    """Folded guesses ban nobody else; six characters in a Call-ID, and a control byte, hide no guess."""
    jail, right = RIGHT[name]
    rows, _ = replay(jail, ROOT / "fixtures" / "records" / f"{name}.log")
    assert NAMED not in rows
    assert counted(rows) == right
