"""Every key of a jail's file and of `[defaults]`, one row each: see `schema`."""

from __future__ import annotations

from sipguard.config import validators
from sipguard.config.action_tables import action_tables
from sipguard.config.events import EVENTS
from sipguard.config.key import Key
from sipguard.config.kind import at_least_one, choice, each

GROWTH = (
    Key(
        "bantime_increment",
        validators.flag,
        False,
        "Whether repeated bans get longer: twice the time, four times, and so on.",
    ),
    Key("bantime_factor", validators.factor, 1, "Additional factor for longer bans."),
    Key(
        "bantime_formula",
        validators.formula,
        "",
        "Length of a ban after `ban.Count` earlier ones, instead of doubling.",
    ),
    Key(
        "bantime_multipliers",
        each(validators.count).saying("a list of whole numbers of 1 or more"),
        [],
        "Factors of `bantime` for the first, second … ban, instead of a formula; the last one repeats.",
    ),
    Key("bantime_maxtime", validators.optional_span, "", "The longest ban; empty: no limit."),
    Key("bantime_rndtime", validators.optional_span, "", "Largest random addition to a longer ban."),
    Key("bantime_overalljails", validators.flag, False, "Whether bans of all jails count, not only of this one."),
)
"""The keys of a jail's `BanGrowth`."""

JAIL = (
    Key("enabled", validators.flag, False, "Whether the jail runs."),
    Key(
        "filter",
        validators.text.saying("the name of a filter, such as asterisk or asterisk[mode=ddos]"),
        None,
        "What counts as a failure.",
    ),
    Key(
        "logpath",
        at_least_one(each(validators.path, r"\n")).saying(
            "an absolute path or a list of them; * and ? stand for any text"
        ),
        None,
        "The logs to follow, all of them; overrides `logpath_first`.",
    ),
    Key(
        "logpath_first",
        at_least_one(each(validators.path, r"\n")).saying("a list of absolute paths"),
        None,
        "Possible places of the log, the best first: only the first that is alive is followed.",
    ),
    Key("port", validators.ports, "all", "Destination ports that a banned address may not reach."),
    Key("protocol", validators.protocols, "all", "Protocols that a banned address may not use."),
    Key(
        "maxretry",
        validators.count.saying("a whole number of 1 or more"),
        5,
        "Failures within `findtime` that lead to a ban.",
    ),
    Key("findtime", validators.finite_span, "10m", "How long a failure counts."),
    Key("bantime", validators.span, "1h", "How long a ban lasts."),
    *GROWTH,
    Key("ignoreip", each(validators.ignored), [], "Who is never banned."),
    Key("ignoreself", validators.flag, True, "Whether the host's own addresses are never banned."),
    Key(
        "ipv6prefix",
        validators.prefix_length,
        64,
        "Prefix length by which IPv6 addresses are counted and banned: a customer has a /64; 128: each address alone.",
    ),
    Key(
        "maxusers",
        validators.count_or_none,
        0,
        "An address that has logged in is banned only from this many users on, else reported (see docs/sip.md); 0: off.",
    ),
    Key(
        "ignorecommand",
        validators.optional_text.saying("a shell command, such as /usr/local/bin/is-known <ip>"),
        "",
        "Runs before an attempt counts; exit status 0 means: never ban this address.",
    ),
    Key("usedns", choice("yes", "warn", "no", "raw"), "no", "Whether host names in a log are resolved."),
    Key(
        "backend",
        choice("auto", "inotify", "polling", "systemd"),
        "auto",
        "How new lines are noticed; `polling` for network file systems; `systemd` reads the journal instead.",
    ),
    Key(
        "journalmatch",
        each(validators.journalmatch, r"\n"),
        [],
        "Journal entries to read; empty: those named by the filter.",
    ),
    Key("encoding", validators.encoding, "utf-8", "Encoding of the log."),
    Key("timezone", validators.timezone, "", "Time zone of dates without one in the log; empty: the host's."),
    Key(
        "source",
        choice("logs", "wire"),
        "logs",
        "What the jail reads: logs, or SIP messages (see docs/wire.md), which need neither filter nor log.",
    ),
    Key(
        "mode",
        choice("attempts", "scan"),
        "attempts",
        'With `source = "wire"`: what is counted; `scan` adds calls to nowhere, banned for an hour at most over UDP.',
    ),
    Key(
        "corroborate",
        validators.flag,
        False,
        "Whether lines and events count as far as the wire confirms them, where it is watched (docs/evidence.md).",
    ),
    *EVENTS,
    Key("verdict", validators.verdict, "reject", "As in `[firewall]`, for this jail."),
    Key("actions", action_tables, [], "What else happens on a ban; see actions.md."),
)
