"""A running jail as Fail2ban's clients see it, and back: `Options` made of a guard, and a guard run by other `Options`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sipguard.addresses import canonical
from sipguard.daemon.compat.commands.actions import NEW
from sipguard.daemon.compat.commands.jail_set import truth
from sipguard.daemon.compat.commands.regexes import fixed
from sipguard.daemon.compat.host import Options
from sipguard.daemon.jail_runner import JailRunner
from sipguard.detection.detector import Detector
from sipguard.durations import seconds
from sipguard.errors import ConfigError
from sipguard.fail2ban.protocol.messages import RegexError
from sipguard.formula import Formula
from sipguard.model import FOREVER, Action, BanGrowth, Clock, IgnoreCache, Jail, NativeAction, UseDns
from sipguard.policy.ignore import IgnoreList

T = TypeVar("T")

_USE_DNS: dict[str, UseDns] = {"yes": "yes", "warn": "warn", "no": "no", "raw": "raw"}
_BLANK = Options()
_STEADY = BanGrowth()


def options_of(jail: Jail) -> Options:
    """What a jail of the configuration has."""
    found = jail.filter
    cache = jail.ignorecache
    return Options(
        failregex=tuple(fixed(one, jail.usedns) for one in found.failregex),
        ignoreregex=tuple(fixed(one, jail.usedns) for one in found.ignoreregex),
        prefregex=fixed(found.prefregex or "", jail.usedns),
        datepattern=found.datepattern,
        maxlines=found.maxlines,
        journal=jail.journal,
        journalmatch=_matches(found.journalmatch) if jail.journal else (),
        logpath=jail.logpath,
        logencoding=jail.encoding,
        logtimezone=jail.timezone,
        usedns=jail.usedns,
        ignoreself=jail.ignoreself,
        ignoreip=tuple(_canonical(one) for one in jail.ignoreip),
        ignorecommand=jail.ignorecommand or False,
        ignorecache=(cache.key, cache.max_count, whole(cache.max_time)) if cache else None,
        findtime=whole(jail.findtime),
        maxretry=jail.maxretry,
        maxmatches=_BLANK.maxmatches if jail.maxmatches is None else jail.maxmatches,
        bantime=-1 if math.isinf(jail.bantime) else int(jail.bantime),
        bantime_extra=_extra(jail.growth),
        actions={one.name: _properties(one) for one in jail.actions},
    )


def _properties(action: Action | NativeAction) -> dict[str, Any]:
    """Of an action of Fail2ban's kind; one of sipguard's own has a name alone, since its settings may be secrets."""
    if isinstance(action, NativeAction):
        return dict(NEW)
    return {**NEW, **action.properties, **action.flags, **action.commands}


def _matches(lines: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Matches of journalctl(1), parted by lines or by `+`."""
    return tuple(tuple(part.split()) for line in lines for part in line.split(" + "))


def _extra(growth: BanGrowth) -> dict[str, Any]:
    """What of `bantime.…` differs from the default, as it would be written."""
    extra: dict[str, Any] = {"increment": True} if growth.increment else {}
    if growth.factor != _STEADY.factor:
        extra["factor"] = str(whole(growth.factor))
    if growth.multipliers:
        extra["multipliers"] = " ".join(map(str, growth.multipliers))
    given = {"formula": growth.formula, "maxtime": growth.maxtime, "rndtime": growth.rndtime}
    extra |= {name: whole(value) for name, value in given.items() if value is not None}
    return extra | ({"overalljails": True} if growth.overalljails else {})


def _growth(extra: Mapping[str, Any]) -> BanGrowth:
    """Raises `ValueError` for a factor, a formula or multipliers that cannot be reckoned with."""
    formula = extra.get("formula")
    if formula is not None:
        Formula(str(formula))
    return BanGrowth(
        increment=truth(extra.get("increment", False)),
        factor=float(seconds(extra.get("factor", 1.0))),
        formula=formula,
        multipliers=tuple(int(one) for one in str(extra.get("multipliers", "")).split()),
        maxtime=extra.get("maxtime"),
        rndtime=extra.get("rndtime"),
        overalljails=truth(extra.get("overalljails", False)),
    )


def whole(value: T) -> T | int:
    """Spans of the configuration are whole numbers to Fail2ban where they can be."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def run_by(runner: JailRunner, old: Options, new: Options, own: Callable[[], list[str]], clock: Clock) -> None:
    """Run the guard by `new` from now on; `own` gives the machine's addresses. Raises, changing nothing, what clients know."""
    jail = jail_with(runner.jail, new)
    detector = None
    if jail.filter != runner.jail.filter or (new.logencoding, new.logtimezone) != (old.logencoding, old.logtimezone):
        detector = _detector(jail, new, clock)
    ignore = None
    if (new.ignoreip, new.ignoreself) != (old.ignoreip, old.ignoreself):
        ignore = IgnoreList(jail.ignoreip, own=own() if jail.ignoreself else ())
    runner.jail = runner.judge.jail = jail
    runner.detector = detector or runner.detector
    runner.judge.ignore = ignore or runner.judge.ignore
    runner.judge.window.maxretry = jail.maxretry
    runner.judge.window.findtime = jail.findtime


def jail_with(jail: Jail, options: Options) -> Jail:
    """The jail with these options. An idle one follows no log."""
    found = replace(
        jail.filter,
        failregex=options.failregex,
        ignoreregex=options.ignoreregex,
        prefregex=options.prefregex or None,
        datepattern=options.datepattern,
        maxlines=options.maxlines,
        journalmatch=tuple(map(" ".join, options.journalmatch)) if options.journal else jail.filter.journalmatch,
    )
    cache = options.ignorecache
    return replace(
        jail,
        filter=found,
        logpath=() if options.idle else options.logpath,
        journal=options.journal and not options.idle,
        growth=_growth(options.bantime_extra),
        ignorecommand=str(options.ignorecommand or ""),
        ignorecache=IgnoreCache(cache[0], cache[1], float(cache[2])) if cache else None,
        maxmatches=options.maxmatches,
        encoding=options.logencoding,
        timezone=options.logtimezone,
        usedns=_USE_DNS[options.usedns],
        ignoreself=options.ignoreself,
        ignoreip=options.ignoreip,
        findtime=float(options.findtime),
        maxretry=max(1, options.maxretry),
        bantime=FOREVER if options.bantime < 0 else float(options.bantime),
    )


def _detector(jail: Jail, options: Options, clock: Clock) -> Detector:
    try:
        Detector(replace(jail.filter, datepattern=None), clock=clock, timezone=jail.timezone)
    except ConfigError as error:
        if error.what.startswith("timezone"):
            raise ValueError(f"Unknown or unsupported time zone: {options.logtimezone!r}") from None
        raise RegexError(str(error)) from None
    try:
        return Detector(jail.filter, clock=clock, timezone=jail.timezone, encoding=jail.encoding)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _canonical(entry: str) -> str:
    with contextlib.suppress(ValueError):
        return canonical(entry)
    return entry
