"""A firewall backend in a process of its own, of an unprivileged user who has CAP_NET_ADMIN and no other right.

with namespace("ipset") as net, net.inside():
    firewall = AsNobody("ipset")  # to be used as the backend itself
    firewall.open(rules)
    firewall.close()
"""

from __future__ import annotations

import atexit
import functools
import importlib.metadata
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from sipguard.errors import FirewallError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

USER = 65534
ROOT = Path(__file__).parents[1]

SERVER = """
import operator, pickle, sys, time
from sipguard.errors import FirewallError
from sipguard.firewall.choose import open_firewall
name, options = pickle.load(sys.stdin.buffer)
firewall = open_firewall(name, clock=time.time, **options)
while True:
    try:
        what, values = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        found = operator.attrgetter(what)(firewall)
        answer = found(*values) if callable(found) else found, None
    except FirewallError as error:
        answer = None, str(error)
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""


def setpriv(rights: str = "+net_admin") -> list[str]:
    """What a program is started under to have these rights alone."""
    only = f"--inh-caps=-all,{rights} --ambient-caps=-all,{rights} --bounding-set=-all,{rights}"
    return f"setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs {only}".split()


@functools.cache
def readable_copy() -> Path:
    """A folder with sipguard, its filters and jails, that everybody may read, whatever a clone's own permissions are."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    for name in ("sipguard", "filters", "jails"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return folder


@functools.cache
def path_for_others() -> str:
    """A PYTHONPATH by which every user can run sipguard: where none may enter the venv, with a copy of what it needs of that."""
    folder = readable_copy()
    site = Path(pytest.__file__).parents[1]
    if all(above.stat().st_mode & 1 for above in (site, *site.parents)):
        return str(folder)
    for needed in _needed("sipguard", ("", "web"), set()):
        for file in needed.files or ():
            source = Path(str(file.locate()))
            if ".." not in file.parts and source.suffix != ".pth" and source.exists():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder / file)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return str(folder)


def _needed(name: str, extras: Iterable[str], seen: set[str]) -> Iterator[importlib.metadata.Distribution]:
    """The packages that one needs, and they need; itself too."""
    if name not in seen:
        seen.add(name)
        found = importlib.metadata.distribution(name)
        yield found
        for one in map(Requirement, found.requires or ()):
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
                yield from _needed(one.name, ("", *one.extras), seen)


class _Feeds:
    """The feeds of a backend in another process."""

    def __init__(self, ask):
        self._ask = ask

    def __getattr__(self, what):
        return functools.partial(self._ask, f"feeds.{what}")


class AsNobody:
    """The backend `name`, each call of which is done by that process. Raises what the backend raises."""

    def __init__(self, name, **options):
        self._process = subprocess.Popen(
            [*setpriv(), sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env={"PYTHONPATH": str(readable_copy()), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self._say((name, options))
        self.name, self.ends_bans = self._ask("name"), self._ask("ends_bans")
        self.feeds = _Feeds(self._ask)
        self.in_kernel, self.changes, self.told_of_all = True, frozenset(), False

    def __getattr__(self, what):
        return functools.partial(self._ask, what)

    def close(self):
        """End the process."""
        with self._process:
            self._process.stdin.close()

    def _say(self, thing):
        pickle.dump(thing, self._process.stdin)
        self._process.stdin.flush()

    def _ask(self, what, *values):
        self._say((what, values))
        answer, complaint = pickle.load(self._process.stdout)
        if complaint:
            raise FirewallError(complaint)
        return answer
