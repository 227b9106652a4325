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
def lab() -> Iterator[Callable[[str], Lab]]:
    """`lab(suite)` gives a running `Lab`, started once per session and suite; skips with the reason where it cannot."""
    started: dict[str, Lab] = {}
    refused: dict[str, str] = {}
    with ExitStack() as labs:

        def start(suite: str = "sid") -> Lab:
            if suite not in started and suite not in refused:
                try:
                    started[suite] = labs.enter_context(Lab(suite))
                except LabUnavailableError as reason:
                    refused[suite] = str(reason)
            if suite in refused:
                pytest.skip(refused[suite])
            return started[suite]

        yield start
