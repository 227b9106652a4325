"""The Fail2ban that sipguard is held against: the installed package, or one that is only unpacked.

`SIPGUARD_FAIL2BAN=DIR` names the directory that a Debian package of another version was unpacked into (`dpkg-deb -x`).
Its programs are started with the system's Python and its own modules.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(os.environ.get("SIPGUARD_FAIL2BAN") or "/")
ETC = ROOT / "etc/fail2ban"
FILTERS = ETC / "filter.d"
MODULES = ROOT / "usr/lib/python3/dist-packages"
SAMPLES = MODULES / "fail2ban/tests"
PYTHON = "/usr/bin/python3"
CLIENT = ROOT / "usr/bin/fail2ban-client"
REGEX = ROOT / "usr/bin/fail2ban-regex"

THERE = CLIENT.is_file() and (ETC / "jail.conf").is_file() and Path(PYTHON).is_file()
WHY_NOT = f"there is no Fail2ban below {ROOT}: nothing to compare with (Debian's package fail2ban brings it)"


def environment(**more: str) -> dict[str, str]:
    """For programs of that Fail2ban."""
    return {**os.environ, "PYTHONPATH": str(MODULES), **more}


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """One of its programs, or a script that imports its modules (`-c`, CODE)."""
    return subprocess.run(
        [PYTHON, *command], env=environment(), check=False, **{"capture_output": True, "timeout": 250, **options}
    )


@functools.cache
def version() -> str:
    """What its client says of itself."""
    return run(CLIENT, "-V").stdout.decode().split()[0]


def ask(code: str, question: object) -> Any:
    """What a script of its Python answers to a question, both in JSON on its standard input and output."""
    done = run("-c", code, input=json.dumps(question).encode())
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)
