"""libpcre2 through ctypes: limits, lifetimes, offsets, and machines without it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap

import pytest

from sipguard.detection import pcre2
from sipguard.detection.pcre2 import UNSET, Pattern, SearchError


def test_the_library_is_here():
    """Debian has it wherever grep is; a machine for tests has JIT."""
    found = pcre2.library()
    assert found is not None
    assert found.jit
    assert found.version.startswith("10.")
    assert pcre2.why_not() == ""


def test_groups_and_offsets():
    """The last group that took part says which way has matched; one that did not has no offset."""
    pattern = Pattern(r"(?:a(x)?()|b(y)()$)")
    at = pattern.matcher(b"zza\nby\n")
    assert at(0) == 3
    assert list(pattern.spans[:6]) == [2, 3, UNSET, UNSET, 3, 3]
    assert at(3) == 5
    assert list(pattern.spans[:2]) == [4, 6]
    assert at(6) == 0


def test_a_walk_ends_where_nothing_follows():
    """From match to match, each where the one before has ended, and anew from any other place."""
    pattern = Pattern(r"a([0-9])\n", anchored=True)
    walk = pattern.walk(b"a1\na2\nb3\na4\n")
    assert [pattern.spans[1] for _ in walk(0)] == [3, 6]
    assert [pattern.spans[1] for _ in walk(6)] == []
    assert [pattern.spans[1] for _ in walk(9)] == [12]


@pytest.mark.parametrize("begin", [-1, 5, 1 << 40])
def test_offsets_are_checked(begin):
    """Before they reach the library."""
    pattern = Pattern("a")
    with pytest.raises(ValueError, match="offset"):
        pattern.matcher(b"aaaa")(begin)
    with pytest.raises(ValueError, match="offset"):
        next(pattern.walk(b"aaaa")(begin))


@pytest.mark.parametrize("data", ["text", bytearray(b"aaaa"), memoryview(b"aaaa"), None])
def test_only_bytes_that_stay(data):
    """What can move in memory or change is not searched."""
    pattern = Pattern("a")
    for search in (pattern.matcher, pattern.walk, pattern.once):
        with pytest.raises(TypeError):
            search(data)


def test_a_hostile_regex_is_given_up():
    """At the limit of steps, which says nothing of a match; other searches go on."""
    pattern = Pattern("^(a+)+$")
    data = b"a" * 100 + b"!\naaa\n"
    with pytest.raises(SearchError):
        pattern.matcher(data)(0)
    assert pattern.matcher(data)(102) == 2
    assert list(Pattern("(a+)+!x", anchored=True).walk(b"a" * 100 + b"!")(0)) == []


def test_a_deep_stack_is_given_up():
    """What needs more memory than the JIT's stack has."""
    with pytest.raises(SearchError):
        Pattern("^(?:(a)|b)*c").matcher(b"ab" * 500_000)(0)
    assert Pattern("b").matcher(b"ab")(0) == 1


@pytest.mark.parametrize("source", ["(", r"\C", "(?C1)(", "[z-a]", "a" * 100 + "{65535}" * 3])
def test_what_is_refused(source):
    """With the library's own words."""
    with pytest.raises(ValueError, match=r"\S"):
        Pattern(source)


def test_any_bytes():
    """NUL, CR, bytes that are no UTF-8: just bytes; only LF ends a line."""
    pattern = Pattern("^x(.*)$")
    data = b"\0\r\xff\xc3\nx\0\r\xff\xc3(\nx\n"
    assert pattern.matcher(data)(0) == 2
    assert list(pattern.spans[:2]) == [5, 11]
    assert list(Pattern(r"\x00\x0d").matcher(data) and [Pattern(r"\x00\x0d").matcher(data)(0)]) == [1]


def test_a_search_keeps_its_pattern_alive():
    """Code and results are freed with the last one that can search by them."""
    at = Pattern("b").matcher(b"abc" * 1000)
    gc.collect()
    assert [at(begin) for begin in range(3)] == [1, 1, 1]
    for number in range(200):
        Pattern(f"a{number}").once(b"xa1")


def test_without_the_library(monkeypatch):
    """Said with the reason, and nothing raised at import."""
    monkeypatch.setattr(pcre2, "SONAME", "libno-such-thing.so.0")
    pcre2._load.cache_clear()
    try:
        assert pcre2.library() is None
        assert "libno-such-thing" in pcre2.why_not()
        with pytest.raises(ValueError, match="libno-such-thing"):
            Pattern("a")
    finally:
        pcre2._load.cache_clear()


def test_a_library_too_old(monkeypatch):
    """It is as good as none."""
    monkeypatch.setattr(pcre2, "OLDEST", (99, 0))
    pcre2._load.cache_clear()
    try:
        assert pcre2.library() is None
        assert "too old" in pcre2.why_not()
    finally:
        pcre2._load.cache_clear()


DENIED = """
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(65, 1, 0, 0, 0) != 0:  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN: what MemoryDenyWriteExecute does
        raise SystemExit(77)
    from sipguard.detection import pcre2
    from sipguard.detection.candidates import Find, best
    print(pcre2.library().jit, isinstance(best(), Find))
"""


def test_where_memory_may_not_become_code():
    """No JIT: found out once, and the other backend works."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DENIED)], capture_output=True, text=True, check=False, env=os.environ
    )
    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    assert done.stdout.split() == ["False", "True"], done.stderr
