"""The program `ipset`: many commands in one process, and what it refuses in words."""

from __future__ import annotations

from sipguard.errors import FirewallError, FullError
from sipguard.firewall import ipset_text, programs
from sipguard.firewall.ipset_text import Element, Header
from sipguard.firewall.xt_names import XtSet

_FULL = "an ipset of sipguard is full, and not all of these bans were made"
_SIGNS = (
    ("is full", _FULL),
    ("Operation not permitted", "ipset may not change the firewall: run as root or with CAP_NET_ADMIN"),
    ("Cannot open session to kernel", "this kernel has no ipset: load the module ip_set or choose another firewall"),
    ("Kernel error received: Invalid", "this kernel has no ipset: load the module ip_set or choose another firewall"),
    ("does not exist", "an ipset of sipguard is gone: another program removed it"),
)


class Ipset:
    """Calls of ipset. Every method raises `FirewallError`."""

    def do(self, script: str) -> None:
        """Run commands through `ipset restore`; nothing to do starts no process."""
        if script:
            self._run(["restore"], script)

    def headers(self) -> list[Header]:
        """Our sets, with their number of elements: the others' are read over."""
        return list(ipset_text.parse_headers(self._run(["list", "-terse"])))

    def elements(self, name: XtSet) -> list[Element]:
        """What is in a set; nothing when it is not there."""
        return list(ipset_text.parse_elements(self.save(name)))

    def save(self, name: XtSet) -> str:
        """Give a set in ipset's own syntax; empty when it is not there."""
        try:
            return self._run(["save", str(name)])
        except FirewallError as error:
            if "is gone" in str(error):
                return ""
            raise

    def create(self, name: XtSet, size: int) -> str:
        """Give the command that makes a set, unless it is there."""
        # Nobody asks how many packets of a feed were rejected, and feeds are long.
        counts = name.kind in ("a", "n")
        return ipset_text.create(name, family=name.family, networks=name.kind != "a", size=size, counts=counts)

    def resize(self, name: XtSet, size: int) -> None:
        """Make a set anew with another size, and counting, with what it holds.

        It is swapped, so that no packet meets an empty one.
        """
        other = XtSet("t", name.family, name.owner)
        lines = [line for line in self.save(name).splitlines() if line.startswith("add ")]
        copied = "".join(f"add {other} {line.split(' ', 2)[2]}\n" for line in lines)
        networks, size = name.kind != "a", max(size, len(lines))
        kind = ipset_text.create(other, family=name.family, networks=networks, size=size, counts=True)
        self.discard(other)
        self.do(f"{kind}{copied}swap {other} {name}\ndestroy {other}\n")

    def discard(self, name: XtSet) -> None:
        """Destroy a set that a crash may have left."""
        if any(header.name == name for header in self.headers()):
            self.do(f"destroy {name}\n")

    def _run(self, arguments: list[str], script: str = "") -> str:
        try:
            return programs.run(["ipset", *arguments], script, package="ipset", timeout=60)
        except programs.ProgramError as error:
            for sign, text in _SIGNS:
                if sign in error.stderr:
                    raise (FullError if text is _FULL else FirewallError)(text) from None
            raise
