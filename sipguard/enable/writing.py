"""Writes what was proposed so that it can be taken back byte for byte, also after a crash in the middle.

First the record is on disk: what each file was. Then each file is replaced in one step (rename(2)). So at any moment a file is
as it was or as it shall be, and the record knows the first. The record is root's alone: it holds what is put back as root.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipguard.enable.machine import LARGEST
from sipguard.errors import SipguardError
from sipguard.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipguard.enable.machine import Machine
    from sipguard.enable.proposal import FileChange

_OWN = "/etc/sipguard/"
RECORD = f"{_OWN}undo/enable.json"


def write(machine: Machine, changes: Sequence[FileChange]) -> None:
    """Write the files. Raises SipguardError where one cannot be written; `undo` puts back what was."""
    record = _read(machine)
    try:
        for change in changes:
            _remember(machine, record, change)
        _replace(machine.at(RECORD), json.dumps(record).encode(), 0o600)
        for change in changes:
            _carry_out(machine, change)
    except OSError as error:
        raise _failed(error, "; `sipguard enable --undo` puts back what was written") from None


def undo(machine: Machine, *, purge: bool = False) -> tuple[list[str], list[str]]:
    """Put everything back: the files that are as they were again, and one line for each that was left alone, and why.

    A file that somebody has changed since is left: undoing would undo that too. `purge`: sipguard goes away, so what is gone
    already of its own files is not brought back. Raises SipguardError.
    """
    record = _read(machine)
    done: list[str] = []
    left: list[str] = []
    kept: list[dict[str, Any]] = []
    try:
        for one in reversed(record["files"]):
            if purge and one["path"].startswith(_OWN) and not machine.there(one["path"]):
                continue
            if reason := _put_back(machine, one):
                left.append(f"{one['path']}: {reason}")
                kept.insert(0, one)
            else:
                done.append(one["path"])
        if kept:
            _replace(machine.at(RECORD), json.dumps({**record, "files": kept}).encode(), 0o600)
        else:
            _forget(machine, record["folders"])
    except OSError as error:
        raise _failed(error, "") from None
    return done, left


def _read(machine: Machine) -> dict[str, Any]:
    """`files`: path, `before` (base64; None: there was none), its mode and owner, and the digests of what was written
    since. `folders`: those that were made, the outer first."""
    try:
        with open_regular(machine.at(RECORD)) as file:
            record: dict[str, Any] = json.load(file)
            return record
    except FileNotFoundError:
        return {"files": [], "folders": []}
    except (OSError, ValueError) as error:
        raise SipguardError(f"{RECORD}: cannot be read: {error}; it is what --undo needs") from None


def _remember(machine: Machine, record: dict[str, Any], change: FileChange) -> None:
    path = machine.at(change.path)
    for folder in (path.parent, machine.at(RECORD).parent):
        _remember_folders(machine, record, folder)
    after = _digest(_bytes(change))
    for one in record["files"]:
        if one["path"] == change.path:
            one["after"].append(after)
            return
    before = _content(path)
    if before is not None and len(before) > LARGEST:
        raise SipguardError(f"{change.path}: is larger than {LARGEST >> 20} MB; write into it yourself")
    entry: dict[str, Any] = {"path": change.path, "before": None, "after": [after]}
    if before is not None:
        info = path.lstat()
        entry |= {"before": base64.b64encode(before).decode(), "mode": stat.S_IMODE(info.st_mode)}
        entry |= {"uid": info.st_uid, "gid": info.st_gid}
    record["files"].append(entry)


def _remember_folders(machine: Machine, record: dict[str, Any], folder: Path) -> None:
    new = []
    while not folder.exists():
        new.append(f"/{folder.relative_to(machine.at('/'))}")
        folder = folder.parent
    record["folders"] += [one for one in reversed(new) if one not in record["folders"]]


def _content(path: Path) -> bytes | None:
    """A file's bytes; None where there is none. A link would lead root's pen elsewhere."""
    if path.is_symlink():
        raise SipguardError(f"{path}: is a symbolic link, and is not written to; put a file in its place")
    try:
        with open_regular(path) as file:
            return file.read()
    except FileNotFoundError:
        return None


def _carry_out(machine: Machine, change: FileChange) -> None:
    path = machine.at(change.path)
    owner, mode = None, 0o644
    if path.exists():
        info = path.lstat()
        owner, mode = (info.st_uid, info.st_gid), stat.S_IMODE(info.st_mode)
    elif change.like:
        info = machine.at(change.like).stat()
        owner = (info.st_uid, info.st_gid)
    _replace(path, _bytes(change), mode if change.mode is None else change.mode, owner)


def _replace(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Put a whole file in the place of the one before, or leave that one."""
    path.parent.mkdir(mode=0o700 if path.parent.name == "undo" else 0o755, parents=True, exist_ok=True)
    new = _new(path)
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(content)
        if owner is not None and owner != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
        file.flush()
        os.fsync(descriptor)
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _new(path: Path) -> Path:
    """Where a file is written before it takes its place; no server includes such a name."""
    return path.with_name(f".{path.name}.sipguard-new")


def _put_back(machine: Machine, one: dict[str, Any]) -> str:
    """Restore one file; why not, where it is neither what was written nor what was before."""
    path = machine.at(one["path"])
    _new(path).unlink(missing_ok=True)
    now = _content(path)
    before = None if one["before"] is None else base64.b64decode(one["before"])
    if now is not None and now != before and _digest(now) not in one["after"]:
        return "changed since; remove by hand what sipguard wrote there"
    if before is None:
        path.unlink(missing_ok=True)
    else:
        _replace(path, before, one["mode"], (one["uid"], one["gid"]))
    return ""


def _forget(machine: Machine, folders: Sequence[str]) -> None:
    record = machine.at(RECORD)
    record.unlink(missing_ok=True)
    _new(record).unlink(missing_ok=True)
    # The last two may have been made just before the record could say so.
    for folder in (*reversed(folders), str(Path(RECORD).parent), str(Path(RECORD).parents[1])):
        with contextlib.suppress(OSError):  # not empty: somebody else's files are in it; or not there
            machine.at(folder).rmdir()


def _bytes(change: FileChange) -> bytes:
    """As `Machine.text` has read them."""
    return change.text.encode("utf-8", "surrogateescape")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _failed(error: OSError, then: str) -> SipguardError:
    what = "permission denied; use sudo" if isinstance(error, PermissionError) else f"{error.strerror}{then}"
    return SipguardError(f"{error.filename or RECORD}: {what}")
