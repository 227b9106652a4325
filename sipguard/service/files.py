"""The files of a service: the unit for this installation's path, the command, the first configuration, help for shells."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from sipguard.errors import SipguardError

UNIT = "/etc/systemd/system/sipguard.service"
PACKAGED_UNIT = "/usr/lib/systemd/system/sipguard.service"
COMMAND = "/usr/local/bin/sipguard"
MARK = "# Made by `sipguard service install`; `sipguard service uninstall` removes it.\n"
FOLDERS = ("/etc/sipguard", "/etc/sipguard/jails.d", "/etc/sipguard/filters.d")
_HERE = Path(__file__).resolve().parent
_IN_A_UNIT = re.compile(r"/[A-Za-z0-9_./+-]+")
"""Paths that need no quoting in ExecStart (systemd.service(5))."""


@dataclass(frozen=True, slots=True)
class ServiceFile:
    """One file that `service install` writes."""

    path: str
    text: str = ""
    link: str = ""
    """Where it points to, if it is a symbolic link."""
    keep: bool = False
    """Whether one that is there is the operator's, and stays."""


def program() -> Path:
    """The command of this installation. Raises SipguardError where there is none, or systemd could not start it."""
    found = Path(sys.prefix) / "bin/sipguard"
    if not found.exists():
        raise SipguardError(f"{found}: no such program; install sipguard into a venv: python3 -m venv /opt/sipguard")
    if not _IN_A_UNIT.fullmatch(str(found)):
        raise SipguardError(f"{found}: systemd needs a path of letters, digits and ._+-; use e.g. /opt/sipguard")
    return found


def files(at: Path) -> list[ServiceFile]:
    """What makes the program at `at` a service."""
    found = [
        ServiceFile(UNIT, unit(at)),
        ServiceFile("/etc/sipguard/sipguard.toml", _template("etc/sipguard.toml"), keep=True),
        ServiceFile("/etc/logrotate.d/sipguard", MARK + _template("etc/logrotate")),
    ]
    return found + [ServiceFile(COMMAND, link=str(at))] * (str(at) != COMMAND)


def unit(at: Path) -> str:
    """The packaged unit, for a program elsewhere. The documentation it names is in the Debian package alone."""
    lines = _template("systemd/sipguard.service").replace("/usr/bin/sipguard", str(at)).splitlines(keepends=True)
    return MARK + "".join(line for line in lines if not line.startswith("Documentation="))


def _template(name: str) -> str:
    """Inside the package when installed (`force-include` in pyproject.toml), in `packaging` in a checkout."""
    inside = _HERE / "packaging" / name
    return (inside if inside.exists() else _HERE.parents[1] / "packaging" / name).read_text(encoding="utf-8")
