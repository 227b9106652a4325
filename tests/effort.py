"""How much a test tries: by default what finds a mistake within seconds; with SIPGUARD_TESTS=long (`make test-long`) far more.

The dearest, marked `more`, do a part of their work in `make test`, and all of it in `make test-rest` (SIPGUARD_TESTS=rest).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function")

LONG = os.environ.get("SIPGUARD_TESTS") == "long"
WHOLE = LONG or os.environ.get("SIPGUARD_TESTS") == "rest"
QUICK_EXAMPLES, LONG_EXAMPLES = 25, 2000


def effort(quick: int, long: int) -> int:
    """This many now, that many in `make test-long`."""
    return long if LONG else quick


def examples(quick: int, **more: object) -> settings:
    """Hypothesis' settings for a test that needs another number of examples than most; the same share more in long runs."""
    return settings(settings.default, max_examples=effort(quick, quick * LONG_EXAMPLES // QUICK_EXAMPLES), **more)  # type: ignore[arg-type]


def part(number: int) -> int:
    """A quarter of it in `make test`, all of it elsewhere: for a test that is marked `more`."""
    return number if WHOLE else number // 4


def in_part(number: int) -> Callable[[Function], Function]:
    """`examples` and the marker for a test that takes seconds for this number of them."""
    return lambda test: pytest.mark.more(examples(part(number))(test))


def load_profile() -> None:
    """What holds for every test of Hypothesis."""
    # How long an example takes, or takes to be made up, says how busy the machine is, not whether the code is right; pytest's
    # own limit ends what hangs.
    settings.register_profile(
        "sipguard",
        deadline=None,
        # The same examples each time, so that a change is what makes a test fail; `make test-long` looks for new ones.
        derandomize=not LONG,
        suppress_health_check=[HealthCheck.too_slow],
        max_examples=effort(QUICK_EXAMPLES, LONG_EXAMPLES),
    )
    settings.load_profile("sipguard")
