"""Debian's packages, fetched once and unpacked into the cache: nothing is installed.

The cache is $SIPGUARD_LAB_CACHE or /var/cache/sipguard-lab.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE = Path(os.environ.get("SIPGUARD_LAB_CACHE", "/var/cache/sipguard-lab"))


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache; `make` fills it when it is not there yet, in one process, while others wait."""
    tree, new = CACHE / name, CACHE / f"{name}.new"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            make(new)
            new.rename(tree)
    return tree


def download(folder: Path, *packages: str) -> list[Path]:
    """Fetch packages into a folder; skips the test, saying why, where they cannot be had."""
    folder.mkdir(exist_ok=True)
    fetch = ["apt-get", "-o", "APT::Sandbox::User=root", "download", *packages]
    try:
        done = subprocess.run(fetch, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"needs apt-get, to fetch {', '.join(packages)}")
    if done.returncode:
        pytest.skip(f"{', '.join(packages)} cannot be fetched: {done.stderr.splitlines()[-1]}")
    return sorted(folder.glob("*.deb"))
