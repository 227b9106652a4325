"""Every key of a jail's file and of `[defaults]`, one row each: see `schema`."""

from __future__ import annotations

from sipguard.config import validators
from sipguard.config.action_tables import action_tables
from sipguard.config.events import EVENTS
from sipguard.config.key import DURATION, VERDICT, Key

GROWTH = (
    Key(
        "bantime_increment",
        validators.flag,
        False,
        "true or false",
        "Whether repeated bans get longer: twice the time, four times, and so on.",
    ),
    Key("bantime_factor", validators.factor, 1, "a number above 0", "Additional factor for longer bans."),
    Key(
        "bantime_formula",
        validators.formula,
        "",
        "arithmetic over ban.Time, ban.Count and banFactor",
        "Length of a ban after `ban.Count` earlier ones, instead of doubling.",
    ),
    Key(
        "bantime_multipliers",
        validators.each(validators.count, r"[\s,]+"),
        [],
        "a list of whole numbers of 1 or more",
        "Factors of `bantime` for the first, second … ban, instead of a formula; the last one repeats.",
    ),
    Key(
        "bantime_maxtime",
        validators.optional_span,
        "",
        f"{DURATION}, longer than 0",
        "The longest ban; empty: no limit.",
    ),
    Key(
        "bantime_rndtime",
        validators.optional_span,
        "",
        f"{DURATION}, longer than 0",
        "Largest random addition to a longer ban.",
    ),
    Key(
        "bantime_overalljails",
        validators.flag,
        False,
        "true or false",
        "Whether bans of all jails count, not only of this one.",
    ),
)
"""The keys of a jail's `BanGrowth`."""

JAIL = (
    Key("enabled", validators.flag, False, "true or false", "Whether the jail runs."),
    Key(
        "filter",
        validators.text,
        None,
        "the name of a filter, such as asterisk or asterisk[mode=ddos]",
        "What counts as a failure.",
    ),
    Key(
        "logpath",
        validators.at_least_one(validators.each(validators.path, r"\n")),
        None,
        "an absolute path or a list of them; * and ? stand for any text",
        "The logs to follow, all of them; overrides `logpath_first`.",
    ),
    Key(
        "logpath_first",
        validators.at_least_one(validators.each(validators.path, r"\n")),
        None,
        "a list of absolute paths",
        "Possible places of the log, the best first: only the first that is alive is followed.",
    ),
    Key(
        "port",
        validators.ports,
        "all",
        "a port (1 to 65535), a range such as 5060-5061, a service such as sip, a list of these, or all",
        "Destination ports that a banned address may not reach.",
    ),
    Key(
        "protocol",
        validators.protocols,
        "all",
        "tcp, udp, sctp, dccp, a list of these, or all",
        "Protocols that a banned address may not use.",
    ),
    Key(
        "maxretry", validators.count, 5, "a whole number of 1 or more", "Failures within `findtime` that lead to a ban."
    ),
    Key("findtime", validators.finite_span, "10m", f"{DURATION}, longer than 0", "How long a failure counts."),
    Key("bantime", validators.span, "1h", f"{DURATION}, longer than 0, or -1 for ever", "How long a ban lasts."),
    *GROWTH,
    Key(
        "ignoreip",
        validators.each(validators.ignored, validators.IGNORED_SEPARATOR),
        [],
        "an address, a network such as 192.0.2.0/24, a host name, file:/PATH, or a list of these",
        "Who is never banned.",
    ),
    Key("ignoreself", validators.flag, True, "true or false", "Whether the host's own addresses are never banned."),
    Key(
        "ipv6prefix",
        validators.prefix_length,
        64,
        "a whole number from 32 to 128",
        "Prefix length by which IPv6 addresses are counted and banned: a customer has a /64; 128: each address alone.",
    ),
    Key(
        "maxusers",
        validators.count_or_none,
        0,
        "a whole number of 0 or more",
        "An address that has logged in is banned only from this many users on, else reported (see docs/sip.md); 0: off.",
    ),
    Key(
        "ignorecommand",
        validators.optional_text,
        "",
        "a shell command, such as /usr/local/bin/is-known <ip>",
        "Runs before an attempt counts; exit status 0 means: never ban this address.",
    ),
    Key(
        "usedns",
        validators.choice("yes", "warn", "no", "raw"),
        "no",
        "yes, warn, no or raw",
        "Whether host names in a log are resolved.",
    ),
    Key(
        "backend",
        validators.choice("auto", "inotify", "polling", "systemd"),
        "auto",
        "auto, inotify, polling or systemd",
        "How new lines are noticed; `polling` for network file systems; `systemd` reads the journal instead.",
    ),
    Key(
        "journalmatch",
        validators.each(validators.journalmatch, r"\n"),
        [],
        'FIELD=value as journalctl takes it, e.g. "_SYSTEMD_UNIT=asterisk.service", or a list of these',
        "Journal entries to read; empty: those named by the filter.",
    ),
    Key(
        "encoding",
        validators.encoding,
        "utf-8",
        "a text encoding such as utf-8 or latin-1, or auto",
        "Encoding of the log.",
    ),
    Key(
        "timezone",
        validators.timezone,
        "",
        "UTC, UTC+0200 or a zone such as Europe/Zurich",
        "Time zone of dates without one in the log; empty: the host's.",
    ),
    Key(
        "source",
        validators.choice("logs", "wire"),
        "logs",
        "logs or wire",
        "What the jail reads: logs, or SIP messages (see docs/wire.md), which need neither filter nor log.",
    ),
    Key(
        "mode",
        validators.choice("attempts", "scan"),
        "attempts",
        "attempts or scan",
        'With `source = "wire"`: what is counted; `scan` adds calls to nowhere, banned for an hour at most over UDP.',
    ),
    Key(
        "corroborate",
        validators.flag,
        False,
        "true or false",
        "Whether lines and events count as far as the wire confirms them, where it is watched (docs/evidence.md).",
    ),
    *EVENTS,
    Key("verdict", VERDICT, "reject", "reject or drop", "As in `[firewall]`, for this jail."),
    Key(
        "actions",
        action_tables,
        [],
        'a list of tables, each with a type: webhook, mail or exec, as in [{ type = "exec", command = ["/path"] }]',
        "What else happens on a ban; see actions.md.",
    ),
)
