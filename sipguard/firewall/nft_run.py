"""The way to the kernel's nf_tables: the program `nft`, one process per script.

A process costs about 1.1 ms whatever the script's length, so callers batch. libnftables could take its place without a change
elsewhere.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from sipguard.errors import FirewallError, FullError
from sipguard.firewall import programs

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """Runs nft. `command` is how to start it; `timeout` in seconds ends one that hangs."""

    def __init__(self, command: Sequence[str] = ("nft",), timeout: float = 30.0) -> None:
        self._command = tuple(command)
        self._timeout = timeout
        self.pids: deque[int] = deque(maxlen=programs.REMEMBERED)
        """The numbers of the last processes."""

    def run(self, script: str) -> str:
        """Do a script, all of it or nothing, and give what it prints. Raises `NftError`."""
        return self._call(("-f", "-"), script)

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

    def _call(self, arguments: Sequence[str], script: str) -> str:
        try:
            return programs.run(
                [*self._command, *arguments], script, package="nftables", timeout=self._timeout, pids=self.pids
            )
        except programs.ProgramError as error:
            raise explain(error.stderr) if error.stderr else NftError(str(error)) from None
