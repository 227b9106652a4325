"""The sliding window: a ban exactly when maxretry attempts lie within findtime."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.policy.window import Window

ADDRESS = "203.0.113.5"


@pytest.mark.parametrize(
    ("times", "over"),
    [
        pytest.param([0, 1, 2], True, id="three at once"),
        pytest.param([0, 5, 10], True, id="exactly findtime apart"),
        pytest.param([0, 5, 11], False, id="first one too old"),
        pytest.param([0, 8, 12, 16], True, id="the window slides"),
        pytest.param([12, 0, 8, 16], True, id="out of order"),
        pytest.param([0, 1], False, id="too few"),
    ],
)
def test_over_the_limit(times, over):
    """maxretry 3 within 10 s."""
    window = Window(maxretry=3, findtime=10)
    assert [window.add(ADDRESS, time) for time in times][-1] is over


def test_attempts_of_one_line_count_together():
    """A line may stand for several attempts."""
    assert Window(maxretry=5, findtime=10).add(ADDRESS, 0, attempts=5)


def test_addresses_do_not_mix():
    """Another's failures are not mine."""
    window = Window(maxretry=2, findtime=10)
    assert not window.add(ADDRESS, 0)
    assert not window.add("203.0.113.6", 0)


def test_forget_starts_again():
    """After a ban the count begins at nothing."""
    window = Window(maxretry=2, findtime=10)
    window.add(ADDRESS, 0)
    window.forget(ADDRESS)
    assert not window.add(ADDRESS, 1)
    assert window.counts(now=1) == {ADDRESS: 1}


def test_prune_drops_only_what_cannot_matter():
    """An address goes when its newest attempt is older than findtime."""
    window = Window(maxretry=3, findtime=10)
    window.add("203.0.113.1", 0)
    window.add("203.0.113.2", 5)
    assert window.prune(now=12) == ["203.0.113.1"]
    assert len(window) == 1


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), st.integers(1, 5), st.integers(1, 20))
def test_agrees_with_the_definition(times, maxretry, findtime):
    """Over the limit at some point exactly if some maxretry times lie within findtime of each other."""
    window = Window(maxretry, findtime)
    ever = [window.add(ADDRESS, time) for time in sorted(times)]
    ordered = sorted(times)
    expected = any(b - a <= findtime for a, b in zip(ordered, ordered[maxretry - 1 :], strict=False))
    assert any(ever) is expected
