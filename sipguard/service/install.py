"""Installs and removes the service; nothing that was there before and is not sipguard's is touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from sipguard.errors import SipguardError
from sipguard.service.files import (
    FOLDERS,
    MARK,
    NAMED,
    PACKAGED_UNIT,
    SHARE,
    SHARED,
    UNIT,
    ServiceFile,
    files,
    program,
    shared,
)
from sipguard.service_manager import has_systemd

USER = "sipguard"
PURGED = ("/etc/sipguard", "/var/lib/sipguard", "/var/log/sipguard")
PATIENCE = 100.0
"""Seconds for systemd to start or stop the service: its TimeoutStartSec and a little."""
Say = Callable[[str], None]


def install(root: Path, say: Say) -> None:
    """Write the files below `root`; on the machine itself make the user and start the service. Raises SipguardError."""
    at = program()
    if _at(root, PACKAGED_UNIT).exists():
        raise SipguardError(f"{PACKAGED_UNIT}: a package has the service already; remove it first: apt remove sipguard")
    try:
        for folder in FOLDERS:
            _at(root, folder).mkdir(parents=True, exist_ok=True)
        made = [*files(at), *shared(at)]
        for one in made:
            _write(root, one)
        say(f"written: {', '.join(one.path for one in made if not one.named)}, manual pages, completion for shells")
    except PermissionError as error:
        raise SipguardError(f"{error.filename}: permission denied; use sudo") from None
    if root != Path("/"):
        return
    if _run(["getent", "passwd", USER], quiet=True):
        _must(
            [
                "useradd",
                "--system",
                "--user-group",
                "--home-dir",
                "/var/lib/sipguard",
                "--no-create-home",
                *_NO_LOGIN,
                USER,
            ]
        )
        say(f"made: user {USER}")
    if not has_systemd():
        say(f"no systemd runs here: start it yourself, as root: {at} run")
        return
    _must(["systemctl", "daemon-reload"])
    _must(["systemctl", "enable", "--now", "sipguard.service"])
    say("sipguard.service is started. Next: sipguard enable")


_NO_LOGIN = ("--shell", "/usr/sbin/nologin")


def uninstall(root: Path, say: Say, *, purge: bool) -> None:
    """Stop the service and remove its files and firewall rules; with `purge` configuration, state and user too."""
    own = root == Path("/")
    if own and has_systemd() and _at(root, UNIT).exists():
        _must(["systemctl", "disable", "--now", "sipguard.service"])
    if own:
        _flush(say)
    try:
        _remove(root, say, purge=purge)
    except PermissionError as error:
        raise SipguardError(f"{error.filename}: permission denied; use sudo") from None
    if own and has_systemd():
        _must(["systemctl", "daemon-reload"])
    if own and purge and not _run(["getent", "passwd", USER], quiet=True):
        _must(["userdel", USER])
        if not _run(["getent", "group", USER], quiet=True):
            _must(["groupdel", USER])  # it stays with its user gone where the operator has made others its members
        say(f"removed: user {USER}")
    if not purge:
        say("Configuration and state are still there; --purge removes them too.")


def _remove(root: Path, say: Say, *, purge: bool) -> None:
    for one in files(program()):
        if not one.keep and _is_ours(root, one):
            _at(root, one.path).unlink()
            say(f"removed: {one.path}")
    for pattern in NAMED:
        for page in root.glob(pattern.lstrip("/")):
            page.unlink()
    for folder in SHARED:
        for path in (f"{SHARE}/{folder}", f"{SHARE}/{Path(folder).parent}"):
            with contextlib.suppress(OSError):  # others' files are in it, or it is not there
                _at(root, path).rmdir()
    for path in PURGED if purge else ():
        if _at(root, path).is_dir():
            shutil.rmtree(_at(root, path))
            say(f"removed: {path}")


def _at(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _write(root: Path, one: ServiceFile) -> None:
    path = _at(root, one.path)
    if os.path.lexists(path):
        if one.keep:
            return
        if not _is_ours(root, one):
            raise SipguardError(f"{one.path}: exists, and sipguard has not written it; move it away")
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    if one.link:
        path.symlink_to(one.link)
    else:
        path.write_text(one.text, encoding="utf-8")
        path.chmod(0o644)


def _is_ours(root: Path, one: ServiceFile) -> bool:
    """Whether a file is one that `install` has made: by its mark, or by where it points."""
    path = _at(root, one.path)
    if one.named:
        return path.is_file()
    if one.link:
        return path.is_symlink() and str(path.readlink()) == one.link
    try:
        return path.read_text(encoding="utf-8", errors="replace").startswith(MARK)
    except FileNotFoundError:
        return False


def _flush(say: Say) -> None:
    """Whoever takes the program away cannot unban any more: nothing of ours stays in the firewall."""
    from sipguard.config.settings import load  # noqa: PLC0415 - the installation needs none of it
    from sipguard.firewall.options import Options  # noqa: PLC0415
    from sipguard.firewall.removal import remove_all  # noqa: PLC0415

    removed, problems = remove_all(Options(chain=load().chain))
    if removed:
        say(f"removed from the firewall: {', '.join(removed)}")
    for problem in problems:
        say(f"in the firewall there may be rules left: {problem}")


def _must(line: list[str]) -> None:
    if _run(line):
        raise SipguardError(f"{' '.join(line)}: failed; see: journalctl -u sipguard")


def _run(line: list[str], *, quiet: bool = False) -> int:
    """The exit status; 127 where there is no such program."""
    out = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.run(line, stdout=out, check=False, timeout=PATIENCE).returncode
    except FileNotFoundError:
        return 127
    except subprocess.TimeoutExpired:
        return 124
