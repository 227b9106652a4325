"""The chroots that hold an Asterisk, or a bare Debian: made once by debootstrap, kept in the cache, shared by all runs."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class LabUnavailableError(Exception):
    """The lab cannot run here; the text says what is missing, in one line."""


def install(
    suite: str,
    cache: Path,
    *,
    packages: str = "asterisk,asterisk-modules",
    proof: str = "usr/sbin/asterisk",
    name: str = "",
) -> None:
    """Have the chroot of `suite` with `packages` in the cache, by its own name or the suite's.

    `proof` is a file that it has when it is whole.

    One installs, others wait: the cache is locked meanwhile.
    """
    name = name or suite
    root = cache / name
    if (root / proof).exists():
        return
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"{name}.lock"):
        if (root / proof).exists():
            return
        new = cache / f"{name}.new"
        shutil.rmtree(new, ignore_errors=True)
        with (cache / f"debootstrap-{name}.log").open("wb") as log:
            # In a mount namespace of its own, what debootstrap mounts in the chroot is gone with it, however it ends:
            # nothing of the machine is under `new` when that is removed.
            alone = ["unshare", "--mount", "--propagation", "private"]
            line = [*alone, "debootstrap", "--variant=minbase", f"--include={packages}", suite, str(new), mirror()]
            done = subprocess.run(line, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            shutil.rmtree(new, ignore_errors=True)
            raise LabUnavailableError(f"debootstrap of {suite} failed (no network?); see {log.name}")
        shutil.rmtree(root, ignore_errors=True)
        new.rename(root)


def mirror() -> str:
    """Debian's mirror as this machine's apt knows it."""
    ask = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages"]
    try:
        told = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.split()
    except FileNotFoundError:
        told = []
    for address in told:
        if address.rstrip("/").endswith("/debian"):
            return address
    raise LabUnavailableError("apt knows no Debian mirror to install Asterisk from")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
