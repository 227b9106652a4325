"""A firewall backend by its name, for tests on a host of whatever kind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from sipguard.firewall.choose import open_firewall
from sipguard.firewall.libnftables import Libnftables
from sipguard.firewall.nft_run import NftRunner
from sipguard.firewall.nftables import NftablesFirewall
from tests.as_nobody import AsNobody
from tests.netns import LEGACY

PROGRAMS = {"nftables": ["nft"], "ipset": ["ipset", "iptables"], "iptables": ["iptables-legacy"], "memory": []}
NEEDS = {"iptables": "iptc"}


def backend_of(name, **options):
    """A backend in the namespace where this is called; skips the test, saying why, where it cannot be had.

    The one for legacy tables is told to look at `iptables-legacy`, which a host with nf_tables has beside its own.
    `… as nobody` is a backend of a user who has CAP_NET_ADMIN and no other right; it must be closed. `nftables by program`
    does without libnftables, `nftables by library` fails where that is not installed.
    """
    name, by, way = name.partition(" by ")
    name, _, unprivileged = name.partition(" ")
    wanted = [*PROGRAMS[name], "setpriv"] if unprivileged else PROGRAMS[name]
    absent = [program for program in wanted if shutil.which(program) is None]
    if absent:
        pytest.skip(f"needs {', '.join(absent)}")
    if name == "iptables":
        if importlib.util.find_spec("iptc") is None:
            pytest.skip("needs python-iptables, which could not be built here")
        from sipguard.firewall.iptables import IptablesFirewall

        return IptablesFirewall(clock=time.time, program="iptables-legacy", **options)
    if by:
        library = Libnftables() if way == "library" else None
        return NftablesFirewall(clock=time.time, runner=NftRunner(library=library), **options)
    if unprivileged:
        return AsNobody(name, **options)
    return open_firewall(name, clock=time.time, **options)


def host_prefix(net, backend):
    """What a daemon is started under so that the namespace's own iptables is of the kind that the backend is for."""
    own = ["sh", "-c", f'{LEGACY}exec "$@"', "sh"] if backend == "iptables" else []
    return ["ip", "netns", "exec", net.name, *own]


def host_run(net, backend, command):
    """Run a shell command as that host's administrator would; gives what it prints, complaints too."""
    command = [*host_prefix(net, backend), "sh", "-c", command]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    return done.stdout + done.stderr
