"""A running jail as Fail2ban's clients see it, and back: `Options` made of a guard, and a guard run by other `Options`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace

from sipguard.addresses import canonical
from sipguard.daemon.guard import Guard
from sipguard.detection.detector import Detector
from sipguard.errors import ConfigError
from sipguard.fail2ban.commands.regexes import fixed
from sipguard.fail2ban.host import Options
from sipguard.fail2ban.protocol import RegexError
from sipguard.model import FOREVER, Clock, Jail, UseDns
from sipguard.policy.ignore import IgnoreList

_USE_DNS: dict[str, UseDns] = {"yes": "yes", "warn": "warn", "no": "no", "raw": "raw"}


def options_of(jail: Jail) -> Options:
    """What a jail of the configuration has."""
    found = jail.filter
    return Options(
        failregex=tuple(fixed(one, jail.usedns) for one in found.failregex),
        ignoreregex=tuple(fixed(one, jail.usedns) for one in found.ignoreregex),
        prefregex=fixed(found.prefregex or "", jail.usedns),
        datepattern=found.datepattern,
        maxlines=found.maxlines,
        journalmatch=() if jail.logpath else tuple(tuple(one.split()) for one in found.journalmatch),
        logpath=jail.logpath,
        logencoding=jail.encoding,
        logtimezone=jail.timezone,
        usedns=jail.usedns,
        ignoreself=jail.ignoreself,
        ignoreip=tuple(_canonical(one) for one in jail.ignoreip),
        findtime=int(jail.findtime) if jail.findtime.is_integer() else jail.findtime,
        maxretry=jail.maxretry,
        bantime=-1 if math.isinf(jail.bantime) else int(jail.bantime),
    )


def run_by(guard: Guard, old: Options, new: Options, own: Callable[[], list[str]], clock: Clock) -> None:
    """Run the guard by `new` from now on; `own` gives the machine's addresses. Raises, changing nothing, what clients know."""
    jail = jail_with(guard.jail, new)
    detector = None
    if jail.filter != guard.jail.filter or (new.logencoding, new.logtimezone) != (old.logencoding, old.logtimezone):
        detector = _detector(jail, new, clock)
        detector.counts = guard.detector.counts
    ignore = None
    if (new.ignoreip, new.ignoreself) != (old.ignoreip, old.ignoreself):
        ignore = IgnoreList(jail.ignoreip, own=own() if jail.ignoreself else ())
    guard.jail = guard.judge.jail = jail
    guard.detector = detector or guard.detector
    guard.judge.ignore = ignore or guard.judge.ignore
    guard.judge.window.maxretry = jail.maxretry
    guard.judge.window.findtime = jail.findtime


def jail_with(jail: Jail, options: Options) -> Jail:
    """The jail with these options. An idle one follows no log."""
    found = replace(
        jail.filter,
        failregex=options.failregex,
        ignoreregex=options.ignoreregex,
        prefregex=options.prefregex or None,
        datepattern=options.datepattern,
        maxlines=options.maxlines,
    )
    return replace(
        jail,
        filter=found,
        logpath=() if options.idle else options.logpath,
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
