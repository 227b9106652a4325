"""Regexes written for libpcre2 mean what they mean to `re`: those of all filters on all samples, and any others on any texts."""

from __future__ import annotations

import functools
import re
import warnings

import pytest
from annotations import FILTERS, LOGS
from effort import effort, examples
from hypothesis import given
from hypothesis import strategies as st

from sipguard.config.filters import read_filter
from sipguard.detection.dated import asked
from sipguard.detection.detector import Detector
from sipguard.detection.pcre2 import UNSET, Pattern, SearchError
from sipguard.detection.translate import Writer
from sipguard.detection.trees import UntranslatableError, is_anchored, parse
from sipguard.errors import ConfigError

PACKAGE_FILTERS = FILTERS.__class__("/etc/fail2ban/filter.d")


@functools.lru_cache(2)  # asked for each line
def translated(source, *, at_line=False):
    """The pattern, and its groups by the numbers that they have in Python."""
    tree = parse(source)
    anchored = is_anchored(tree)
    writer = Writer(groups=0 if anchored else 1)
    text = writer.regex(tree, range(1, tree.state.groups), anchored=anchored, at_line=at_line)
    return Pattern(text if anchored else f".*?({text})", anchored=True), writer.numbers


def same(source, line, *, at_line=False):
    """Whether both match a line alike, with the same groups. None where it cannot be translated or told."""
    try:
        pattern, numbers = translated(source, at_line=at_line)
    except UntranslatableError:
        return None
    data = line.encode("ascii") + b"\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = re.compile(source).search(line if at_line else line + "\n")
    try:
        found = pattern.once(data + b"x1 a\n")  # what stands in the next line is nobody's business
    except SearchError:
        return None
    if not found or wanted is None:
        return bool(found) == (wanted is not None)
    spans = {group: pattern.spans[2 * number : 2 * number + 2] for group, number in numbers.items()}
    got = {group: None if begin == UNSET else (begin, end) for group, (begin, end) in spans.items()}
    return got == {group: None if wanted.span(group) == (-1, -1) else wanted.span(group) for group in got}


PIECES = st.sampled_from(
    ["a", "b", "1", " ", "[", "\\[", ".", ".*", ".*?", r"\d", r"\d+", r"\w+", r"\s", r"\s*", r"\S+", r"\b", r"\B", "$", "^",
     r"\Z", r"\A", "[^a]", "[^a]*", "[ab]+", r"[\d.]", "[a-f0-9]{2}", "(a)", "(?P<x>[ab]*)", "(?:a|bc)", "(?:a|ab)(?:c|bcd)?",
     "a{2,3}", "(?=a)", "(?!b)", "(?<=a)", "(?<!b)", "(?i:ab)", "(?:^a|b)", "(?>a+)", "a++", "(a)|b", r"\x1b", r"\n", "|", "é",
     "(?s:.)", "[^\\s]", "(?=.{0,3}$)", r"[\W]", r"(?P<y>a|b)(?P=y)", "K", "(?i)"]
)  # fmt: skip


@examples(300)
@given(
    source=st.lists(PIECES, min_size=1, max_size=7).map("".join),
    lines=st.lists(st.text("ab1 [.\x1b\t\x1ckKc", max_size=9), min_size=1, max_size=6),
    at_line=st.booleans(),
)
def test_any_regex(source, lines, at_line):
    """What both languages can compile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(source)
        except re.error:
            return
    for line in lines:
        assert same(source, line, at_line=at_line) is not False, (source, line)
        assert is_found(source, line) in (None, re.search(source, line) is not None), (source, line)


def is_found(source, line):
    """Whether it is found in a line, asked as a condition. None where that cannot be."""
    try:
        return bool(Pattern(asked(Writer(), source, "="), anchored=True).once(line.encode("ascii") + b"\nx1 a\n"))
    except (UntranslatableError, SearchError):
        return None


def every_filter():
    """Ours, and those of the installed Fail2ban."""
    for folder in (FILTERS, PACKAGE_FILTERS):
        for path in sorted(folder.glob("*.conf")):
            try:
                yield read_filter(path.stem, [folder])
            except ConfigError:
                continue


def test_every_regex_of_every_filter():
    """On every line of our samples, as far as they are ASCII; most can be translated."""
    lines = sorted({
        line.rstrip("\r")
        for log in LOGS.glob("*.log")
        for line in log.read_bytes().decode("ascii", "ignore").split("\n")[::7]
    })  # fmt: skip
    told = untold = 0
    for filter_ in every_filter():
        try:
            matcher = Detector(filter_)._matcher
        except ConfigError:
            continue
        for expression in matcher.failregex:
            try:
                translated(expression.source)
            except UntranslatableError:
                untold += 1
                continue
            told += 1
            for line in lines[:: max(1, len(lines) // effort(20, 600))]:
                assert same(expression.source, line) is not False, (filter_.name, expression.source, line)
    assert told > 2 * untold, (told, untold)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (r"a\s*$", "it may take the end of the line"),
        (r"(?m)^a$", "flags"),
        (r"a[^b]*", "it may take the end of the line"),
        (r"\bab", "AT_BOUNDARY"),
        (r"(?<=x)a", "looks behind"),
        (r"\Z", "nothing"),
        (r"(?:|a)*b", "nothing"),
    ],
)
def test_what_is_left_to_the_exact_way(source, why):
    """Where PCRE2 would have to see what stands outside of the text."""
    with pytest.raises(UntranslatableError, match=why):
        translated(source)
