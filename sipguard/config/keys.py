"""Every key of the native configuration, one row each: files are read, errors told and the manual checked by these.

To add a key: add a row here and one to docs/configuration.md. A jail key whose name is a field of `Jail` goes there by
itself, a global one whose field is in `Settings` likewise; any other meaning is given in `jail_file` or `settings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sipguard.config import readers
from sipguard.config.messages import shown
from sipguard.config.readers import BadItemError, Reader
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

    def read(self, value: object, where: str, prefix: str = "") -> Any:
        """The parsed value.

        Raises:
            ConfigError: it is not allowed; the line names key, value and what is allowed.
        """
        try:
            return self.parse(value)
        except BadItemError as error:
            bad = error.item
        except (ValueError, TypeError):
            bad = value
        raise ConfigError(f"{prefix}{self.name} = {shown(bad)}: not allowed; {self.allowed}", where)


_DURATION = "a time such as 600, 10m, 1h30m or 1d"
_VERDICT = readers.choice("reject", "drop")

GLOBAL = (
    Key(
        "state_dir",
        readers.path,
        "/var/lib/sipguard",
        "an absolute path",
        "Folder of the database that outlives a restart.",
    ),
    Key("socket", readers.path, "/run/sipguard/sipguard.sock", "an absolute path", "Control socket of the daemon."),
    Key(
        "socket_group",
        readers.optional_text,
        "",
        "the name of a group",
        "Group that may use the socket; none: root alone.",
    ),
    Key(
        "logtarget",
        readers.logtarget,
        "STDOUT",
        "STDOUT, STDERR, SYSLOG or an absolute path",
        "Where sipguard's own log goes.",
    ),
    Key(
        "loglevel",
        readers.choice("CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"),
        "INFO",
        "CRITICAL, ERROR, WARNING, NOTICE, INFO or DEBUG",
        "The least severe message that is logged.",
    ),
    Key(
        "logformat",
        readers.choice("fail2ban", "json"),
        "fail2ban",
        "fail2ban or json",
        "Fail2ban's lines, or a JSON object a line.",
    ),
)

FIREWALL = (
    Key(
        "backend",
        readers.choice("auto", "nftables", "ipset", "iptables", "memory"),
        "auto",
        "auto, nftables, ipset, iptables or memory",
        "What enforces bans; `auto` takes what the host uses, `memory` enforces nothing.",
        field="firewall",
    ),
    Key("verdict", _VERDICT, "reject", "reject or drop", "What happens to a banned address's packets, in every jail."),
)

METRICS = (
    Key(
        "listen",
        readers.listen,
        "",
        "a local address with a port, such as 127.0.0.1:9191 or [::1]:9191, or the absolute path of a socket",
        "Where Prometheus finds numbers; none: nowhere.",
        field="metrics",
    ),
)

JAIL = (
    Key("enabled", readers.flag, False, "true or false", "Whether the jail runs."),
    Key(
        "filter",
        readers.text,
        None,
        "the name of a filter, such as asterisk or asterisk[mode=ddos]",
        "What counts as a failure.",
    ),
    Key(
        "logpath",
        readers.at_least_one(readers.each(readers.path, r"\n")),
        None,
        "an absolute path or a list of them; * and ? stand for any text",
        "The logs to follow, every one of them; wins over `logpath_first`.",
    ),
    Key(
        "logpath_first",
        readers.at_least_one(readers.each(readers.path, r"\n")),
        None,
        "a list of absolute paths",
        "Where the log may be: the first that exists is followed, the others are not.",
    ),
    Key(
        "port",
        readers.ports,
        "all",
        "a port (1 to 65535), a range such as 5060-5061, a service such as sip, a list of these, or all",
        "Destination ports that a banned address may not reach.",
    ),
    Key(
        "protocol",
        readers.protocols,
        "all",
        "tcp, udp, sctp, dccp, a list of these, or all",
        "Protocols that a banned address may not use.",
    ),
    Key("maxretry", readers.count, 5, "a whole number of 1 or more", "Failures within `findtime` that lead to a ban."),
    Key("findtime", readers.finite_span, "10m", f"{_DURATION}, longer than 0", "How long a failure counts."),
    Key("bantime", readers.span, "1h", f"{_DURATION}, longer than 0, or -1 for ever", "How long a ban lasts."),
    Key(
        "ignoreip",
        readers.each(readers.ignored, r"[\s,]+"),
        [],
        "an address, a network such as 192.0.2.0/24, a host name, or a list of these",
        "Who is never banned.",
    ),
    Key("ignoreself", readers.flag, True, "true or false", "Whether the host's own addresses are never banned."),
    Key(
        "usedns",
        readers.choice("yes", "warn", "no", "raw"),
        "no",
        "yes, warn, no or raw",
        "Whether host names in a log are resolved.",
    ),
    Key(
        "backend",
        readers.choice("auto", "inotify", "polling"),
        "auto",
        "auto, inotify or polling",
        "How growth of a log is noticed; `polling` for network file systems.",
    ),
    Key(
        "encoding",
        readers.encoding,
        "utf-8",
        "a text encoding such as utf-8 or latin-1, or auto",
        "Encoding of the log.",
    ),
    Key(
        "timezone",
        readers.timezone,
        "",
        "UTC, UTC+0200 or a zone such as Europe/Zurich",
        "Zone of dates in the log that name none; none: the host's own.",
    ),
    Key("verdict", _VERDICT, "reject", "reject or drop", "As in `[firewall]`, for this jail."),
)

SECTIONS: Mapping[str, tuple[Key, ...]] = {"": GLOBAL, "firewall": FIREWALL, "metrics": METRICS, "defaults": JAIL}
"""Table of sipguard.toml → its keys; `""` is what stands above all tables."""
