"""A flood of SIP packets, as large as one core can send: guessers are banned in it, and phones call on."""

from __future__ import annotations

import pytest
from effort import LONG
from limits import within
from sipp_phones import MISSING

from benchmarks.wire_live import FLOODS, GUESSERS, flooded, laboratory

pytestmark = [pytest.mark.root, pytest.mark.timed, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

SECONDS = 5
GROWTH = {"": 8, "credentials": 64}
"""MiB that the daemon may grow. Requests with credentials are kept until they are answered: `transactions.MOST` of them."""


@pytest.mark.parametrize(("sources", "authorization"), FLOODS, ids=["one", "many", "credentials"])
def test_flood(sources, authorization):
    """No call fails in it, as none does before; each guesser is rejected; the daemon answers, and grows no further."""
    with laboratory() as lab:
        found = flooded(lab, sources, SECONDS, authorization)
    print(*(f"{name}: {value}" for name, value in found.table().items()), sep="\n")
    assert found.burst >= 50_000 or not LONG
    assert found.packets["limited"] > 0
    assert (found.quiet.failed, found.calls.failed) == (0, 0), found.calls.told
    assert set(found.rejected) == set(GUESSERS)
    assert max(found.rejected.values()) < within(2)
    assert found.status < within(1)
    assert found.memory[1] - found.memory[0] < GROWTH["credentials" if authorization else ""]
