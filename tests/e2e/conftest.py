"""Fixtures of the end-to-end tests: a real Asterisk, our packages and a Debian for them, when this machine can have them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from needs import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

sys.path.insert(0, str(Path(__file__).parent))

from lab.debian import HERE, KNOWN, Debian, Machine
from lab.lab import Lab, LabUnavailableError

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
@needs("root", "lab")
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


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Both packages, built once: (sipguard, sipguard-fail2ban)."""
    if not Path("/usr/bin/python3").exists() or shutil.which("dpkg-deb") is None:
        pytest.skip("needs a Debian to build its packages")
    if not HERE:
        pytest.skip(f"packages are built for the Debian that they are built on: needs {' or '.join(KNOWN)}")
    # One for all processes of pytest-xdist, which have the folder above their own together.
    apart = "PYTEST_XDIST_WORKER" in os.environ
    folder = tmp_path_factory.getbasetemp().parent / "debs" if apart else tmp_path_factory.mktemp("debs")
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = folder / "built"
        if not told.exists():
            built = subprocess.run(
                [PROJECT / "packaging/build-deb", folder], capture_output=True, text=True, check=False, timeout=600
            )
            assert built.returncode == 0, built.stderr
            told.write_text(built.stdout)
    return [Path(line) for line in told.read_text().split()]


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """Debian's own package of Fail2ban, and what that of Debian 13 cannot do without."""
    folder = tmp_path_factory.mktemp("original")
    if shutil.which("apt-get") is not None:
        line = ["apt-get", "download", "fail2ban", "python3-systemd"]
        subprocess.run(line, cwd=folder, capture_output=True, check=False, timeout=100)
    found = list(folder.glob("*.deb"))
    if len(found) != 2:
        pytest.skip("apt-get download gives no fail2ban and python3-systemd here")
    return found


@pytest.fixture
@needs("root", "lab")
def debian(tmp_path):
    """A fresh Debian as a chroot."""
    yield from _made(Debian, tmp_path)


@pytest.fixture
@needs("root", "lab")
def machine(tmp_path):
    """A fresh Debian with systemd as its first process."""
    yield from _made(Machine, tmp_path)


def _made(kind, folder):
    if os.geteuid() != 0:
        pytest.skip("needs root to make a Debian of its own")
    try:
        one = kind(folder)
    except LabUnavailableError as reason:
        pytest.skip(str(reason))
    yield one
    one.end()
