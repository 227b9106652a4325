"""Copies of the machines in fixtures/machines, with processes and sockets, that a test may write to."""

from __future__ import annotations

import shutil
from pathlib import Path

MACHINES = Path(__file__).parents[2] / "fixtures/machines"
_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


class Tree:
    """One machine in a folder."""

    def __init__(self, name, folder):
        self.root = folder / name
        shutil.copytree(MACHINES / name, self.root)
        for file in self.root.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o640)
        self._inodes = iter(range(7001, 8000))

    def text(self, path):
        return (self.root / path.lstrip("/")).read_text(errors="surrogateescape")

    def write(self, path, text):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def process(self, pid, name, *sockets):
        """A process; sockets as (table, address in hexadecimal, port, state)."""
        folder = self.root / f"proc/{pid}"
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(f"{name}\n")
        (folder / "fd/0").symlink_to("/dev/null")
        for number, (table, address, port, state) in enumerate(sockets, 3):
            inode = next(self._inodes)
            (folder / f"fd/{number}").symlink_to(f"socket:[{inode}]")
            net = self.root / f"proc/net/{table}"
            net.parent.mkdir(exist_ok=True)
            before = net.read_text() if net.exists() else _HEAD
            net.write_text(f"{before}   0: {address}:{port:04X} 00000000:0000 {state} 0:0 00:0 0 0 0 {inode} 1\n")

    def snapshot(self):
        """Every file and folder: its content, its mode and its owner."""
        return {
            str(one.relative_to(self.root)): (
                None if one.is_dir() or one.is_symlink() else one.read_bytes(),
                one.lstat().st_mode,
                one.lstat().st_uid,
                one.lstat().st_gid,
            )
            for one in self.root.rglob("*")
        }
