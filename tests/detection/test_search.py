"""Texts in bytes: every way to look for them finds the same lines, alone and together with others."""

from __future__ import annotations

import gc

import pytest
from annotations import FILTERS, LOGS
from hypothesis import given
from hypothesis import strategies as st

from sipguard.config.filters import read_filter
from sipguard.detection.detector import Detector
from sipguard.detection.search import Find, Pool, Scan

TEXTS = st.lists(st.sampled_from([b"ab", b"abc", b"b", b"[x] ", b"\x00", b"(a"]), min_size=1, max_size=4, unique=True)
NO_HYPERSCAN = "the package hyperscan (the extra `fast`) is not installed"


@given(
    texts=st.lists(TEXTS, min_size=1, max_size=3),
    pieces=st.lists(st.sampled_from([b"a", b"b", b"c", b"\n", b"[x] ", b"(", b"\x00", b"abc"]), max_size=60),
)
@pytest.mark.parametrize("engine", [Find, Scan])
def test_each_finds_its_lines(engine, texts, pieces):
    """Hyperscan and `bytes.find`, for one filter or several: each line that holds a text of its own, no other, in order."""
    if engine is Scan:
        pytest.importorskip("hyperscan", reason=NO_HYPERSCAN)
    data = b"".join(pieces)
    pool = Pool()
    pool.engine = engine()
    members = [pool.join() for _ in texts]
    for member, its in zip(members, texts, strict=True):
        member.prepare(its)
    for member, its in zip(members, texts, strict=True):
        wanted = [number for number, line in enumerate(data.split(b"\n")) if any(text in line for text in its)]
        places = member.places(data)
        assert places == sorted(places)
        assert sorted({data.count(b"\n", 0, place) for place in places}) == wanted


class Counting(Find):
    """Counts the searches."""

    runs = 0

    def run(self, data, wanted):
        self.runs += 1
        super().run(data, wanted)


def test_jails_on_one_log_share_one_search():
    """Twenty detectors find what each finds alone, and a chunk is searched once for all, however often texts are chosen."""
    log = (LOGS / "freeswitch-debug.log").read_bytes() * 40
    chunks = [log[start : start + 60_000].rpartition(b"\n")[0] + b"\n" for start in range(0, len(log), 60_000)]
    names = ["freeswitch", "freeswitch[mode=scan]", "freeswitch[mode=aggressive]", "asterisk"] * 5
    pool = Pool()
    pool.engine = engine = Counting()
    together = [Detector(read_filter(name, [FILTERS]), timezone="UTC") for name in names]
    for detector in together:
        detector.share(pool)
    told = [[detector.events(chunk) for detector in together] for chunk in chunks]
    alone = [Detector(read_filter(name, [FILTERS]), timezone="UTC") for name in names]
    assert told == [[detector.events(chunk) for detector in alone] for chunk in chunks]
    assert [one.counts for one in together] == [one.counts for one in alone]
    assert engine.runs < len(chunks) + 3 * len(names)


def test_who_has_gone_is_not_searched_for():
    """A jail's texts go with it."""
    pool = Pool()
    stays, goes = pool.join(), pool.join()
    stays.prepare([b"a"])
    goes.prepare([b"b"])
    assert goes.places(b"ab\n")
    del goes
    gc.collect()
    stays.prepare([b"a", b"c"])
    assert stays.places(b"b\nc\n") == [2]
    assert len(pool._members) == 1
