"""What every firewall backend does, and the promise it keeps.

The promise: nothing that sipguard did not create is ever changed, reordered or removed. A backend works only inside its own
table, chain or sets, and can be told from others' by its name.

A backend is plain synchronous code. The daemon calls it from one worker thread of its own, so a backend needs no locks, may
block, and must not be called from anywhere else meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sipguard.model import Ban, Entry, Rule


class Firewall(Protocol):
    """A place where bans are enforced. Every method raises `FirewallError` when the kernel refuses; then nothing was changed."""

    name: str
    ends_bans: bool
    """Whether bans end by themselves at their time, without a call of `unban`."""

    def open(self, rules: Sequence[Rule]) -> None:
        """Make what these jails need and leave what they have: live bans of earlier runs stay.

        Safe to call again, with other rules too: sets of jails no longer named go, bans in the others stay.
        """

    def ban(self, bans: Sequence[Ban]) -> None:
        """Reject these addresses until their time, all in one transaction. An address already there gets the new time.

        Times that have passed are left out. When this returns, the kernel has every one of them.
        """

    def unban(self, bans: Sequence[Ban]) -> None:
        """Let these addresses through again. One that is not there is no error."""

    def entries(self) -> list[Entry]:
        """Every address that the kernel rejects for us now."""

    def verify(self) -> list[str]:
        """What is missing of what `open` made, for people; empty when all is there."""

    def show(self) -> str:
        """What is ours, in the backend's own syntax."""

    def flush(self) -> None:
        """Remove all that is ours, bans included."""

    def close(self) -> None:
        """Let go of handles. Bans stay: the kernel ends them."""
