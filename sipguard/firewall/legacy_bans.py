"""The rules of the iptables backend that are bans: one per address in a jail's chain, which names its end in its comment."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from sipguard.errors import FirewallError
from sipguard.firewall import ipset_text
from sipguard.firewall.nft_names import escape_jail, unescape_jail
from sipguard.model import FOREVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sipguard.firewall.legacy_table import LegacyTable, RulePattern, TableEntry
    from sipguard.firewall.targets import Target
    from sipguard.model import RejectWith, Verdict

_FEW = 20
"""Rules that are removed one by one; more are removed by writing the chain anew."""
_JAIL_TEXT = 200
"""Letters of a jail's name in a comment at most."""

Content = dict["Target", float]


class LegacyBan(NamedTuple):
    """What one rule says. `jail` is as much of the jail's name, escaped, as went into the comment."""

    target: Target
    until: float
    jail: str

    def jail_of(self, known: Iterable[str]) -> str:
        """Give the jail's name, best as one of these."""
        names = {escape_jail(jail)[:_JAIL_TEXT]: jail for jail in known}
        return names.get(self.jail) or unescape_jail(self.jail) or self.jail


class LegacyBans:
    """The bans of one family's table. Its methods are for within a change or after a read of the table."""

    def __init__(self, table: LegacyTable, reject_with: RejectWith) -> None:
        self._table = table
        self._reject_with = reject_with
        self._patterns: dict[str, RulePattern] = {}

    def read(self, chain: str) -> Iterator[LegacyBan]:
        """The bans of a chain in their order; other rules are passed over."""
        pattern = self._pattern("reject")
        for entry in self._table.entries(chain):
            if ban := _read(pattern, entry):
                yield ban

    def content(self, chain: str) -> Content:
        """What a jail's chain rejects, until when. The second of two rules for one address counts for nothing."""
        found: Content = {}
        for ban in self.read(chain):
            found.setdefault(ban.target, ban.until)
        return found

    def write(self, chain: str, jail: str, verdict: Verdict, content: Mapping[Target, float]) -> None:
        """Give a chain these bans and nothing else."""
        pattern = self._pattern(verdict)
        self._table.clear(chain)
        for target, until in content.items():
            self._table.append(chain, pattern.rule(target, _comment(jail, until)))

    def edit(self, chain: str, jail: str, verdict: Verdict, more: Mapping[Target, float], fewer: set[Target]) -> None:
        """Add `more` and take out `fewer`; an address that is there already gets the new end. Raises `FirewallError`."""
        if chain not in self._table.chains():
            raise FirewallError(f"iptables: chain {chain} is gone: another program removed it")
        there = self.content(chain)
        stale = {target for target in there if target in fewer or more.get(target, there[target]) != there[target]}
        if len(stale) > _FEW:
            left = {target: until for target, until in there.items() if target not in stale}
            self.write(chain, jail, verdict, left | dict(more))
            return
        pattern = self._pattern(verdict)
        for target in stale:
            self._table.remove(chain, pattern.rule(target, _comment(jail, there.pop(target))), pattern.mask)
        for target, until in more.items():
            if target not in there:
                self._table.append(chain, pattern.rule(target, _comment(jail, until)))

    def _pattern(self, verdict: Verdict) -> RulePattern:
        family = self._table.family
        reject_with = "DROP" if verdict == "drop" else ipset_text.ICMP_NAMES[family][self._reject_with]
        if reject_with not in self._patterns:
            self._patterns[reject_with] = self._table.pattern(reject_with)
        return self._patterns[reject_with]


def _comment(jail: str, until: float) -> str:
    return f"sipguard {'forever' if until == FOREVER else f'{until:.3f}'} {escape_jail(jail)[:_JAIL_TEXT]}"


def _read(pattern: RulePattern, entry: TableEntry) -> LegacyBan | None:
    """Read one of our rules; None for another."""
    words = pattern.comment_of(entry).split(" ")
    if len(words) != 3 or words[0] != "sipguard":
        return None
    address, length = pattern.source(entry)
    whole = length == 8 * len(address)
    target: Target = ip_address(address) if whole else ip_network((address, length))
    try:
        return LegacyBan(target, FOREVER if words[1] == "forever" else float(words[1]), words[2])
    except ValueError:
        return None
