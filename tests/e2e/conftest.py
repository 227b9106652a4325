"""Fixtures of the end-to-end tests: a real Asterisk, when this machine can have one."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

sys.path.insert(0, str(Path(__file__).parent))

from lab.lab import Lab, LabUnavailableError


@pytest.fixture(scope="session")
def labs() -> Iterator[tuple[Callable[[str], Lab], dict[str, Lab]]]:
    """What starts a `Lab`, once per session and suite, and those that run; skips with the reason where it cannot."""
    started: dict[str, Lab] = {}
    refused: dict[str, str] = {}
    with ExitStack() as stack:

        def start(suite: str = "sid") -> Lab:
            if suite not in started and suite not in refused:
                try:
                    started[suite] = stack.enter_context(Lab(suite))
                except LabUnavailableError as reason:
                    refused[suite] = str(reason)
            if suite in refused:
                pytest.skip(refused[suite])
            return started[suite]

        yield start, started


@pytest.fixture
def lab(labs: tuple[Callable[[str], Lab], dict[str, Lab]]) -> Iterator[Callable[[str], Lab]]:
    """`lab(suite)` gives a running `Lab`; what a test leaves in its firewall goes with the test, failed or not."""
    start, started = labs
    yield start
    for one in started.values():
        one.clear_firewall()
