"""The ipset backend: own sets with timeouts, and an own chain that rejects what is in them.

For hosts whose firewall is iptables, of either kind. The kernel ends the bans. ipset has no transactions: when the kernel
refuses one element of many (a full set), those before it are in.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from sipguard.errors import FirewallError
from sipguard.firewall import ipset_text, programs
from sipguard.firewall.cover import packets_of, sums_by_target
from sipguard.firewall.ipset_feeds import IpsetFeeds
from sipguard.firewall.ipset_run import Ipset
from sipguard.firewall.options import Options
from sipguard.firewall.targets import Network, latest, parse_target
from sipguard.firewall.xt_chain import XtChain, families
from sipguard.firewall.xt_names import XtSet, readable, set_owner
from sipguard.firewall.xt_wire import XtWire
from sipguard.model import FOREVER, Ban, Clock, Entry, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipguard.firewall.targets import Target

log = logging.getLogger(__name__)

_RENEWAL = 86_400.0
"""Seconds after which a ban that is longer than ipset can count is shown with the end that the kernel has."""
_ROUNDING = 2.0
"""Seconds by which ipset's whole seconds may differ from the time that was asked for."""


class IpsetFirewall:
    """Bans in ipset sets, through the programs `ipset` and `iptables`."""

    name = "ipset"
    why = ""
    ends_bans = True
    in_kernel = True
    changes = frozenset({"xtables"})
    told_of_all = False

    def __init__(self, *, clock: Clock, options: Options | None = None) -> None:
        self._clock = clock
        self._options = options or Options()
        self._ipset = Ipset()
        self._pids: deque[int] = deque(maxlen=programs.REMEMBERED)
        self._chains = [
            XtChain(self._options.chain, family, hooks=self._options.hooks, pids=self._pids) for family in families()
        ]
        self.feeds = IpsetFeeds(self._ipset, clock, self._options, self._pids)
        self.wire = XtWire(clock, chain=self._options.chain, program="iptables", pids=self._pids, with_sets=True)
        self._can_limit = True
        self._jails: dict[str, str] = {}
        self._made: list[XtSet] = []
        self._latest: dict[XtSet, float] = {}
        self._long: dict[tuple[XtSet, str], float] = {}

    def open(self, rules: Sequence[Rule]) -> None:
        """Make sets and chain; live bans stay, sets of jails that are not in `rules` go. Raises `FirewallError`."""
        rules = self._options.adapt(rules)
        wanted = [name for rule in rules for name in ipset_text.set_names(rule.jail)]
        there = [header for header in self._ipset.headers() if header.name.kind in ("a", "n")]
        for header in there:
            if header.name in wanted and (header.size != self._options.size or not header.counts):
                self._ipset.resize(header.name, self._options.size)
        # Those that are there may be larger than they should be: as large as what they hold.
        absent = dict.fromkeys(wanted).keys() - {header.name for header in there}
        self._ipset.do("".join(self._ipset.create(name, self._options.size) for name in sorted(absent)))
        for chain in self._chains:
            self._make(chain, rules)
        stale = [header.name for header in there if header.name not in wanted]
        self._ipset.do("".join(f"destroy {name}\n" for name in stale))
        self._jails = {set_owner(rule.jail): rule.jail for rule in rules}
        self._made = wanted
        self._latest = {name: end for name, end in self._latest.items() if name in wanted}
        self.wire.restore()

    def _make(self, chain: XtChain, rules: Sequence[Rule]) -> None:
        """Give a chain its rules; without the match `hashlimit`, which a kernel may lack, nobody's packets are dropped."""
        try:
            chain.make(ipset_text.jail_rules(rules, chain.family, self._options.reject_with, heavy=self._can_limit))
        except FirewallError as error:
            if not self._can_limit:
                raise
            chain.make(ipset_text.jail_rules(rules, chain.family, self._options.reject_with))
            self._can_limit = False
            log.warning(
                "Firewall: who is banned and floods is rejected, not dropped, without the match hashlimit: %s", error
            )

    def ban(self, bans: Sequence[Ban]) -> None:
        """Put these addresses into their sets, with one process. Raises `FirewallError`."""
        now = self._clock()
        lines, ends, long = [], dict[XtSet, float](), dict[tuple[XtSet, str], float]()
        for jail, targets in latest(bans, self._jails.values(), now).items():
            for target, until in targets.items():
                name = _set_for(jail, target)
                span = ipset_text.timeout(until, now)
                lines += [f"add {name} {item} timeout {span} -exist\n" for item in ipset_text.element(target)]
                ends[name] = max(until, ends.get(name, 0.0))
                if span == ipset_text.LONGEST:
                    long[name, str(target)] = until
                else:
                    self._long.pop((name, str(target)), None)
        self._ipset.do("".join(lines))
        self._long |= long
        for name, until in ends.items():
            self._latest[name] = max(until, self._latest.get(name, 0.0))

    def unban(self, bans: Sequence[Ban]) -> None:
        """Take these addresses out of their sets. Raises `FirewallError` when the kernel refuses."""
        lines = []
        for jail, target in [(ban.jail, parse_target(ban.address)) for ban in bans if ban.jail in self._jails.values()]:
            name = _set_for(jail, target)
            lines += [f"del {name} {item} -exist\n" for item in ipset_text.element(target)]
            self._long.pop((name, str(target)), None)
            # Which of the others ends last is not known without a listing: `verify` cannot tell an emptied set then.
            self._latest.pop(name, None)
        there = {header.name for header in self._ipset.headers()} if lines else set()
        self._ipset.do("".join(line for line in lines if any(f" {name} " in line for name in there)))

    def entries(self) -> list[Entry]:
        """Every address in the kernel's sets. ipset cuts to whole seconds: `until` is up to one second late, never early."""
        found = []
        for header in self._ipset.headers():
            if header.name.kind not in ("a", "n") or not header.elements:
                continue
            name, jail = header.name, self._jail_of(header.name)
            ends = {target: left + 1 for target, left, _ in self._ipset.elements(name)}
            now = self._clock()
            found += [Entry(target, jail, self._until(name, target, now + left)) for target, left in ends.items()]
            self._latest[name] = now + max(ends.values()) if ends else 0.0
        return found

    def reach(self, rule: Rule) -> Rule:
        """What a ban of this jail rejects, as the configuration has this backend make it."""
        return self._options.adapt([rule])[0]

    def cover_forwarded(self) -> None:
        """Have the next `open` jump to our chain from FORWARD too: a server behind this machine is not reached by INPUT."""
        for chain in self._chains:
            chain.add_hook("FORWARD")

    def rejected(self, address: str) -> int | None:
        """Packets rejected from a banned address, or one in a banned network, since it was last given to the kernel.

        None where nothing counts it: it is not banned.
        """
        return packets_of(str(parse_target(address)), self.rejected_by_target())

    def rejected_by_target(self) -> dict[str, int]:
        """Banned address or network → packets rejected, as `rejected` counts them; in all jails together."""
        return sums_by_target(self.rejected_by_jail())

    def rejected_by_jail(self) -> dict[tuple[str, str], int]:
        """(jail, banned address or network) → packets rejected, as `rejected` counts them."""
        packets: dict[tuple[str, str], int] = {}
        for header in self._ipset.headers():
            if header.name.kind in ("a", "n") and header.elements:
                for element in self._ipset.elements(header.name):
                    if element.packets is not None:
                        key = self._jail_of(header.name), element.target
                        packets[key] = packets.get(key, 0) + element.packets
        return packets

    def verify(self) -> list[str]:
        """Compare with what `open` and `feeds` made. Two or three processes, whatever the number of bans."""
        if not self._made:
            return self.feeds.verify() + self.wire.verify()
        there = {header.name: header.elements for header in self._ipset.headers()}
        now = self._clock()
        problems = [f"ipset: set {name} is gone" for name in self._made if name not in there]
        problems += [
            f"ipset: set {name} was emptied"
            for name, until in self._latest.items()
            if until > now + _ROUNDING and there.get(name) == 0
        ]
        for chain in self._chains:
            problems += chain.verify()
        return problems + self.feeds.verify() + self.wire.verify()

    def show(self) -> str:
        """The rules as iptables(8) and the sets as ipset(8) take them; of a feed's sets the definition alone."""
        text = "".join(chain.show() for chain in self._chains) + self.feeds.show() + self.wire.show()
        return text + "".join(
            self._ipset.save(header.name) for header in self._ipset.headers() if header.name.kind in ("a", "n")
        )

    def flush(self) -> None:
        """Remove the chain, the jumps to it and the sets, bans and feeds included."""
        self._jails, self._made, self._latest, self._long = {}, [], {}, {}
        self.feeds.flush()
        self.wire.flush()
        for chain in self._chains:
            chain.remove()
        self._ipset.do("".join(f"destroy {header.name}\n" for header in self._ipset.headers()))

    def room(self, address: str) -> tuple[str, int]:
        """A set for each family's addresses, and one for its networks."""
        return f"IPv{6 if ':' in address else 4} {'networks' if '/' in address else 'addresses'}", self._options.size

    def made_by_us(self, pid: int) -> bool:
        """Whether a program that this backend started has this number."""
        return pid in tuple(self._pids)

    def close(self) -> None:
        """Nothing to let go of: each call is a process of its own."""

    def _jail_of(self, name: XtSet) -> str:
        return self._jails.get(name.owner) or readable(name.owner) or name.owner

    def _until(self, name: XtSet, target: str, listed: float) -> float:
        """The time that was asked for, where ipset cannot count so long; after a day the true one: the daemon renews it."""
        exact = self._long.get((name, target))
        fresh = listed - self._clock() > ipset_text.LONGEST - _RENEWAL
        return exact if exact is not None and fresh and listed != FOREVER else listed


def missing() -> str:
    """Say why this backend cannot be used here; empty when it can."""
    absent = [name for name in ("ipset", "iptables") if not programs.installed(name)]
    if absent:
        return f"no program {' and '.join(absent)}"
    try:
        Ipset().headers()
    except FirewallError as error:
        return str(error)
    return ""


def _set_for(jail: str, target: Target) -> XtSet:
    return XtSet("n" if isinstance(target, Network) else "a", "4" if target.version == 4 else "6", set_owner(jail))
