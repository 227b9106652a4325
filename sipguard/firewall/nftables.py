"""The nftables backend: an own table and sets with timeouts, so that the kernel ends bans even if sipguard is dead.

A call is one nft script, which the kernel does as a whole or not at all. Nothing outside the table is ever named.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

from sipguard.errors import FullError
from sipguard.firewall import nft_text
from sipguard.firewall.cover import packets_of, sums_by_target
from sipguard.firewall.nft_feeds import NftFeeds
from sipguard.firewall.nft_names import SetName, escape_jail, parse_set_name, unescape_jail
from sipguard.firewall.nft_networks import ROUNDING, NftNetworks, networks_script
from sipguard.firewall.nft_run import NftError, NftRunner, fastest_runner
from sipguard.firewall.nft_wire import NftWire
from sipguard.firewall.options import Options
from sipguard.firewall.targets import Network, is_canonical, latest, parse_target
from sipguard.model import Ban, Clock, Entry, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

_MANY = 1000
"""Addresses from which on it is cheaper to list the table, and to leave out what it has, than to write all of them anew."""
_ASLEEP = f"table {nft_text.TABLE} is put to sleep"


class NftablesFirewall:
    """Bans in nf_tables sets, through libnftables or the program `nft`."""

    name = "nftables"
    why = ""
    ends_bans = True
    in_kernel = True
    changes = frozenset({"table", "chain", "rule", "set", "element"})
    told_of_all = True

    def __init__(self, *, clock: Clock, runner: NftRunner | None = None, options: Options | None = None) -> None:
        self._clock = clock
        self._options = options or Options()
        self._nft = runner or fastest_runner()
        self.feeds = NftFeeds(self._nft, clock)
        self.wire = NftWire(self._nft, clock)
        self._jails: dict[str, str] = {}
        self._layout: Counter[tuple[str, str]] = Counter()
        self._networks = NftNetworks(self._nft)
        self._lost = True
        """Whether anything of ours was gone since `open`; at first nothing is known."""
        self._reopened = False
        """Whether the next bans may be those that the sets have from before `open`."""

    def open(self, rules: Sequence[Rule]) -> None:
        """Make the table; live bans stay, sets of jails that are not in `rules` go. Raises `FirewallError`."""
        rules = self._options.adapt(rules)
        wanted = {name for rule in rules for name in nft_text.set_names(rule.jail)}
        try:
            there = self._sets()
        except nft_text.UnreadableError:
            # The braces wake a table that somebody has put to sleep.
            self._nft.run(f"add table {nft_text.TABLE} {{ }}\n")
            there = self._sets()
        stale = [name for name in there if name not in wanted]
        self._make(rules, stale)
        self._jails = {escape_jail(rule.jail): rule.jail for rule in rules}
        self._layout = self._made_layout(wanted)
        self._reopened, self._lost = bool(there) and self._lost, False
        self._networks.forget(stale)
        self.wire.restore()

    def ban(self, bans: Sequence[Ban]) -> None:
        """Put these addresses into their sets in one transaction. Raises `FirewallError`, then none is in.

        `create` fails for an address that is there already; only then is every one deleted and added anew, in one
        script. That works on every kernel (before Linux 6.12, adding again leaves the old time), but a deletion waits
        about 16 ms for the kernel's readers (RCU), so it is not the first choice.
        """
        now = self._clock()
        addresses: dict[SetName, dict[str, float]] = {}
        networks: dict[SetName, dict[Network, float]] = {}
        jails, others = set(self._jails.values()), []
        for ban in bans:
            if ban.jail not in jails or not is_canonical(ban.address):
                others.append(ban)
            elif ban.until > now:
                addresses.setdefault(nft_text.set_of_canonical(ban.jail, ban.address), {})[ban.address] = ban.until
        for jail, targets in latest(others, jails, now).items():
            for target, until in targets.items():
                name = nft_text.set_for(jail, target)
                if name.kind == "n":
                    networks.setdefault(name, {})[cast("Network", target)] = until
                else:
                    addresses.setdefault(name, {})[str(target)] = until
        if not addresses and not networks:
            return
        if self._reopened and addresses:
            addresses = self._without_known(addresses, now)
        merged = {name: self._networks.live(name, now) | targets for name, targets in networks.items()}
        tail = "".join(networks_script(name, targets, now) for name, targets in merged.items())
        if addresses or tail:
            self._add(addresses, tail, now)
        self._networks.remember(merged)
        self._reopened = False

    def unban(self, bans: Sequence[Ban]) -> None:
        """Take these addresses out of their sets. Raises `FirewallError` when the kernel refuses."""
        now = self._clock()
        addresses: dict[SetName, set[str]] = {}
        networks: dict[SetName, set[Network]] = {}
        for jail, target in [(ban.jail, parse_target(ban.address)) for ban in bans if ban.jail in self._jails.values()]:
            name = nft_text.set_for(jail, target)
            if name.kind != "n":
                addresses.setdefault(name, set()).add(str(target))
            if isinstance(target, Network):  # an earlier version may have put any network there
                networks.setdefault(name._replace(kind="n"), set()).add(target)
        for name, targets in networks.items():
            self._networks.unban(name, targets, now)
        if addresses:
            self._delete(addresses)

    def entries(self) -> list[Entry]:
        """Every address in the kernel's sets. nft cuts to whole seconds: `until` is up to one second late, never early."""
        text = self._nft.find(f"list table {nft_text.TABLE}")
        now = self._clock()
        found: dict[SetName, dict[str, float]] = {}
        for name, target, remaining, _ in nft_text.parse_elements(text) if text else ():
            # Parts of one network come with the network's name, each with its own rounding.
            entries = found.setdefault(name, {})
            entries[target] = max(now + remaining + 1, entries.get(target, 0.0))
        for name, entries in found.items():
            entries |= {str(network): until for network, until in self._networks.hidden(name, entries, now).items()}
        return [
            Entry(target, self._jail_of(name), until)
            for name, entries in found.items()
            for target, until in entries.items()
        ]

    def reach(self, rule: Rule) -> Rule:
        """What a ban of this jail rejects, as the configuration has this backend make it."""
        return self._options.adapt([rule])[0]

    def rejected(self, address: str) -> int | None:
        """Packets rejected from a banned address, or one in a banned network, since it was banned or its ban changed.

        None where nothing counts it: it is not banned. As slow as `entries`: nft 1.0.6 fetches a whole set to give one
        element of it.
        """
        return packets_of(str(parse_target(address)), self.rejected_by_target())

    def rejected_by_target(self) -> dict[str, int]:
        """Banned address or network → packets rejected, as `rejected` counts them; in all jails together."""
        return sums_by_target(self.rejected_by_jail())

    def rejected_by_jail(self) -> dict[tuple[str, str], int]:
        """(jail, banned address or network) → packets rejected, as `rejected` counts them."""
        text = self._nft.find(f"list table {nft_text.TABLE}")
        packets: dict[tuple[str, str], int] = {}
        for listed in nft_text.parse_elements(text) if text else ():
            if listed.counted:
                key = self._jail_of(listed.name), listed.target
                packets[key] = packets.get(key, 0) + listed.counted.packets
        return packets

    def verify(self) -> list[str]:
        """Compare with what `open` and `feeds` made. Two terse lists, whatever the number of bans."""
        problems = self._verify_jails()
        self._lost = self._lost or bool(problems)
        return problems + self.feeds.verify() + self.wire.verify()

    def _verify_jails(self) -> list[str]:
        if not self._layout:
            return []
        try:
            found = Counter(self._read_layout())
        except nft_text.UnreadableError:
            return [_ASLEEP]
        if not found:
            return [f"table {nft_text.TABLE} is gone"]
        lost = [
            _ASLEEP if label.startswith("table ") else f"{label} of table {nft_text.TABLE} is missing or changed"
            for label, _ in (self._layout - found).elements()
        ]
        strange = {label for label, _ in found - self._layout if label.startswith("rule ")}
        if not lost:
            lost = [f"a {label} of table {nft_text.TABLE} is of somebody else" for label in strange]
        return sorted(lost)

    def show(self) -> str:
        """Give the table as `nft list table` prints it; empty when there is none."""
        try:
            text = self._nft.show(f"list table {nft_text.TABLE}")
        except NftError as error:
            if error.cause != "absent":
                raise
            text = ""
        return text + self.feeds.show() + self.wire.show()

    def flush(self) -> None:
        """Remove the table with all bans. That it is there already or not makes no difference."""
        self._nft.run(f"add table {nft_text.TABLE}\ndelete table {nft_text.TABLE}\n")
        self.feeds.flush()
        self.wire.flush()
        self._networks = NftNetworks(self._nft)
        self._jails, self._layout = {}, Counter()

    def room(self, address: str) -> tuple[str, int]:
        """As much as fits into its set."""
        return nft_text.room(address, self._options.size)

    def made_by_us(self, pid: int) -> bool:
        """Whether an `nft` that this backend started, or the thread that it works in, has this number."""
        return pid in tuple(self._nft.pids)

    def close(self) -> None:
        """Let go of the socket."""
        self._nft.close()

    def _make(self, rules: Sequence[Rule], stale: Sequence[SetName]) -> None:
        script = nft_text.table_script(rules, stale, self._options)
        try:
            self._nft.run(script)
        except NftError as error:
            if error.cause != "exists":
                raise
            # Sets of another size, or of an earlier version that did not count: made anew with what they hold.
            clear = f"delete table {nft_text.TABLE}\n{nft_text.table_script(rules, (), self._options)}"
            try:
                self._nft.run(clear + self._copied(stale))
            except FullError:  # they are smaller now: as many as fit come again with the bans that live
                self._nft.run(clear)

    def _made_layout(self, wanted: set[SetName]) -> Counter[tuple[str, str]]:
        """What `verify` compares with. Raises `NftError` when another program has removed it already."""
        layout = Counter(self._read_layout())
        chains = (nft_text.CHAIN, nft_text.REFUSE)
        needed = {f"set {name}" for name in wanted} | {
            f"{kind} {chain}" for kind in ("chain", "rule") for chain in chains
        }
        if not wanted:
            needed.discard(f"rule {nft_text.CHAIN}")
        if needed.difference(label for label, _ in layout):
            raise NftError(f"table {nft_text.TABLE} was removed by another program while it was made", "absent")
        return layout

    def _copied(self, stale: Sequence[SetName]) -> str:
        """Write what every set holds, but for the `stale` ones, as elements of new sets."""
        now = self._clock()
        text = self._nft.find(f"list table {nft_text.TABLE}")
        kept: dict[SetName, list[str]] = {}
        networks: set[SetName] = set()
        for name, target, remaining, counted in nft_text.parse_elements(text) if text else ():
            if name.kind == "n" and name not in stale:
                networks.add(name)
            elif name not in stale:
                tail = f"{nft_text.counter(counted)}{nft_text.timeout(now + remaining + 1, now)}"
                kept.setdefault(name, []).append(target + tail)
        script = "".join(nft_text.elements("add", name, items) for name, items in kept.items())
        return script + "".join(networks_script(name, self._networks.live(name, now), now) for name in networks)

    def _add(self, addresses: dict[SetName, dict[str, float]], tail: str, now: float) -> None:
        new = {name: list(nft_text.address_items(targets, now)) for name, targets in addresses.items()}
        try:
            self._nft.run("".join(nft_text.elements("create", name, items) for name, items in new.items()) + tail)
        except NftError as error:
            if error.cause not in ("exists", "flood"):
                raise
            if sum(map(len, addresses.values())) > _MANY:
                addresses = self._without_known(addresses, now)
                new = {name: list(nft_text.address_items(targets, now)) for name, targets in addresses.items()}
            script = ""
            for name, items in new.items():
                bare = list(addresses[name])
                script += nft_text.elements("add", name, bare) + nft_text.elements("delete", name, bare)
                script += nft_text.elements("add", name, items)
            self._nft.run(script + tail)

    def _without_known(self, addresses: dict[SetName, dict[str, float]], now: float) -> dict[SetName, dict[str, float]]:
        """Leave out addresses that are there until the same time: to write one anew would lose what it has counted."""
        text = self._nft.find(f"list table {nft_text.TABLE}")
        there = {
            (name, target): now + remaining
            for name, target, remaining, _ in (nft_text.parse_elements(text) if text else ())
            if name in addresses
        }
        left: dict[SetName, dict[str, float]] = {}
        for name, targets in addresses.items():
            for target, until in targets.items():
                listed = there.get((name, target))
                if listed is None or not (until == listed or abs(until - listed) < ROUNDING):
                    left.setdefault(name, {})[target] = until
        return left

    def _delete(self, addresses: dict[SetName, set[str]]) -> None:
        """Delete addresses that may be absent: adding them first makes sure that the deletion finds them."""
        try:
            script = "".join(
                nft_text.elements(verb, name, targets)
                for name, targets in addresses.items()
                for verb in ("add", "delete")
            )
            self._nft.run(script)
        except NftError as error:
            if error.cause not in ("full", "absent"):
                raise
            # A full set has no room for the absent, and a set that another program removed has none at all.
            text = self._nft.find(f"list table {nft_text.TABLE}")
            there: dict[SetName, set[str]] = {}
            for name, target, *_ in nft_text.parse_elements(text) if text else ():
                if target in addresses.get(name, ()):
                    there.setdefault(name, set()).add(target)
            if there:
                self._nft.run("".join(nft_text.elements("delete", name, items) for name, items in there.items()))

    def _jail_of(self, name: SetName) -> str:
        return self._jails.get(name.jail) or unescape_jail(name.jail) or name.jail

    def _read_layout(self) -> list[tuple[str, str]]:
        # Not `list table`: for that, nft 1.0.6 fetches every element even if it is to print none (0.4 s for 100,000).
        try:
            return nft_text.parse_layout(self._nft.query("list ruleset inet", terse=True))
        except nft_text.UnreadableError:  # somebody's table sleeps; hopefully not ours
            text = self._nft.find(f"list table {nft_text.TABLE}")
            return nft_text.parse_layout(text) if text else []

    def _sets(self) -> list[SetName]:
        """Name the sets of ours that exist; a set that somebody else put into the table is left alone."""
        names = [label.removeprefix("set ") for label, _ in self._read_layout() if label.startswith("set ")]
        return [name for name in map(parse_set_name, names) if name]
