"""A bare Debian with the packages that README.md names and no others, in which a stranger's plain user runs its commands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from lab.chroot import cache_folder, install
from lab.debian import Debian

PROJECT = Path(__file__).parents[3]
USER = 23456
_NAMED = re.compile(r"`apt install ([\w .+-]+)`")
_PIP = ("index-url", "extra-index-url", "proxy", "trusted-host", "timeout")
"""Settings by which this machine reaches the packages of Python; those that name files of its own are left out."""


def packages() -> list[str]:
    """What README.md says is needed."""
    return _NAMED.search((PROJECT / "README.md").read_text())[1].split()


class BareDebian(Debian):
    """Of one suite, with a plain user, a copy of the project in its home and this machine's way to the network."""

    def __init__(self, folder: Path, suite: str) -> None:
        name = "-".join([suite, *packages()])
        install(suite, cache_folder(), packages=",".join(packages()), proof="usr/bin/make", name=name)
        super().__init__(folder, cache_folder() / name, online=True)
        self.root_here = self._seen_from_here()
        self._folder, self._printed = folder, folder / "printed"
        for file in ("resolv.conf", "hosts"):
            shutil.copyfile(f"/etc/{file}", self.root_here / "etc" / file)
        self.run(f"useradd --create-home --uid {USER} stranger")
        self.home = self.root_here / "home/stranger"
        for file in _project_files():
            (self.home / "sipguard" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / file, self.home / "sipguard" / file, follow_symlinks=False)
        self.run("chown -R stranger: /home/stranger")
        self._variables = self._network()

    def as_stranger(self, command: str, *, limit: float) -> tuple[float, str]:
        """Run a command in the project's folder, with nothing in the environment but PATH, HOME and the way to the network.

        Gives the seconds that it took and all that it printed; fails, with that, unless its exit status is 0.
        """
        user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        clean = ["env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/stranger", *self._variables]
        script = f"cd /home/stranger/sipguard && {command}"
        begun = time.monotonic()
        line = [*self._enter(), *user, *clean, "sh", "-c", script]
        with self._printed.open("w+") as printed:
            done = subprocess.run(
                line, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT, check=False, timeout=limit
            )
        told = self._printed.read_text(errors="replace")
        assert done.returncode == 0, told[-20_000:]
        return time.monotonic() - begun, told

    def end(self) -> None:
        """Everything goes, what was installed too: it is hundreds of megabytes."""
        super().end()
        for part in ("upper", "work"):
            shutil.rmtree(self._folder / part, ignore_errors=True)

    def version(self) -> str:
        """As Debian says it, e.g. 12.11."""
        return (self.root_here / "etc/debian_version").read_text().strip()

    def _network(self) -> list[str]:
        """Settings of pip for the environment; a certificate of this machine's network is copied."""
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
        )
        found = {}
        for line in listed.stdout.splitlines():
            key, _, value = line.partition("=")
            found[key.rpartition(".")[2]] = shlex.split(value)[0]
        told = [
            f"PIP_{key.upper().replace('-', '_')}={found[key]}"
            for key in _PIP
            if key in found and "file:" not in found[key]
        ]
        told += [
            f"{key}={value}"
            for key, value in os.environ.items()
            if key.lower() in ("http_proxy", "https_proxy", "no_proxy")
        ]
        if Path(found.get("cert", "")).is_file():
            shutil.copyfile(found["cert"], self.root_here / "etc/network-certificates.pem")
            told.append("PIP_CERT=/etc/network-certificates.pem")
        return told


def _project_files() -> list[str]:
    """What a clone has; of a copy without Git, all but what a run makes."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True
        ).stdout
        return [name for name in listed.split("\0") if name and os.path.lexists(PROJECT / name)]
    except (FileNotFoundError, subprocess.CalledProcessError):
        made = {".venv", "__pycache__", "dist", "build"}
        every = [path.relative_to(PROJECT) for path in PROJECT.rglob("*") if not path.is_dir()]
        return [str(path) for path in every if not made & {*path.parts} and not path.parts[0].endswith("_cache")]
