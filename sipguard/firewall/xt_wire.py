"""The wire's part of the backends ipset and iptables: chains of our own in `raw` and `mangle`, and sets for the meter."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from sipguard.errors import FirewallError
from sipguard.firewall import ipset_text, programs
from sipguard.firewall import xt_wire_text as text
from sipguard.firewall.host import iptables_kind, legacy_tables, may_open_raw_sockets
from sipguard.firewall.meters import changes
from sipguard.firewall.xt_chain import families
from sipguard.firewall.xt_program import LOCK_WAIT
from sipguard.model import Entry
from sipguard.wire_model import Meter, Watch, Watched

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable, Sequence

    from sipguard.firewall.nft_names import Family
    from sipguard.model import Clock

log = logging.getLogger(__name__)

_HOOKS = {"raw": "PREROUTING", "mangle": "POSTROUTING"}
_VERIFY = 5.0
"""Seconds between two looks at the rules: four processes."""
_MOST = 100_000


class XtWire:
    """Rules that copy SIP packets, and the meter, which needs ipset. Raises `FirewallError` where the kernel refuses.

    `program` is iptables, or iptables-legacy; ip6tables goes with it.
    """

    def __init__(self, clock: Clock, *, chain: str, program: str, pids: deque[int], with_sets: bool) -> None:
        # Sets that iptables' saved rules name would keep those from being restored at boot (see `firewall.host`).
        self.can_meter = with_sets and may_open_raw_sockets()
        self._clock = clock
        self._chain = f"{chain}-w"
        self._programs: dict[Family, str] = {
            family: program if family == "4" else program.replace("iptables", "ip6tables", 1) for family in families()
        }
        self._legacy = iptables_kind(program) == "legacy"
        self._pids = pids
        self._watch: Watch | None = None
        self._made: dict[tuple[Family, str], list[str]] = {}
        self._meters: dict[str, Meter] = {}
        self._looked = 0.0

    def watch(self, watch: Watch | None) -> None:
        """Copy these packets from now on; None: none, and meter nobody."""
        first, self._watch = self._watch is None, watch
        if watch is None:
            self._meters, self._made = {}, {}
            self._remove()
            return
        self._make(watch)
        if first:
            self._meters = self._held()

    def _make(self, watch: Watch) -> None:
        for family, program in self._programs.items():
            if self.can_meter:
                sets = text.sets(family).items()
                self._ipset("".join(f"create {name} {properties} -exist\n" for name, properties in sets))
            tables = text.chains(watch, self._chain, family, meter=self.can_meter)
            unhook, hook = [], {}
            for table in tables:
                found = self._rules(family, table)
                self._refuse_foreign(found)
                jump = f"-A {_HOOKS[table]} -j {self._chain}"
                hooks = [line for line in found if line.startswith(f"-A {_HOOKS[table]} ")]
                if hooks[:1] != [jump] or hooks.count(jump) != 1:
                    unhook += [f"{table} -D {jump.removeprefix('-A ')}"] * hooks.count(jump)
                    hook[table] = f"-I {_HOOKS[table]} 1 -j {self._chain}"
            restore = [f"{program}-restore", "--noflush", "-w", LOCK_WAIT]
            programs.run(restore, text.script(tables, unhook, hook), package="iptables", pids=self._pids)
            for table in tables:
                self._made[family, table] = self._ours(self._rules(family, table))
        now = self._clock()
        self._meters = {name: one for name, one in self._meters.items() if one.until > now}
        if self.can_meter and self._meters:
            held = self._held()
            self._ipset(self._added([one for name, one in self._meters.items() if name not in held]))

    def _refuse_foreign(self, found: Sequence[str]) -> None:
        """Leave a chain alone that bears our name and holds what we do not make."""
        for line in found if not self._made else ():
            words = line.split()
            ours = words[-2:-1] == ["-j"] and (words[-1] == "RETURN" or words[-1].startswith(f"{self._chain}-"))
            if line.startswith(f"-A {self._chain} ") and not (ours or " -g " in line):
                what = f"a chain {self._chain} with rules of others is there: choose another name with `chain` in [firewall]"
                raise FirewallError(f"iptables: {what}")

    def restore(self) -> None:
        """Make what is missing again. What the kernel refuses is logged: no ban depends on it."""
        if self._watch is None or not self.verify(now=True):
            return
        try:
            self._make(self._watch)
        except FirewallError as error:
            self._made = {}
            log.error("Firewall: the SIP packets of this machine cannot be watched: %s", error)

    def verify(self, *, now: bool = False) -> list[str]:
        """What is missing of what was made; looked at every few seconds only."""
        if not self._made or (not now and time.monotonic() < self._looked + _VERIFY):
            return []
        problems = []
        for (family, table), made in self._made.items():
            found = self._rules(family, table)
            jump = f"-A {_HOOKS[table]} -j {self._chain}"
            first = next((line for line in found if line.startswith(f"-A {_HOOKS[table]} ")), "")
            if self._ours(found) != made or first != jump:
                problems.append(
                    f"{self._programs[family]}: chains {self._chain} of table {table} are missing or changed"
                )
        if not problems:
            self._looked = time.monotonic()
        return problems

    def meter(self, meters: Sequence[Meter]) -> None:
        """Let only a few more SIP requests over UDP of these through; who is metered longer already goes on as he was."""
        self._must_meter()
        now = self._clock()
        new, longer, same = changes(self._held(), [one for one in meters if _set_of(one.address)], now)
        self._meters |= {one.address: one for one in (*new, *longer, *same)}
        spent = [one for one in same if not one.requests]
        again = [*longer, *spent]
        gone = "".join(f"del {_set_of(one.address)} {one.address.partition('/')[0]} -exist\n" for one in again)
        self._ipset(gone + self._added([*new, *again]) + "".join(_known(one, now) for one in same))

    def _held(self) -> dict[str, Meter]:
        """What the kernel has; how many requests it let through at first is known of this run's alone."""
        held = {}
        for entry in self.metered():
            known = self._meters.get(entry.address, Meter(entry.address, 0.0, 1))
            held[entry.address] = known._replace(until=entry.until)
        return held

    def unmeter(self, addresses: Sequence[str]) -> None:
        """Let these through again."""
        self._must_meter()
        known = [(one, name) for one in addresses if (name := _set_of(one))]
        self._ipset("".join(f"del {name} {one.partition('/')[0]} -exist\n" for one, name in known))
        for one in addresses:
            self._meters.pop(one, None)

    def metered(self) -> list[Entry]:
        """The addresses that are metered now."""
        if self._watch is None or not self.can_meter:
            return []
        now = self._clock()
        found = []
        for name in (name for family in self._programs for name in text.sets(family) if "held" in name):
            saved = programs.run(["ipset", "save", name], package="ipset")
            for one in ipset_text.parse_elements(saved):
                tail = "/64" if name.endswith("64") else ""
                found.append(Entry(one.target + tail, "", now + one.remaining))
        return found

    def watched(self) -> Watched:
        """Counted are the meter's addresses alone: of these rules the kernel's counters are not asked."""
        now = self._clock()
        return Watched(0, 0, sum(one.until > now for one in self._meters.values()))

    def show(self) -> str:
        """The chains and the jumps to them, in iptables' own syntax."""
        if not self._made:
            return ""
        return "".join(
            f"{self._programs[family]} -t {table} {line}\n"
            for family, table in self._made
            for line in self._rules(family, table)
            if self._is_ours(line)
        )

    def flush(self) -> None:
        """Remove the chains, the jumps to them, and the sets."""
        self.watch(None)

    def _remove(self) -> None:
        for family, program in self._programs.items():
            for table, hook in _HOOKS.items():
                if self._legacy and table not in (legacy_tables() or _HOOKS):
                    continue  # to ask would make it
                found = self._rules(family, table)
                names = [line.removeprefix("-N ") for line in found if line.startswith("-N ") and self._is_ours(line)]
                if not names:
                    continue
                lines = [f"*{table}", *[f"-D {hook} -j {self._chain}"] * found.count(f"-A {hook} -j {self._chain}")]
                lines += [*(f"-F {name}" for name in names), *(f"-X {name}" for name in names), "COMMIT", ""]
                restore = [f"{program}-restore", "--noflush", "-w", LOCK_WAIT]
                programs.run(restore, "\n".join(lines), package="iptables", pids=self._pids)
            if programs.installed("ipset"):
                there = programs.run(["ipset", "list", "-name"], package="ipset").split()
                self._ipset("".join(f"destroy {name}\n" for name in text.sets(family) if name in there))

    def _added(self, meters: Iterable[Meter]) -> str:
        now = self._clock()
        lines = []
        for one in meters:
            span = ipset_text.timeout(one.until, now)
            left = text.BIG - min(one.requests, _MOST)
            bare = one.address.partition("/")[0]
            lines.append(f"add {_set_of(one.address)} {bare} timeout {span} packets {left} bytes 0 -exist\n")
            lines.append(_known(one, now))
        return "".join(lines)

    def _rules(self, family: Family, table: str) -> list[str]:
        program = self._programs[family]
        return programs.run(
            [program, "-w", LOCK_WAIT, "-t", table, "-S"], package="iptables", pids=self._pids
        ).splitlines()

    def _ours(self, found: Sequence[str]) -> list[str]:
        return [line for line in found if line.startswith(("-N ", "-A ")) and self._is_ours(line)]

    def _is_ours(self, line: str) -> bool:
        """Whether it makes one of our chains, stands in one, or is a jump to one."""
        name = line.split(" ", 2)[1]
        return name == self._chain or name.startswith(f"{self._chain}-") or line.endswith(f" -j {self._chain}")

    def _ipset(self, script: str) -> None:
        if script:
            programs.run(["ipset", "restore"], script, package="ipset", timeout=60)

    def _must_meter(self) -> None:
        if self._watch is None or not self.can_meter:
            raise FirewallError("nobody can be metered: the wire is not watched, or this host's firewall cannot")


def _set_of(address: str) -> str:
    """The set that holds a canonical address or an IPv6 network of /64; empty for any other network."""
    _, _, length = address.partition("/")
    if length:
        return "sg_wire_held64" if length == "64" and ":" in address else ""
    return f"sg_wire_held{6 if ':' in address else 4}"


def _known(one: Meter, now: float) -> str:
    """The flows of an address or network that pass freely."""
    family, span = 6 if ":" in one.address else 4, ipset_text.timeout(one.until, now)
    lines = (f"add sg_wire_known{family} {source},udp:{port} timeout {span} -exist\n" for source, port in one.flows)
    return "".join(lines)
