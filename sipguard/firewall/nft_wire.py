"""The wire's part of the nftables backend: a table of its own, so that to list the bans fetches none of its elements."""

from __future__ import annotations

import json
import logging
from itertools import product
from typing import TYPE_CHECKING

from sipguard.errors import FirewallError
from sipguard.firewall import nft_text
from sipguard.firewall import nft_wire_text as text
from sipguard.firewall.meters import changes
from sipguard.firewall.nft_run import NftError
from sipguard.model import Entry
from sipguard.wire_model import Meter, Watch, Watched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipguard.firewall.nft_run import NftRunner
    from sipguard.model import Clock

log = logging.getLogger(__name__)


class NftWire:
    """Rules that copy SIP packets, and the meter. Raises `FirewallError` where the kernel refuses; then nothing was changed."""

    can_meter = True

    def __init__(self, runner: NftRunner, clock: Clock) -> None:
        self._nft = runner
        self._clock = clock
        self._watch: Watch | None = None
        self._made: list[str] = []
        """The layout as it was made."""
        self._meters: dict[str, Meter] = {}
        """What is metered, to be put back with the table."""

    def watch(self, watch: Watch | None) -> None:
        """Copy these packets from now on; None: none, and meter nobody. Whom an earlier run has metered still is."""
        first, self._watch = self._watch is None, watch
        if watch is None:
            self._meters, self._made = {}, []
            if self._layout():
                self._nft.run(f"add table {text.TABLE}\ndelete table {text.TABLE}\n")
            return
        if first:
            self._meters = {one.address: Meter(one.address, one.until, 1) for one in self.metered()}
        self._make(watch)

    def _make(self, watch: Watch) -> None:
        now = self._clock()
        self._meters = {name: one for name, one in self._meters.items() if one.until > now}
        script = text.script(watch)
        try:
            self._nft.run(script)
        except NftError as error:
            if error.cause not in ("exists", "other"):
                raise
            # A table of an earlier version, or one that somebody has changed, cannot be made over.
            self._nft.run(f"add table {text.TABLE}\ndelete table {text.TABLE}\n{script}")
        self._nft.run(text.meter_script(self._meters.values(), now))
        self._made = self._layout()

    def restore(self) -> None:
        """Make what is missing again. What the kernel refuses is logged: no ban depends on it."""
        if self._watch is None or not self.verify():
            return
        try:
            self._make(self._watch)
        except FirewallError as error:
            self._made = []
            log.error("Firewall: the SIP packets of this machine cannot be watched: %s", error)

    def verify(self) -> list[str]:
        """What is missing of what was made."""
        if not self._made:
            return []
        found = self._layout()
        if not found:
            return [f"table {text.TABLE} is gone"]
        return [] if found == self._made else [f"rules of table {text.TABLE} are missing or changed"]

    def meter(self, meters: Sequence[Meter]) -> None:
        """Let only a few more SIP requests over UDP of these through; who is metered longer already goes on as he was.

        Where the kernel refuses they are metered as soon as the table is put back.
        """
        self._must_watch()
        now = self._clock()
        new, longer, same = changes(self._meters, [one for one in meters if text.set_of(one.address)[1]], now)
        self._meters |= {one.address: one for one in (*new, *longer, *same)}
        again = text.unmeter_script([one.address for one in longer])
        spent = [one for one in same if not one.requests]
        self._nft.run(again + text.meter_script([*new, *longer, *spent], now) + text.flows_script(same, now))
        if len(self._meters) > 2 * text.MOST_REQUESTS:
            self._meters = {name: one for name, one in self._meters.items() if one.until > now}

    def unmeter(self, addresses: Sequence[str]) -> None:
        """Let these through again."""
        self._must_watch()
        known = [address for address in addresses if text.set_of(address)[1]]
        for address in known:
            self._meters.pop(address, None)
        self._nft.run(text.unmeter_script(known))

    def metered(self) -> list[Entry]:
        """The addresses that are metered now. `until` may be up to one second early."""
        now = self._clock()
        found: dict[str, float] = {}
        for name, kind in product(text.METERS, text.KINDS) if self._watch else ():
            listed = self._nft.find(f"list set {text.TABLE} {name}{kind.suffix}")
            for item in nft_text.read_items(listed) if listed else ():
                for element in item.get("set", {}).get("elem", ()):
                    if one := text.remaining(element):
                        address = one[0] + ("/64" if kind.suffix == "64" else "")
                        found[address] = max(now + one[1], found.get(address, 0.0))
        return [Entry(address, "", until) for address, until in found.items()]

    def watched(self) -> Watched:
        """What the kernel has counted since the table was made."""
        listed = self._nft.find(f"list counters table {text.TABLE}") if self._watch else None
        counted = {
            item["counter"]["name"]: int(item["counter"]["packets"])
            for item in (nft_text.read_items(listed) if listed else ())
            if "counter" in item
        }
        now = self._clock()
        live = sum(one.until > now for one in self._meters.values())
        return Watched(counted.get(text.LIMITED, 0), counted.get(text.HELD_BACK, 0), live)

    def show(self) -> str:
        """The table, without the elements of its sets."""
        return self._nft.show(f"list table {text.TABLE}") if self._layout() else ""

    def flush(self) -> None:
        """Remove the table."""
        self.watch(None)

    def _must_watch(self) -> None:
        if self._watch is None:
            raise FirewallError("nothing is metered: the wire is not watched")

    def _layout(self) -> list[str]:
        """The table, chains, sets and rules as nft lists them, without handles."""
        layout = []
        for item in nft_text.read_items(self._nft.query("list ruleset inet", terse=True)):
            for kind in ("table", "set", "chain", "rule"):
                if kind in item and f"inet {item[kind].get('table', item[kind].get('name'))}" == text.TABLE:
                    kept = {key: value for key, value in item[kind].items() if key not in ("handle", "elem")}
                    layout.append(json.dumps({kind: kept}, sort_keys=True))
        return layout
