"""What tests need besides Python, by marker: this is the one place that says so and that skips what cannot be had.

A test says it itself (`@pytest.mark.root`), or a fixture says it for every test that asks for it:

    @pytest.fixture
    @needs("root")
    def net(): ...

A helper that does what takes such a thing asks `must_be_marked` first, so that no test is in a set to which it does not belong.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Function = TypeVar("Function")

ROOT, FAIL2BAN, LAB, LONG, BROWSER, ANSIBLE = "root", "fail2ban", "lab", "long", "browser", "ansible"
CHROMIUM = "/usr/bin/chromium"
"""Debian's; no other is downloaded."""

names_of_ports = pytest.mark.skipif(
    not Path("/etc/services").exists(), reason="no /etc/services here: Debian's package netbase brings it"
)
"""For a test that names a port by its service."""

SHARED_SCOPES = ("class", "module", "package")
"""Fixtures of these are made once for several tests, which one process therefore runs."""
SERVERS = ("suite", "running", "bare")
"""Parameters that choose a real server or a Debian, where no fixture of those scopes does."""


def needs(*markers: str) -> Callable[[Function], Function]:
    """Mark every test that asks for this fixture; stands below `@pytest.fixture`."""

    def set_on(function: Function) -> Function:
        function.needs = markers  # type: ignore[attr-defined]
        return function

    return set_on


def with_root(*backends: str) -> list[object]:
    """Parameters for the names of firewall backends: all but the one in memory need root."""
    return [name if name == "memory" else pytest.param(name, marks=pytest.mark.root) for name in backends]


def lacking(markers: Iterable[str]) -> str:
    """Why a test with these markers cannot run here; empty when it can. Labs say it themselves, when they are made."""
    if ROOT in markers and os.geteuid() != 0:
        return "needs root"
    if FAIL2BAN in markers and not reference.THERE:
        return reference.WHY_NOT
    if ANSIBLE in markers and not (Path(sys.executable).parent / "ansible-lint").exists():
        return "ansible-core and ansible-lint are not there: make test-rest installs them"
    if BROWSER in markers and not Path(CHROMIUM).exists():
        return f"there is no {CHROMIUM}: Debian's package chromium brings it"
    if BROWSER in markers and importlib.util.find_spec("playwright") is None:
        return "the library playwright is not there: make test-rest installs it"
    return ""


def mark(item: pytest.Item) -> None:
    """Give a test the markers of its fixtures, and a group to those that share what takes long to make.

    A file's Asterisk 16 and its Asterisk 22 are two groups: two processes try them at once.
    """
    found = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009 - pytest has no public name for it
    used = [definitions[-1] for name, definitions in found.items() if name in item.fixturenames]  # type: ignore[attr-defined]
    for name in {name for one in used for name in getattr(one.func, "needs", ())}:
        item.add_marker(name)
    shared = [one.argname for one in used if one.scope in SHARED_SCOPES]
    if shared or item.get_closest_marker(LAB):
        chosen = getattr(item, "callspec").params if hasattr(item, "callspec") else {}  # noqa: B009 - of a function's item
        which = "".join(f" {chosen[name]}" for name in (*shared, *SERVERS) if name in chosen)
        item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0] + which))


class _Running:
    """The test that this process runs now."""

    item: pytest.Item | None = None


def is_quick(item: pytest.Item) -> bool:
    """Whether a test needs no lab and no browser."""
    return not any(item.get_closest_marker(one) for one in (LAB, BROWSER))


def check_groups(items: Iterable[pytest.Item], config: pytest.Config) -> None:
    """Fail where pytest-xdist does not group: every process would make what takes long to make."""
    grouped = [item for item in items if item.get_closest_marker("xdist_group")]
    if getattr(config.option, "loadgroup", False) and not all("@" in item.nodeid for item in grouped):
        raise pytest.UsageError("pytest-xdist ignores xdist_group with this pytest; install what pyproject.toml names")


def begin(item: pytest.Item) -> None:
    """A test is about to be set up; skips it, with the reason, where it cannot run."""
    _Running.item = item
    if reason := lacking({marker.name for marker in item.iter_markers()}):
        pytest.skip(reason)


def must_be_marked(marker: str) -> None:
    """Fail a test that uses what it does not say it needs."""
    item = _Running.item
    if item is not None and item.get_closest_marker(marker) is None:
        pytest.fail(f"{item.nodeid} needs {marker}: write @pytest.mark.{marker} before it, or @needs on its fixture")
