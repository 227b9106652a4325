"""The jail of bans by hand that name no jail: every port, every protocol. It is there for as long as it holds a ban."""

from __future__ import annotations

from collections.abc import Iterable

from sipguard.model import BY_HAND, Ban, Filter, Jail, Rule

BANTIME = 86_400.0
"""Default length of a ban by hand, in seconds."""


def jail_by_hand(jails: Iterable[Jail], ignoreip: Iterable[str]) -> Jail:
    """It; whom one of these jails never bans, and the defaults' `ignoreip`, is not banned here either."""
    never = dict.fromkeys([*ignoreip, *(one for jail in jails for one in jail.ignoreip)])
    return Jail(
        BY_HAND,
        Filter(BY_HAND, ()),
        rule=Rule(BY_HAND),
        bantime=BANTIME,
        ignoreip=tuple(never),
        lag="now",
        origin="sipguard ban",
    )


def any_by_hand(bans: Iterable[Ban]) -> bool:
    """Whether one of these bans needs the jail."""
    return any(ban.jail == BY_HAND for ban in bans)
