"""The way to the kernel's nf_tables: libnftables in this process, or the program `nft`, one process per script.

A process costs 1 to 10 ms whatever the script's length, the library 0.2 ms. What is long goes to the program all the same: it is
as fast then, and the memory that it takes is its own. So do lists, for which all rules of the host are read: one that the
program stumbles over ends the program alone. And so does everything where the library is not installed.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Literal

from sipguard.errors import FirewallError, FullError
from sipguard.firewall import programs
from sipguard.firewall.libnftables import Libnftables

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

SHORT = 1 << 17
"""Bytes of a script up to which the library does it: about 4,000 elements."""

Cause = Literal["exists", "absent", "full", "flood", "other"]

_EXPLANATIONS: tuple[tuple[str, Cause, str], ...] = (
    (
        "Operation not permitted",
        "other",
        "nft may not change the firewall: run as root or with CAP_NET_ADMIN (systemd: AmbientCapabilities=)",
    ),
    ("File exists", "exists", "nft: what was to be made exists already with other properties"),
    (
        "No such file or directory",
        "absent",
        "sipguard's nftables table, or a set in it, is gone: another program removed it",
    ),
    ("Too many open files in system", "full", "an nftables set of sipguard is full, and none of these bans was made"),
    # Each refused element is answered apart: thousands of answers overflow the netlink socket, and only this is left.
    ("No buffer space available", "flood", "nft: the kernel refused so many elements that its answers were lost"),
    (
        "Unable to initialize Netlink socket",
        "other",
        "this kernel has no nf_tables: load the module nf_tables or choose another firewall",
    ),
    (
        "cache initialization failed",
        "other",
        "this kernel does not answer for nf_tables: load the module nf_tables or choose another firewall",
    ),
    (
        "Operation not supported",
        "other",
        "this kernel's nf_tables lacks what sipguard needs: Linux 5.9 or later (reject in prerouting)",
    ),
)


class NftError(FirewallError):
    """nft refused a script, so nothing of it was done. `cause` tells the refusals apart that a backend can act on."""

    def __init__(self, what: str, cause: Cause = "other") -> None:
        self.cause = cause
        super().__init__(what)


class NftFullError(NftError, FullError):
    """A set has no room, or, for `flood`, may have none."""


def explain(stderr: str) -> NftError:
    """Say in one line what nft's complaint means and how to mend it."""
    for sign, cause, text in _EXPLANATIONS:
        if sign in stderr:
            return (NftFullError if cause in ("full", "flood") else NftError)(text, cause)
    lines = [line for line in stderr.splitlines() if "Error:" in line] or stderr.splitlines() or ["no message"]
    return NftError(f"nft refused: {lines[0].strip()[:200]!r}")


class NftRunner:
    """Runs scripts. `command` is how to start nft; `timeout` in seconds ends one that hangs; `library` does what is short."""

    def __init__(
        self, command: Sequence[str] = ("nft",), timeout: float = 30.0, library: Libnftables | None = None
    ) -> None:
        self._command = tuple(command)
        self._timeout = timeout
        self._library = library
        self.pids: deque[int] = deque(maxlen=programs.REMEMBERED)
        """The numbers of the last processes, and of the thread that the library ran in: as the kernel names who made a change."""

    def run(self, script: str) -> str:
        """Do a script, all of it or nothing, and give what it prints. Raises `NftError`.

        One that is to print a list is not for the library: use `show`.
        """
        if self._library is not None and len(script) <= SHORT:
            return self._in_process(self._library, script)
        return self._call(("-f", "-"), script)

    def show(self, command: str) -> str:
        """Do one listing command and give what nft prints for people. Raises `NftError`."""
        return self._call((command,), "")

    def query(self, command: str, *, terse: bool = False) -> str:
        """Do one listing command and give its JSON (libnftables-json(5)); `terse` leaves the sets' elements out.

        Raises `NftError`. The command goes as an argument: with `-j`, nft 1.0.6 takes its standard input for JSON only.
        """
        return self._call(("-j", "-t", command) if terse else ("-j", command), "")

    def find(self, command: str) -> str | None:
        """Do a listing command like `query`; None when what it names is not there. Raises `NftError`."""
        try:
            return self.query(command)
        except NftError as error:
            if error.cause == "absent":
                return None
            raise

    def close(self) -> None:
        """Let go of the library's socket; the next call makes another."""
        if self._library is not None:
            self._library.close()

    def _in_process(self, library: Libnftables, script: str) -> str:
        if (thread := threading.get_native_id()) not in self.pids:
            self.pids.append(thread)
        try:
            answer = library.run(script)
        except OSError as error:
            if error.errno == errno.EPROTONOSUPPORT:
                raise explain("Unable to initialize Netlink socket") from None
            raise NftError(f"cannot open a netlink socket for nf_tables: {error.strerror or error}") from None
        if not answer.done:
            raise explain(answer.complaint)
        return answer.output

    def _call(self, arguments: Sequence[str], script: str) -> str:
        try:
            return programs.run(
                [*self._command, *arguments], script, package="nftables", timeout=self._timeout, pids=self.pids
            )
        except programs.ProgramError as error:
            raise explain(error.stderr) if error.stderr else NftError(str(error)) from None


def fastest_runner() -> NftRunner:
    """Give a runner with the library, where it is installed; the log says once when it is not."""
    try:
        return NftRunner(library=Libnftables())
    except OSError as error:
        log.info("Firewall: %s: each change starts the program nft; the package libnftables1 makes it faster", error)
        return NftRunner()
