"""A chain of sipguard's own in the filter table of iptables and ip6tables.

INPUT jumps to it first, as do DOCKER-USER (if Docker made that) and the other `hooks`: a rule before the jump could accept the
packets of a banned address. A change names only our chain and the jumps to it. It is one script for
`iptables-restore --noflush`, which the kernel applies as a whole (legacy: under the xtables lock).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sipguard.errors import FirewallError
from sipguard.firewall.host import iptables_kind, may_open_raw_sockets
from sipguard.firewall.options import HOOKS
from sipguard.firewall.xt_program import ProgramFilter

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

    from sipguard.firewall.nft_names import Family
    from sipguard.firewall.xt_netlink import NetlinkFilter

_BUILT_IN = ("INPUT", "FORWARD", "OUTPUT")
"""Chains that need not be made: their first rule brings them."""
_SETS = "sg_"
"""How the names of our sets begin (see `xt_names`)."""
_IPV6 = Path("/proc/net/if_inet6")


def families() -> tuple[Family, ...]:
    """The address families that this host speaks: without IPv6 in the kernel there is nothing to reject, and no table."""
    return ("4", "6") if _IPV6.exists() else ("4",)


class XtChain:
    """One chain in one family's filter table, jumped to from `hooks`. `before` names chains of ours whose jumps come before.

    `pids` is given the numbers of the processes that are started.
    """

    def __init__(
        self, name: str, family: Family, *, hooks: Sequence[str] = HOOKS, before: Sequence[str] = (), pids: deque[int]
    ) -> None:
        self.name = name
        self.family = family
        self._all_hooks = tuple(hooks)
        self._before = set(before)
        self._program = "iptables" if family == "4" else "ip6tables"
        self._filter = _open_filter(self._program, family, pids)
        self._made: list[str] | None = None

    def make(self, rules: Sequence[str]) -> None:
        """Give the chain exactly these rules (`-p udp … -j REJECT`), and jump to it first. Raises `FirewallError`.

        A chain of that name which holds anything that is not ours is left alone, with an error.
        """
        found = self._filter.read()
        if self._made is None and self._is_foreign(found):
            raise FirewallError(
                f"{self._program}: a chain {self.name} with rules of others is there: choose another name with "
                f"`chain` in [firewall]"
            )
        lines = [f":{self.name} - [0:0]", *(f"-A {self.name} {rule}" for rule in rules)]
        for hook in self._hooks(found):
            if not self._is_first(found, hook):
                lines += [f"-D {hook} -j {self.name}"] * self._jumps(found, hook).count(self._jump(hook))
                lines.append(f"-I {hook} {self._place(found, hook)} -j {self.name}")
        self._filter.restore(lines)
        made = self._own(self._filter.read())
        if len(made) != len(rules):
            raise FirewallError(f"{self._program}: another program changed chain {self.name} while it was made")
        self._made = made

    def add_hook(self, hook: str) -> None:
        """Have `make` jump to the chain from this one too."""
        if hook not in self._all_hooks:
            self._all_hooks += (hook,)

    def remove(self) -> None:
        """Remove the chain and the jumps to it, unless it is none of ours or not there. Raises `FirewallError`."""
        found = self._filter.read()
        mine, self._made = self._made is not None, None
        if f"-N {self.name}" not in found or (self._is_foreign(found) and not mine):
            return
        jumps = [line for line in found if line.endswith(f" -j {self.name}") and line.startswith("-A ")]
        lines = [f"-D {line.removeprefix('-A ')}" for line in jumps]
        self._filter.restore([*lines, f"-F {self.name}", f"-X {self.name}"])

    def verify(self) -> list[str]:
        """What others have changed since `make`, for people; empty when it was not called."""
        if self._made is None:
            return []
        found = self._filter.read()
        if f"-N {self.name}" not in found:
            return [f"{self._program}: chain {self.name} is gone"]
        problems = []
        if self._own(found) != self._made:
            problems.append(f"{self._program}: rules of chain {self.name} are missing or changed")
        for hook in self._hooks(found):
            if not self._is_first(found, hook):
                there = self._jump(hook) in found
                first = self._jumps(found, hook)[0].removeprefix(f"-A {hook} ") if there else ""
                what = (
                    f"comes after a rule of others in {hook} ({first})"
                    if there
                    else f"is no longer jumped to from {hook}"
                )
                problems.append(f"{self._program}: chain {self.name} {what}")
        return problems

    def show(self) -> str:
        """The chain and the jumps to it, in iptables' own syntax."""
        found = self._filter.read()
        jumps = [line for line in found if line.endswith(f" -j {self.name}")]
        lines = [line for line in found if line == f"-N {self.name}"] + jumps + self._own(found)
        return "".join(f"{self._program} {line}\n" for line in lines)

    def _own(self, found: Sequence[str]) -> list[str]:
        return [line for line in found if line.startswith(f"-A {self.name} ")]

    def _is_foreign(self, found: Sequence[str]) -> bool:
        """Whether the chain holds anything but looks into our sets."""
        return any(f"--match-set {_SETS}" not in line for line in self._own(found))

    def _jump(self, hook: str) -> str:
        return f"-A {hook} -j {self.name}"

    def _hooks(self, found: Sequence[str]) -> list[str]:
        return [hook for hook in self._all_hooks if hook in _BUILT_IN or f"-N {hook}" in found]

    def _jumps(self, found: Sequence[str], hook: str) -> list[str]:
        return [line for line in found if line.startswith(f"-A {hook} ")]

    def _place(self, found: Sequence[str], hook: str) -> int:
        """The number of the rule at which our jump belongs: 1, or the next after the jumps of ours that come before."""
        place = 1
        for line in self._jumps(found, hook):
            if line.removeprefix(f"-A {hook} -j ") not in self._before:
                break
            place += 1
        return place

    def _is_first(self, found: Sequence[str], hook: str) -> bool:
        jumps = self._jumps(found, hook)
        place = self._place(found, hook)
        return jumps[place - 1 : place] == [self._jump(hook)] and jumps.count(self._jump(hook)) == 1


def _open_filter(program: str, family: Family, pids: deque[int]) -> ProgramFilter | NetlinkFilter:
    """Access to the filter table: through iptables, or by netlink where iptables may not use its match `set`."""
    if not may_open_raw_sockets() and iptables_kind(program) == "nf_tables":
        from sipguard.firewall.xt_netlink import NetlinkFilter  # noqa: PLC0415  most hosts need it not

        return NetlinkFilter(family, pids)
    return ProgramFilter(program, pids)
