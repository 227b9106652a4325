"""The iptables backend: one REJECT rule per ban in legacy tables, through python-iptables.

For hosts whose firewall is iptables-legacy and that have no ipset. The kernel ends no ban: each rule names its end in its
comment, the daemon unbans, and a start removes what has ended meanwhile. The cost per packet grows with the number of bans.

The chain `sipguard` sends each jail's ports to a chain of the jail, so that other packets do not pay. IPv4 and IPv6 are two
tables: a batch of both is two commits.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sipguard.errors import FirewallError
from sipguard.firewall import ipset_text, programs
from sipguard.firewall.host import legacy_refusal
from sipguard.firewall.legacy_bans import Content, LegacyBans
from sipguard.firewall.legacy_table import LegacyTable
from sipguard.firewall.options import Options
from sipguard.firewall.targets import Target, latest, parse_target
from sipguard.firewall.xt_chain import families
from sipguard.firewall.xt_names import CHAIN_LENGTH, shorten
from sipguard.firewall.xt_wire import XtWire
from sipguard.model import Ban, Clock, Entry, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sipguard.firewall.nft_names import Family

log = logging.getLogger(__name__)

MANY = 1000
"""Rules above which packets become slow (4 µs each here; 30 µs at 10,000)."""


class _NoFeeds:
    """Lists are not for rules: to set one raises `FirewallError`."""

    def set(self, name: str, *_: object) -> None:
        raise FirewallError(
            f"feed {name}: backend iptables has one rule per address, too slow for lists: choose the firewall ipset or nftables"
        )

    change = set  # noqa: A003 - the method above

    def drop(self, name: str) -> None:
        """There is none."""

    def names(self) -> list[str]:
        return []

    def entries(self, name: str) -> list[Entry]:  # noqa: ARG002
        return []


class IptablesFirewall:
    """Bans as rules. `program` tells which iptables the host uses. Raises `FirewallError` where that is not the legacy one."""

    name = "iptables"
    why = ""
    ends_bans = False
    in_kernel = True
    changes: frozenset[str] = frozenset()
    told_of_all = False
    feeds = _NoFeeds()

    def __init__(self, *, clock: Clock, options: Options | None = None, program: str = "iptables") -> None:
        if reason := legacy_refusal(program):
            raise FirewallError(reason)
        self._clock = clock
        self._options = options or Options()
        self._program = program
        self._tables: dict[Family, LegacyTable] = {family: LegacyTable(family) for family in families()}
        self._bans = {family: LegacyBans(table, self._options.reject_with) for family, table in self._tables.items()}
        self._pids: deque[int] = deque(maxlen=programs.REMEMBERED)
        self.wire = XtWire(clock, chain=self._options.chain, program=program, pids=self._pids, with_sets=False)
        self._rules: list[Rule] = []
        self._made: dict[str, dict[Family, Content]] = {}
        self._dispatch: dict[Family, list[tuple[bytes, ...]]] = {}
        self._told = False

    def open(self, rules: Sequence[Rule]) -> None:
        """Make the chains; live bans stay, those that have ended and those of other jails go. Raises `FirewallError`."""
        self._rules = self._options.adapt(rules)
        self._made = {rule.jail: {} for rule in self._rules}
        for family, table in self._tables.items():
            jumps = self._dispatch_rules(family)
            table.change(partial(self._lay, family, table, jumps))
            self._dispatch[family] = [entry.match for entry in table.entries(self._options.chain)]
            if len(self._dispatch[family]) != len(jumps):
                raise FirewallError(f"iptables: another program changed chain {self._options.chain} while it was made")
            for rule in self._rules:
                self._made[rule.jail][family] = self._bans[family].content(self._chain(rule.jail))
        self.wire.restore()

    def ban(self, bans: Sequence[Ban]) -> None:
        """Add a rule for each address and make sure that the kernel has it. Raises `FirewallError`."""
        wanted = latest(bans, self._made, self._clock())
        for family, table in self._tables.items():
            additions = {
                jail: {target: until for target, until in targets.items() if str(target.version) == family}
                for jail, targets in wanted.items()
            }
            self._edit(family, table, additions, {})
        count = sum(len(content) for by_family in self._made.values() for content in by_family.values())
        if count > MANY and not self._told:
            self._told = True
            log.warning(
                "Firewall: %d bans are as many rules, every packet meets them all: ipset or nftables is faster", count
            )

    def unban(self, bans: Sequence[Ban]) -> None:
        gone: dict[str, set[Target]] = {}
        for ban in bans:
            if ban.jail in self._made:
                gone.setdefault(ban.jail, set()).add(parse_target(ban.address))
        for family, table in self._tables.items():
            self._edit(family, table, {}, gone)

    def entries(self) -> list[Entry]:
        """Every address that has a rule, ended or not."""
        found = []
        for family, table in self._tables.items():
            table.read()
            for chain in self._own_chains(table):
                bans = self._bans[family].read(chain)
                found += [Entry(str(ban.target), ban.jail_of(self._made), ban.until) for ban in bans]
        return found

    def reach(self, rule: Rule) -> Rule:
        """What a ban of this jail rejects, as the configuration has this backend make it."""
        return self._options.adapt([rule])[0]

    def cover_forwarded(self) -> None:
        """Have the next `open` jump to our chain from FORWARD too: a server behind this machine is not reached by INPUT."""
        self._options = replace(self._options, more_hooks=(*self._options.more_hooks, "FORWARD"))

    def verify(self) -> list[str]:
        problems: list[str] = []
        for family, table in self._tables.items():
            if not self._rules:
                continue
            name = "iptables" if family == "4" else "ip6tables"
            table.read()
            chains = table.chains()
            if self._options.chain not in chains:
                problems.append(f"{name}: chain {self._options.chain} is gone")
                continue
            if [entry.match for entry in table.entries(self._options.chain)] != self._dispatch[family]:
                problems.append(f"{name}: rules of chain {self._options.chain} are missing or changed")
            problems += [
                f"{name}: chain {self._options.chain} is no longer the first in {hook}"
                for hook in self._options.hooks
                if hook in chains and not self._is_first(table, hook)
            ]
            for rule in self._rules:
                chain = self._chain(rule.jail)
                there = self._bans[family].content(chain) if chain in chains else {}
                if missing := self._made[rule.jail][family].keys() - there.keys():
                    problems.append(f"{name}: {len(missing)} rules of chain {chain} are gone")
                elif chain not in chains:
                    problems.append(f"{name}: chain {chain} is gone")
        return problems + self.wire.verify()

    def show(self) -> str:
        """The chains and the jumps to them, in iptables' own syntax."""
        text = ""
        for family in self._tables:
            program = self._program if family == "4" else self._program.replace("iptables", "ip6tables", 1)
            listing = programs.run([program, "-w", "-S"], package="iptables")
            chain = self._options.chain
            ours = (f"-N {chain}", f"-A {chain} ", f"-A {chain}-")
            text += "".join(
                f"{program} {line}\n"
                for line in listing.splitlines()
                if line.startswith(ours) or line.endswith(f" -j {chain}")
            )
        return text + self.wire.show()

    def flush(self) -> None:
        """Remove the chains and the jumps to them, bans included."""
        self._rules, self._made = [], {}
        self.wire.flush()
        for table in self._tables.values():
            table.change(partial(self._clear, table))

    def room(self, address: str) -> None:
        """A chain takes any number of rules, only slower and slower."""

    def made_by_us(self, pid: int) -> bool:
        """Legacy tables are changed by this very process."""
        return pid == os.getpid()

    def close(self) -> None:
        """Nothing to let go of; rules stay, and the next start removes those that have ended."""

    def _lay(self, family: Family, table: LegacyTable, jumps: Sequence[bytes]) -> None:
        """Within a change: make chains and jumps, remove what is stale."""
        chains = table.chains()
        main = self._options.chain
        if main not in chains:
            table.create(main)
        elif self._is_foreign(table):
            raise FirewallError(
                f"iptables: a chain {main} with rules of others is there: choose another name with `chain` in [firewall]"
            )
        table.clear(main)
        wanted = {self._chain(rule.jail): rule for rule in self._rules}
        for chain in self._own_chains(table):
            if chain not in wanted:
                table.clear(chain)
                table.delete(chain)
        now = self._clock()
        for chain, rule in wanted.items():
            if chain not in chains:
                table.create(chain)
            else:
                live = {target: until for target, until in self._bans[family].content(chain).items() if until > now}
                self._bans[family].write(chain, rule.jail, rule.verdict, live)
        for raw in jumps:
            table.append(main, raw)
        for hook in self._options.hooks:
            if hook in chains and not self._is_first(table, hook):
                self._unhook(table, hook)
                table.insert(hook, table.jump(main)[0])

    def _is_foreign(self, table: LegacyTable) -> bool:
        """Whether the chain holds anything but jumps to the jails' chains."""
        main = self._options.chain
        return any(not entry.target.startswith(f"{main}-") for entry in table.entries(main))

    def _unhook(self, table: LegacyTable, hook: str) -> None:
        jump, mask = table.jump(self._options.chain)
        for _ in range(self._count(table, hook)):
            table.remove(hook, jump, mask)

    def _clear(self, table: LegacyTable) -> None:
        main, chains = self._options.chain, table.chains()
        if main not in chains or self._is_foreign(table):
            return
        for hook in chains:
            self._unhook(table, hook)
        table.clear(main)
        for chain in self._own_chains(table):
            table.clear(chain)
            table.delete(chain)
        table.delete(main)

    def _edit(
        self,
        family: Family,
        table: LegacyTable,
        additions: Mapping[str, Mapping[Target, float]],
        removals: Mapping[str, set[Target]],
    ) -> None:
        """Add and remove bans in one commit, and see that the kernel has it."""
        jails = [rule for rule in self._rules if additions.get(rule.jail) or removals.get(rule.jail)]
        if not jails:
            return

        def edit() -> None:
            for rule in jails:
                more, fewer = additions.get(rule.jail, {}), removals.get(rule.jail, set())
                self._bans[family].edit(self._chain(rule.jail), rule.jail, rule.verdict, more, fewer)

        table.change(edit)
        for rule in jails:
            content = self._bans[family].content(self._chain(rule.jail))
            self._made[rule.jail][family] = content
            if additions.get(rule.jail, {}).keys() - content.keys():
                raise FirewallError(
                    f"iptables: the kernel has lost rules of {self._chain(rule.jail)} that it had taken"
                )

    def _dispatch_rules(self, family: Family) -> list[bytes]:
        table = self._tables[family]
        built = []
        for rule in self._rules:
            for protocol in rule.protocols or (("tcp", "udp", "sctp", "dccp") if rule.ports else ("",)):
                for ports in ipset_text.port_lists(rule.ports) if rule.ports else ("",):
                    built.append(table.jump(self._chain(rule.jail), protocol, ports)[0])
        return built

    def _chain(self, jail: str) -> str:
        return f"{self._options.chain}-{shorten(jail, CHAIN_LENGTH - len(self._options.chain) - 1)}"

    def _own_chains(self, table: LegacyTable) -> list[str]:
        return [chain for chain in table.chains() if chain.startswith(f"{self._options.chain}-")]

    def _is_first(self, table: LegacyTable, hook: str) -> bool:
        first = next(table.entries(hook), None)
        ours = first is not None and first.target == self._options.chain and first.matches_all
        return ours and self._count(table, hook) == 1

    def _count(self, table: LegacyTable, hook: str) -> int:
        entries = table.entries(hook)
        return sum(entry.target == self._options.chain and entry.matches_all for entry in entries)
