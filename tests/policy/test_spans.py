"""Ranges that overlap: the answer is that of a list that is read from its beginning, at the same cost for any length."""

import time

from hypothesis import given
from hypothesis import strategies as st

from sipguard.policy.ignore import IgnoreList
from sipguard.policy.spans import Spans

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=12)


@given(RANGES, st.integers(0, 70), st.integers(0, 20))
def test_as_a_list(ranges, first, length):
    """The first that overlaps, whatever lies before, behind and around it."""
    spans = [(begin, begin + more, str(number)) for number, (begin, more) in enumerate(ranges)]
    last = first + length
    wanted = next((why for low, high, why in spans if low <= last and first <= high), None)
    assert Spans(spans).find(first, last) == wanted


def test_fifty_thousand_networks(monkeypatch):
    """An address costs no more than with a hundred; to be told the same again costs nothing."""
    networks = [f"10.{n >> 8}.{n & 255}.{n % 16 * 16}/28" for n in range(25_000)]
    networks += [f"2001:db8:{n:x}::/48" for n in range(25_000)]

    def cost(ignore):
        ignore.reason("198.51.100.1")  # the first makes the index
        addresses = [f"198.51.{n >> 8}.{n & 255}" for n in range(2000)] + [f"2001:db9:{n:x}::1" for n in range(2000)]
        begin = time.thread_time()
        assert not any(ignore.reason(address) for address in addresses)
        return time.thread_time() - begin

    many, few = IgnoreList([*networks, "file:/list"]), IgnoreList(networks[:50] + networks[-50:])
    assert min(cost(many) for _ in range(3)) < 3 * min(cost(few) for _ in range(3)) + 0.01
    many.learn("file:/list", ["203.0.113.0/24"])
    assert many.reason("203.0.113.8") == "ignoreip file:/list"
    with monkeypatch.context() as patch:
        patch.setattr("sipguard.policy.ignore.Spans", None)  # the same list again: the index need not be made anew
        many.learn("file:/list", ["203.0.113.0/24"])
        assert many.reason("203.0.113.7") == "ignoreip file:/list"
    assert many.reason("10.0.1.17") == "ignoreip 10.0.1.16/28"
    assert many.reason("203.0.113.9") == "ignoreip file:/list"
