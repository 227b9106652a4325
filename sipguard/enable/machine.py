"""One machine as it is looked at: its files, its processes and their sockets, below a root that tests can name."""

from __future__ import annotations

import contextlib
from pathlib import Path

from sipguard.files import open_regular

LARGEST = 1 << 20
"""Bytes of one file that are read; a server's configuration file is far smaller."""
MOST_FILES = 2000
"""Files of one pattern."""
_LISTENS = "0A"
_LOOPBACK = ("7F", "00000000000000000000000001000000")
"""How /proc/net/tcp (proc(5)) writes 127.0.0.0/8, its last byte at the end, and ::1."""


class Machine:
    """What `enable` knows of a machine. All paths are as the machine sees them, beginning with `/`."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    @property
    def is_own(self) -> bool:
        """Whether this is the machine that runs us, not a tree in a folder."""
        return self._root == Path("/")

    def at(self, path: str) -> Path:
        """Where a path of the machine lies."""
        return self._root / path.lstrip("/")

    def there(self, path: str) -> bool:
        """Whether a path exists; one that may not be looked at does not."""
        try:
            return self.at(path).exists()
        except OSError:
            return False

    def text(self, path: str) -> str:
        """A file's text, up to `LARGEST` bytes, other bytes than UTF-8 kept; empty for what is no file or cannot be read."""
        try:
            with open_regular(self.at(path)) as file:
                return file.read(LARGEST).decode("utf-8", "surrogateescape")
        except OSError:
            return ""

    def files(self, pattern: str) -> list[str]:
        """The files that match a pattern, sorted, `MOST_FILES` at most."""
        folder = self.at("/")
        with contextlib.suppress(OSError, ValueError):
            found = sorted(f"/{one.relative_to(folder)}" for one in folder.glob(pattern.lstrip("/")) if one.is_file())
            return found[:MOST_FILES]
        return []

    def processes(self, *names: str) -> list[int]:
        """The ids of the processes with one of these names (proc(5), `comm`)."""
        found = []
        for folder in self.at("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (folder / "comm").read_text(errors="replace").strip() in names:
                    found.append(int(folder.name))
        return sorted(found)

    def has_package(self, name: str) -> bool:
        """Whether Debian's package is installed: dpkg has a list of its files."""
        return self.there(f"/var/lib/dpkg/info/{name}.list") and bool(self.text(f"/var/lib/dpkg/info/{name}.md5sums"))

    def listening(self, processes: list[int]) -> set[int]:
        """The TCP ports on which these processes listen to more than this machine."""
        return self._ports(processes, ("tcp", "tcp6"), _LISTENS)

    def receiving(self, processes: list[int]) -> set[int]:
        """The UDP ports on which these processes receive from more than this machine."""
        return self._ports(processes, ("udp", "udp6"), "07")

    def _ports(self, processes: list[int], tables: tuple[str, ...], state: str) -> set[int]:
        sockets = {link for process in processes for link in self._sockets(process)}
        ports = set()
        for table in tables:
            for line in self.text(f"/proc/net/{table}").splitlines()[1:]:
                words = line.split()
                if len(words) < 10 or words[3] != state or words[9] not in sockets:
                    continue
                address, _, port = words[1].partition(":")
                if not (address == _LOOPBACK[1] or (len(address) == 8 and address.endswith(_LOOPBACK[0]))):
                    ports.add(int(port, 16))
        return ports

    def _sockets(self, process: int) -> list[str]:
        """The inodes of a process's sockets, as text."""
        found = []
        with contextlib.suppress(OSError):
            for one in self.at(f"/proc/{process}/fd").iterdir():
                with contextlib.suppress(OSError):
                    target = str(one.readlink())
                    if target.startswith("socket:["):
                        found.append(target[8:-1])
        return found
