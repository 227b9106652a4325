"""Every key of the native configuration, one row each: files are read, errors told and the manual checked by these.

To add a key: add a row here and one to docs/configuration.md. A jail key whose name is a field of `Jail` goes there by
itself, a global one whose field is in `Settings` likewise; any other meaning is given in `jail_file` or `settings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sipguard.config import validators
from sipguard.config.action_tables import action_tables
from sipguard.config.messages import shown
from sipguard.config.validators import BadDetailError, BadItemError, Reader
from sipguard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Key:
    """One key: how its value is read, what it is when nobody gives it, and what people are told."""

    name: str
    parse: Reader
    default: Any
    """As it would be written in TOML; None when there is no default."""
    allowed: str
    """Completes `not allowed; …`."""
    help: str
    """One line for the manual."""
    field: str = ""
    """The field of `Settings` or `Jail`, where it is not the key's name."""
    secret: bool = False
    """Its value is shown to nobody."""

    def read(self, value: object, where: str, prefix: str = "") -> Any:
        """The parsed value.

        Raises:
            ConfigError: it is not allowed; the line names key, value and what is allowed.
        """
        try:
            return self.parse(value)
        except BadItemError as error:
            bad = error.item
        except BadDetailError as error:
            raise ConfigError(f"{prefix}{self.name}{error}", where) from None
        except (ValueError, TypeError, OverflowError):  # of these the last: a number too large for a float
            bad = value
        found = "…" if self.secret else shown(bad)
        raise ConfigError(f"{prefix}{self.name} = {found}: not allowed; {self.allowed}", where)


_DURATION = "a time such as 600, 10m, 1h30m or 1d"
_VERDICT = validators.choice("reject", "drop")

GLOBAL = (
    Key(
        "state_dir",
        validators.path,
        "/var/lib/sipguard",
        "an absolute path",
        "Folder of the database that outlives a restart.",
    ),
    Key("socket", validators.path, "/run/sipguard/sipguard.sock", "an absolute path", "Control socket of the daemon."),
    Key(
        "socket_group",
        validators.optional_text,
        "",
        "the name of a group",
        "Group that may use the socket; none: root alone.",
    ),
    Key(
        "read_socket",
        validators.optional_path,
        "",
        "an absolute path, or nothing",
        "Second socket, which answers questions and changes nothing; none: `…-read.sock` beside `socket`.",
    ),
    Key(
        "read_socket_group",
        validators.optional_text,
        "",
        "the name of a group",
        "Group that may use the reading socket; none: that of `socket_group`.",
    ),
    Key(
        "logtarget",
        validators.logtarget,
        "STDOUT",
        "STDOUT, STDERR, SYSLOG or an absolute path",
        "Where sipguard's own log goes.",
    ),
    Key(
        "loglevel",
        validators.choice("CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"),
        "INFO",
        "CRITICAL, ERROR, WARNING, NOTICE, INFO or DEBUG",
        "The least severe message that is logged.",
    ),
    Key(
        "logformat",
        validators.choice("fail2ban", "json"),
        "fail2ban",
        "fail2ban or json",
        "Fail2ban's lines, or a JSON object a line.",
    ),
)

FIREWALL = (
    Key(
        "backend",
        validators.choice("auto", "nftables", "ipset", "iptables", "memory"),
        "auto",
        "auto, nftables, ipset, iptables or memory",
        "What enforces bans; `auto` takes what the host uses, `memory` enforces nothing.",
        field="firewall",
    ),
    Key("verdict", _VERDICT, "reject", "reject or drop", "What happens to a banned address's packets, in every jail."),
    Key(
        "reject_with",
        validators.choice("port-unreachable", "host-unreachable", "admin-prohibited"),
        "port-unreachable",
        "port-unreachable, host-unreachable or admin-prohibited",
        "What ICMP tells a rejected sender; TCP is reset.",
    ),
    Key("all_ports", validators.flag, False, "true or false", "Reject on every port, whatever the jails say."),
    Key(
        "chain",
        validators.text,
        "sipguard",
        "a name of its own, up to 16 letters, digits, - and _",
        "Name of the chain that the backends ipset and iptables make; some control panels want f2b in it.",
    ),
    Key(
        "hooks",
        validators.each(validators.chain, r"[\s,]+"),
        [],
        "a chain of the filter table such as FORWARD, or a list of these",
        "Further chains that lead there, beside INPUT and DOCKER-USER: FORWARD where the server is behind this host.",
    ),
    Key(
        "set_size",
        validators.count,
        1_000_000,
        "a whole number, 1 to 1000000",
        "Addresses of each family that a jail may ban at once; from 90 % on the log warns.",
    ),
    Key("flush_on_stop", validators.flag, False, "true or false", "Whether a stop removes all bans from the firewall."),
)

METRICS = (
    Key(
        "listen",
        validators.listen,
        "",
        "a local address with a port, such as 127.0.0.1:9191 or [::1]:9191, or the absolute path of a socket",
        "Where Prometheus finds numbers; none: nowhere.",
        field="metrics",
    ),
)

HEP = (
    Key(
        "listen",
        validators.address_with_port,
        "",
        "an address with a port, such as 127.0.0.1:9060 or [::1]:9060, or nothing",
        "Where servers send copies of their SIP messages as HEP packets (docs/wire.md); none: nowhere.",
        field="hep_listen",
    ),
    Key(
        "key",
        validators.secret,
        "",
        "a text without line breaks",
        "What the senders' packets must carry; without it their word is as good as a line of log.",
        field="hep_key",
        secret=True,
    ),
    Key(
        "from",
        validators.each(validators.network, r"[\s,]+"),
        [],
        "an address, a network such as 192.0.2.0/24, or a list of these",
        "Who may send HEP packets; none: whoever reaches the listener.",
        field="hep_from",
    ),
)

GROWTH = (
    Key(
        "bantime_increment",
        validators.flag,
        False,
        "true or false",
        "Whether who was banned before is banned for longer: twice the time, four times, and so on.",
    ),
    Key("bantime_factor", validators.factor, 1, "a number above 0", "By what longer bans are multiplied as well."),
    Key(
        "bantime_formula",
        validators.formula,
        "",
        "arithmetic over ban.Time, ban.Count and banFactor",
        "How long a ban of one banned `ban.Count` times before is, instead of doubling.",
    ),
    Key(
        "bantime_multipliers",
        validators.each(validators.count, r"[\s,]+"),
        [],
        "a list of whole numbers of 1 or more",
        "By what `bantime` is multiplied the first, second … time, instead of a formula; the last one stays.",
    ),
    Key(
        "bantime_maxtime",
        validators.optional_span,
        "",
        f"{_DURATION}, longer than 0",
        "The longest ban; none: no limit.",
    ),
    Key(
        "bantime_rndtime",
        validators.optional_span,
        "",
        f"{_DURATION}, longer than 0",
        "Up to so much is added to a longer ban at random.",
    ),
    Key(
        "bantime_overalljails",
        validators.flag,
        False,
        "true or false",
        "Whether the bans of every jail count, not this one's alone.",
    ),
)
"""What makes a jail's `BanGrowth`."""

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
        "The logs to follow, every one of them; wins over `logpath_first`.",
    ),
    Key(
        "logpath_first",
        validators.at_least_one(validators.each(validators.path, r"\n")),
        None,
        "a list of absolute paths",
        "Where the log may be: the first that exists is followed, the others are not.",
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
    Key("findtime", validators.finite_span, "10m", f"{_DURATION}, longer than 0", "How long a failure counts."),
    Key("bantime", validators.span, "1h", f"{_DURATION}, longer than 0, or -1 for ever", "How long a ban lasts."),
    *GROWTH,
    Key(
        "ignoreip",
        validators.each(validators.ignored, r"[\s,]+"),
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
        "Length of the network that IPv6 addresses are counted and banned by: a customer has a /64; 128: each for itself.",
    ),
    Key(
        "maxusers",
        validators.count_or_none,
        0,
        "a whole number of 0 or more",
        "From an address that has logged in, failures of fewer users are reported, not banned (see docs/sip.md); 0: off.",
    ),
    Key(
        "ignorecommand",
        validators.optional_text,
        "",
        "a shell command, such as /usr/local/bin/is-known <ip>",
        "Asked before an attempt counts; exit status 0 means: never ban this address.",
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
        "How growth of a log is noticed; `polling` for network file systems, `systemd` reads the journal instead.",
    ),
    Key(
        "journalmatch",
        validators.each(validators.journalmatch, r"\n"),
        [],
        'FIELD=value as journalctl takes it, e.g. "_SYSTEMD_UNIT=asterisk.service", or a list of these',
        "Which entries of the journal to read; none: what the filter says.",
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
        "Zone of dates in the log that name none; none: the host's own.",
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
    Key("verdict", _VERDICT, "reject", "reject or drop", "As in `[firewall]`, for this jail."),
    Key(
        "actions",
        action_tables,
        [],
        'a list of tables, each with a type: webhook, mail or exec, as in [{ type = "exec", command = ["/path"] }]',
        "What else happens on a ban; see actions.md.",
    ),
)

FAIL2BAN = (
    Key(
        "socket",
        validators.optional_path,
        "",
        "an absolute path such as /var/run/fail2ban/fail2ban.sock, or nothing",
        "Socket on which fail2ban-client and programs that speak its protocol are answered; none: not at all.",
        "fail2ban_socket",
    ),
    Key(
        "pidfile",
        validators.optional_path,
        "",
        "an absolute path such as /var/run/fail2ban/fail2ban.pid, or nothing",
        "File for the daemon's process id, where programs look for Fail2ban's.",
    ),
    Key(
        "dbfile",
        validators.optional_path,
        "",
        "an absolute path such as /var/lib/fail2ban/fail2ban.sqlite3, or nothing",
        "SQLite file kept as Fail2ban keeps its own, for programs that read that; sipguard itself does not.",
        "fail2ban_dbfile",
    ),
    Key(
        "dbpurgeage",
        validators.finite_span,
        "1d",
        f"{_DURATION}, longer than 0",
        "How long ended bans stay in `dbfile`.",
        "fail2ban_dbpurgeage",
    ),
)

SECTIONS: Mapping[str, tuple[Key, ...]] = {
    "": GLOBAL,
    "firewall": FIREWALL,
    "fail2ban": FAIL2BAN,
    "metrics": METRICS,
    "hep": HEP,
    "defaults": JAIL,
}
"""Table of sipguard.toml → its keys; `""` is what stands above all tables."""
