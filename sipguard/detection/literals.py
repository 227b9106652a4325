"""What any text that a regex matches must contain: read from the regex's own parse tree.

`^SIP auth failure \\((?:REGISTER|INVITE)\\) on` gives `SIP auth failure (` and `) on`. A search for such a text costs a
hundredth of what the regex costs, so lines without it need no second look. Nothing is assumed of the text: what cannot be
read with certainty gives nothing.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from sipguard.detection.trees import IGNORECASE, parse, sre

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SHORTEST = 3
"""Characters below which a text is too frequent to be worth a search."""

_MOST_COMBINATIONS = 16

_REPEATS = frozenset({sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT})


class Literal(NamedTuple):
    """A text that must stand in the line; `folded` means in upper or lower case alike, and is written in lower case."""

    text: str
    folded: bool


Need = frozenset[Literal]
"""At least one of these must be in any text that matches."""


def needs(source: str) -> list[Need]:
    """Every need of a regex that `re` can compile; a text that fails one of them does not match. Empty if there is none."""
    tree = parse(source)
    return _needs(tree, folded=bool(int(tree.state.flags) & IGNORECASE))


def meets(text: str, found: Iterable[Need]) -> bool:
    """Whether a text holds what every match must hold."""
    lower = text.lower()
    return all(any(each.text in (lower if each.folded else text) for each in need) for need in found)


def single(found: Iterable[Need]) -> str:
    """The longest text that must be in every match, as it is written; empty if there is none."""
    texts = [next(iter(need)).text for need in found if len(need) == 1 and not next(iter(need)).folded]
    return max(texts, key=len, default="")


def _needs(items: Iterable[Any], *, folded: bool) -> list[Need]:
    found: list[Need] = []
    run: list[str] = []
    run_folded = folded

    def flush() -> None:
        if len(run) >= SHORTEST:
            found.append(frozenset({Literal("".join(run), run_folded)}))
        run.clear()

    for op, argument, now_folded in _flat(items, folded):
        if now_folded is not run_folded:
            flush()
            run_folded = now_folded
        if op is sre.LITERAL and _usable(chr(argument)):
            run.append(chr(argument).lower() if now_folded else chr(argument))
        elif op is sre.ASSERT:
            found += _needs(argument[1], folded=now_folded)
        elif op not in {sre.AT, sre.ASSERT_NOT}:  # those take no room: the run goes on behind them
            flush()
            found += _needs_of(op, argument, folded=now_folded)
    flush()
    return found


def _needs_of(op: Any, argument: Any, *, folded: bool) -> list[Need]:
    if op in _REPEATS and argument[0] >= 1:
        return _needs(argument[2], folded=folded)
    if op is sre.BRANCH:
        branches = [sorted(_needs(branch, folded=folded), key=_worth, reverse=True) for branch in argument[1]]
        # One need of each branch, in every combination: which texts are rare depends on the log.
        chosen = itertools.islice(itertools.product(*branches), _MOST_COMBINATIONS)
        return [frozenset().union(*each) for each in chosen]
    return []


def _worth(need: Need) -> int:
    """How few lines meet a need, as far as that can be guessed: long texts, and few of them."""
    return min(len(each.text) for each in need) - 3 * len(need)


def _flat(items: Iterable[Any], folded: bool) -> Iterator[tuple[Any, Any, bool]]:
    """The items with the contents of plain groups in their place, each with whether case matters there."""
    for op, argument in getattr(items, "data", items):  # a SubPattern's own way through them is slow
        if op is sre.SUBPATTERN:
            _, added, removed, inner = argument
            yield from _flat(inner, (folded or bool(int(added) & IGNORECASE)) and not int(removed) & IGNORECASE)
        elif op is sre.ATOMIC_GROUP:
            yield from _flat(argument, folded)
        else:
            yield op, argument, folded


def _usable(character: str) -> bool:
    """ASCII alone is the same bytes in every encoding that matters; line ends are not part of a line."""
    return character.isascii() and character not in "\r\n"
