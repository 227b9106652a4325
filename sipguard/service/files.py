"""The files of a service: the unit for this installation's path, the command, the first configuration, help for shells."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sipguard.errors import SipguardError

SHARE = "/usr/local/share"
SHARED = ("bash-completion/completions", "zsh/site-functions", "fish/vendor_completions.d", "man/man1")
"""Where shells and man(1) look, below `SHARE`."""
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
    named: bool = False
    """Whether its name alone says that it is ours: manual pages and completion, which bear no mark."""


_COMPLETION = (("bash", SHARED[0], "sipguard"), ("zsh", SHARED[1], "_sipguard"), ("fish", SHARED[2], "sipguard.fish"))
NAMED = (*(f"{SHARE}/{folder}/{name}" for _, folder, name in _COMPLETION), f"{SHARE}/{SHARED[3]}/sipguard*.1")
"""Patterns of all files that are ours by name."""


def program() -> Path:
    """The command of this installation. Raises SipguardError where there is none, or systemd could not start it."""
    found = Path(sys.prefix) / "bin/sipguard"
    if not found.exists():
        raise SipguardError(f"{found}: no such program; install sipguard into a venv: python3 -m venv /opt/sipguard")
    if not _IN_A_UNIT.fullmatch(str(found)):
        raise SipguardError(f"{found}: systemd needs a path of letters, digits and ._+-; use e.g. /opt/sipguard")
    return found


def files(at: Path) -> list[ServiceFile]:
    """What makes the program at `at` a service; `shared` is what helps with it."""
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


def shared(at: Path) -> list[ServiceFile]:
    """Completion and manual pages, as this installation's own program writes them. Raises SipguardError."""
    made = {f"{SHARE}/{folder}/{name}": _said(at, "completion", shell) for shell, folder, name in _COMPLETION}
    with tempfile.TemporaryDirectory() as folder:
        _said(at, "man", folder)
        made |= {f"{SHARE}/man/man1/{page.name}": page.read_text("utf-8") for page in sorted(Path(folder).iterdir())}
    return [ServiceFile(path, text, named=True) for path, text in made.items()]


def _said(at: Path, *arguments: str) -> str:
    done = subprocess.run([at, *arguments], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise SipguardError(f"{at} {' '.join(arguments)}: failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _template(name: str) -> str:
    """Inside the package when installed (`force-include` in pyproject.toml), in `packaging` in a checkout."""
    inside = _HERE / "packaging" / name
    return (inside if inside.exists() else _HERE.parents[1] / "packaging" / name).read_text(encoding="utf-8")
