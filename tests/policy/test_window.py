"""The sliding window: a ban exactly when maxretry attempts lie within findtime."""

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.policy import window as module
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


def spoofed(number):
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def test_invented_sources_take_a_bounded_memory(monkeypatch):
    """Whoever has tried twice stays counted; of those that tried once the oldest go, and how many is told."""
    monkeypatch.setattr(module, "MOST", 20_000)
    window = Window(maxretry=3, findtime=600)
    window.add(ADDRESS, 0)
    window.add(ADDRESS, 1)
    tracemalloc.start()
    for number in range(100_000):
        window.add(spoofed(number), 2 + number / 1e5)
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(window) <= module.MOST
    assert memory < 330 * module.MOST, "bytes"
    assert window.dropped + len(window) == 100_001
    assert window.count(spoofed(0), 12) == 0
    assert window.count(spoofed(99_999), 12) == 1
    assert window.add(ADDRESS, 12)


def test_sources_that_tried_twice_starve_nobody(monkeypatch):
    """Where all have tried twice, the oldest of them go too: a new one gets as far as its second attempt."""
    monkeypatch.setattr(module, "MOST", 160)
    window = Window(maxretry=3, findtime=600)
    for number in range(1000):
        window.add(spoofed(number), 0)
        window.add(spoofed(number), 1)
        assert window.count(spoofed(number), 1) == 2
    assert len(window) <= 160


def test_prune_and_status_are_short():
    """With 300,000 addresses a call takes a small part of what they took to come; in as many calls as there are slices all is
    pruned. It takes a fortieth of it; where a call looked at all of them, a fifth."""
    window = Window(maxretry=3, findtime=10)
    begin = time.thread_time()
    for number in range(300_000):
        window.add(spoofed(number), 0)
    added = time.thread_time() - begin
    taken = []
    for _ in range(3):
        begin = time.thread_time()
        window.prune(now=5)
        assert window.counting(now=5) == 300_000
        assert len(window.counts(5, 299_000)) == 1000
        taken.append(time.thread_time() - begin)
    assert min(taken) < added / 15
    for _ in range(2 * 300_000 // module.SLICE + 2):
        window.prune(now=20)
    assert len(window) == 0
    assert window.counting(now=20) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["add", "forget", "forgive", "prune"])), max_size=60))
def test_agrees_with_a_plain_window(steps):
    """An address is in one of two dictionaries; seen from outside it is one."""
    window, plain = Window(maxretry=3, findtime=10), {}
    for now, (number, what) in enumerate(steps):
        if what == "add":
            window.add(spoofed(number), now, user=str(now % 2))
            plain[number] = [*plain.get(number, []), (now, str(now % 2))][-3:]
        elif what == "forget":
            window.forget(spoofed(number))
            plain.pop(number, None)
        elif what == "forgive":
            window.forgive(spoofed(number), "0", now)
            plain[number] = [one for one in plain.get(number, []) if one[1] != "0"]
        else:
            window.prune(now)
        for one in range(4):
            assert window.count(spoofed(one), now) == sum(time > now - 10 for time, _ in plain.get(one, []))
    live = sum(any(time > len(steps) - 10 for time, _ in told) for told in plain.values())
    assert window.counting(len(steps)) == live
