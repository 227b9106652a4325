"""Which addresses a banned network holds."""

from __future__ import annotations

import pytest

from sipguard.addresses import covers


@pytest.mark.parametrize(
    ("network", "address", "held"),
    [
        ("2001:db8::/64", "2001:db8::5", True),
        ("2001:db8::/64", "2001:db8:1::5", False),
        ("2001:db8::/64", "2001:db8::/64", True),
        ("2001:db8::/64", "192.0.2.1", False),
        ("192.0.2.0/24", "192.0.2.1", True),
        ("192.0.2.0/24", "2001:db8::5", False),
        ("192.0.2.1", "192.0.2.1", False),
    ],
)
def test_covers(network, address, held):
    """Families do not mix; a single address is no network."""
    assert covers(network, address) is held
