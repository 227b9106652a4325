"""Compares new orders to meter addresses with what the kernel meters already. Every backend uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sipguard.wire_model import Meter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class MeterChanges(NamedTuple):
    """New meters, those that last longer than before, and those that stay but for flows that pass freely."""

    new: list[Meter]
    longer: list[Meter]
    same: list[Meter]


def changes(held: Mapping[str, Meter], orders: Iterable[Meter], now: float) -> MeterChanges:
    """Several jails meter an address: the longest time counts, and it gets no more requests than before."""
    found = MeterChanges([], [], [])
    merged: dict[str, Meter] = {}
    for one in orders:
        before = merged.get(one.address)
        merged[one.address] = one if before is None else _joined(before, one)
    for address, one in merged.items():
        known = held.get(address)
        if known is None or known.until <= now:
            if one.until > now:
                found.new.append(one)
        elif one.until > known.until:
            found.longer.append(_joined(known, one))
        else:
            found.same.append(_joined(known, one))
    return found


def _joined(one: Meter, other: Meter) -> Meter:
    flows = tuple(dict.fromkeys((*one.flows, *other.flows)))
    return Meter(one.address, max(one.until, other.until), min(one.requests, other.requests), flows)
