"""The filter table of legacy iptables through python-iptables (libiptc), used so that nothing is lost.

The library alone loses bans silently: it takes no lock, commits by itself and hides when that fails. So here: autocommit off,
the xtables lock held, each change made on a fresh copy of the table, and tried again when the kernel says that somebody else
was faster. Its way to build rules also redirects the process's standard output for a moment, which a daemon with a log there
cannot have. So rules are built once as a pattern, without the step that does so, and the bytes of address and comment are
put in per ban, which is a hundred times faster as well.

Not safe for threads: one process-wide table. The daemon calls from one thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import sys
import time
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import iptc

from sipguard.errors import FirewallError
from sipguard.firewall import xt_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sipguard.firewall.nft_names import Family
    from sipguard.firewall.targets import Target

LOCK = Path("/run/xtables.lock")
"""What iptables-legacy locks (xtables.h, XT_LOCK_NAME)."""
LOCK_WAIT = 10.0
"""Seconds to wait for the lock."""
_TRIES = 20
_PAUSE = 0.01
_AGAIN = "Resource temporarily unavailable"
_COMMENT = 256
"""XT_MAX_COMMENT_LEN of linux/netfilter/xt_comment.h, with the NUL."""
_HEADER = {"4": 84, "6": 136}
"""Bytes of struct ipt_ip (ip_tables.h) and ip6t_ip6 (ip6_tables.h)."""
_ENTRY = {"4": 112, "6": 168}
"""Bytes of struct ipt_entry and ip6t_entry: behind the first come nfcache, two offsets, comefrom and the counters."""
_TARGET_OFFSET = {family: size + 4 for family, size in _HEADER.items()}
_PROTOCOLS = {"tcp": "6", "udp": "17", "dccp": "33", "sctp": "132"}
_NAME = 29
"""XT_EXTENSION_MAXNAMELEN."""


class _Rule4(iptc.Rule):  # type: ignore[misc]
    # The library looks for a target's name in all tables; to open nat, mangle and raw would make them on this host.
    tables = property(lambda _self: [])


class _Rule6(iptc.Rule6):  # type: ignore[misc]
    tables = property(lambda _self: [])


class LegacyTable:
    """The filter table of one family. Its methods but `change` and `read` are for within these. Raises `FirewallError`."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self._rule = _Rule4 if family == "4" else _Rule6
        kind = iptc.Table if family == "4" else iptc.Table6
        with self._told():
            self._table: Any = kind("filter", autocommit=False)

    def change(self, edit: Callable[[], None]) -> None:
        """Make the changes of `edit` in one commit; `edit` is called again when somebody else was faster."""
        with _locked():
            for tried in range(_TRIES):
                with self._told():
                    self._table.refresh()
                    edit()
                    try:
                        self._table.commit()
                    except iptc.IPTCError as error:
                        if _AGAIN not in str(error) or tried == _TRIES - 1:
                            raise
                        time.sleep(_PAUSE)
                        continue
                    # A second commit of one copy is refused, so the next one needs a fresh one; it shows what was made.
                    self._table.refresh()
                    return

    def read(self) -> None:
        """Take a fresh copy of the table."""
        with self._told():
            self._table.refresh()

    def chains(self) -> list[str]:
        return [chain.name for chain in self._table.chains]

    def entries(self, chain: str) -> Iterator[TableEntry]:
        """The rules of a chain, as the kernel holds them."""
        entry = self._table.first_rule(chain)
        while entry:
            raw = ctypes.string_at(ctypes.addressof(entry), entry.next_offset)
            target = self._table.get_target(entry) or b""
            yield TableEntry(raw, target.decode("ascii", "replace"), entry.target_offset, self.family)
            entry = self._table.next_rule(entry)

    def create(self, chain: str) -> None:
        self._table.create_chain(chain)

    def clear(self, chain: str) -> None:
        self._table.flush_entries(chain)

    def delete(self, chain: str) -> None:
        """Remove a chain that has no rules."""
        self._table.delete_chain(chain)

    def append(self, chain: str, raw: bytes) -> None:
        self._table.append_entry(chain, ctypes.create_string_buffer(raw, len(raw)))

    def insert(self, chain: str, raw: bytes, place: int = 0) -> None:
        """Put a rule before that at `place`, from 0."""
        self._table.insert_entry(chain, ctypes.create_string_buffer(raw, len(raw)), place)

    def remove(self, chain: str, raw: bytes, mask: bytes) -> None:
        """Remove the first rule like this one."""
        self._table.delete_entry(
            chain, ctypes.create_string_buffer(raw, len(raw)), ctypes.create_string_buffer(mask, len(mask))
        )

    def jump(self, target: str, protocol: str = "", ports: str = "") -> tuple[bytes, bytes]:
        """Build a rule that goes to a chain; gives it with its mask for `remove`."""
        with self._told():
            rule = self._rule()
            if protocol:
                rule.protocol = _PROTOCOLS[protocol]
            if ports:
                # Its bytes, not `dports = …`: python-iptables misreads the options of a match since iptables 1.8.11.
                match, info = rule.create_match("multiport"), xt_rules.multiport(ports)
                ctypes.memmove(match.match.data, info, len(info))
            rule.create_target("DROP")
            raw, mask = bytearray(rule.rule), bytes(rule.mask)
        # libiptc takes a standard target by its name: struct xt_entry_target has it behind its size.
        name = int.from_bytes(raw[_TARGET_OFFSET[self.family] :][:2], sys.byteorder) + 2
        raw[name : name + _NAME] = target.encode("ascii").ljust(_NAME, b"\0")
        return bytes(raw), mask

    def pattern(self, reject_with: str) -> RulePattern:
        """Build a rule that rejects an address (`DROP` drops it) and has a comment."""
        with self._told():
            rule = self._rule()
            rule.src = "192.0.2.1" if self.family == "4" else "2001:db8::1"
            rule.create_match("comment").comment = "X" * (_COMMENT - 1)
            target = rule.create_target("DROP" if reject_with == "DROP" else "REJECT")
            if reject_with != "DROP":
                target.reject_with = reject_with
            raw = bytes(rule.rule)
            return RulePattern(raw, bytes(rule.mask), raw.index(b"X" * (_COMMENT - 1)), self.family)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except iptc.IPTCError as error:
            text = str(error)
            if "Permission denied" in text or "Operation not permitted" in text:
                text = "run as root: legacy tables need CAP_NET_ADMIN and CAP_NET_RAW"
            elif "initialize" in text:
                text = "this kernel has no legacy tables: choose the firewall nftables"
            raise FirewallError(f"iptables: {text}") from None


class TableEntry(NamedTuple):
    """A rule in the kernel's own form."""

    raw: bytes
    target: str
    target_offset: int
    family: Family

    @property
    def match(self) -> tuple[bytes, ...]:
        """What it matches: addresses, interfaces and protocol, then name and data of each match; no counters."""
        header = _HEADER[self.family]
        parts = [self.raw[:header]]
        place = _ENTRY[self.family]
        while place < self.target_offset:  # struct xt_entry_match: size, name, revision, data
            size = max(int.from_bytes(self.raw[place : place + 2], sys.byteorder), 2 + _NAME)
            # The kernel leaves in the name's field, behind its end, what was there before.
            name = self.raw[place + 2 : place + 2 + _NAME].split(b"\0")[0]
            parts += [name, self.raw[place + 2 + _NAME : place + size]]
            place += size
        return tuple(parts)

    @property
    def matches_all(self) -> bool:
        """Whether it has no condition."""
        return self.target_offset == _ENTRY[self.family] and not any(self.raw[: _HEADER[self.family]])


class RulePattern(NamedTuple):
    """A rule to copy: the same but for address and comment."""

    raw: bytes
    mask: bytes
    comment: int
    family: Family

    def rule(self, target: Target, comment: str) -> bytes:
        """The rule for one address or network."""
        network = ip_network(target)
        address, mask = network.network_address.packed, network.netmask.packed
        size = len(address)
        raw = bytearray(self.raw)
        raw[0:size] = address
        raw[2 * size : 3 * size] = mask
        raw[self.comment : self.comment + _COMMENT] = comment.encode("ascii")[: _COMMENT - 1].ljust(_COMMENT, b"\0")
        return bytes(raw)

    def comment_of(self, entry: TableEntry) -> str:
        """The comment of a rule that was made by this pattern; empty for another."""
        if len(entry.raw) != len(self.raw):
            return ""
        text = entry.raw[self.comment : self.comment + _COMMENT].split(b"\0")[0]
        return text.decode("ascii", "replace")

    def source(self, entry: TableEntry) -> tuple[bytes, int]:
        """Address and prefix length of a rule that was made by this pattern."""
        size = 4 if self.family == "4" else 16
        mask = int.from_bytes(entry.raw[2 * size : 3 * size], "big")
        return entry.raw[:size], mask.bit_count()


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    try:
        lock = os.open(LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FirewallError(f"iptables: {LOCK} cannot be opened: {error.strerror}; run as root") from None
    try:
        end = time.monotonic() + LOCK_WAIT
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise FirewallError(f"iptables: another program held {LOCK} for {LOCK_WAIT:g} s") from None
                time.sleep(_PAUSE)
        yield
    finally:
        os.close(lock)
