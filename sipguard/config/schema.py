"""Every key of the native configuration, one row each. Parsing, error messages and a check of the manual all use them.

To add a key, add a row here and one to docs/configuration.md. A key named like a field of `Jail` (for global keys:
`Settings`) sets that field automatically; handle any other key in `jail_file` or `settings`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sipguard.config import validators
from sipguard.config.crowdsec import CROWDSEC
from sipguard.config.fleet import FLEET
from sipguard.config.hep import HEP
from sipguard.config.jail_schema import JAIL
from sipguard.config.key import DURATION, VERDICT, Key
from sipguard.config.wire import WIRE

GLOBAL = (
    Key(
        "state_dir",
        validators.path,
        "/var/lib/sipguard",
        "an absolute path",
        "Directory of the database, which survives restarts.",
    ),
    Key("socket", validators.path, "/run/sipguard/sipguard.sock", "an absolute path", "Control socket of the daemon."),
    Key(
        "socket_group",
        validators.optional_text,
        "",
        "the name of a group",
        "Group that may use the socket; empty: only root.",
    ),
    Key(
        "read_socket",
        validators.optional_path,
        "",
        "an absolute path, or nothing",
        "Read-only socket: answers queries and changes nothing; empty: `…-read.sock` beside `socket`.",
    ),
    Key(
        "read_socket_group",
        validators.optional_text,
        "",
        "the name of a group",
        "Group that may use the read-only socket; empty: that of `socket_group`.",
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
        "Lowest severity that is logged.",
    ),
    Key(
        "logformat",
        validators.choice("fail2ban", "json"),
        "fail2ban",
        "fail2ban or json",
        "Fail2ban's format, or one JSON object per line.",
    ),
)

FIREWALL = (
    Key(
        "backend",
        validators.choice("auto", "nftables", "ipset", "iptables", "memory"),
        "auto",
        "auto, nftables, ipset, iptables or memory",
        "What enforces bans; `auto` follows the host, `memory` enforces nothing.",
        field="firewall",
    ),
    Key("verdict", VERDICT, "reject", "reject or drop", "What happens to packets of banned addresses, in every jail."),
    Key(
        "reject_with",
        validators.choice("port-unreachable", "host-unreachable", "admin-prohibited"),
        "port-unreachable",
        "port-unreachable, host-unreachable or admin-prohibited",
        "ICMP answer to rejected senders; TCP is reset.",
    ),
    Key("all_ports", validators.flag, False, "true or false", "Reject on every port, whatever ports the jails name."),
    Key(
        "chain",
        validators.text,
        "sipguard",
        "a name of its own, up to 16 letters, digits, - and _",
        "Name of the chain of the backends ipset and iptables; some control panels expect f2b in it.",
    ),
    Key(
        "hooks",
        validators.each(validators.chain, r"[\s,]+"),
        [],
        "a chain of the filter table such as FORWARD, or a list of these",
        "Further chains that jump there, besides INPUT and DOCKER-USER: FORWARD if the server is behind this host.",
    ),
    Key(
        "set_size",
        validators.count,
        1_000_000,
        "a whole number, 1 to 1000000",
        "Most addresses per family that a jail can ban at once; the log warns from 90 % on.",
    ),
    Key(
        "flush_on_stop", validators.flag, False, "true or false", "Whether stopping removes all bans from the firewall."
    ),
)

METRICS = (
    Key(
        "listen",
        validators.listen,
        "",
        "a local address with a port, such as 127.0.0.1:9191 or [::1]:9191, or the absolute path of a socket",
        "Where Prometheus metrics are served; empty: nowhere.",
        field="metrics",
    ),
)

GEOIP = (
    Key(
        "files",
        validators.each(validators.path, r"[\s,]+"),
        [],
        "the absolute path of an .mmdb file, or a list of these",
        "Databases of countries and networks in MaxMind's format, for `sipguard bans` and `history`.",
        field="geoip",
    ),
)

FAIL2BAN = (
    Key(
        "socket",
        validators.optional_path,
        "",
        "an absolute path such as /var/run/fail2ban/fail2ban.sock, or nothing",
        "Socket for fail2ban-client and programs that speak its protocol; empty: none.",
        "fail2ban_socket",
    ),
    Key(
        "pidfile",
        validators.optional_path,
        "",
        "an absolute path such as /var/run/fail2ban/fail2ban.pid, or nothing",
        "File with the daemon's process id, for programs that look for Fail2ban's.",
    ),
    Key(
        "dbfile",
        validators.optional_path,
        "",
        "an absolute path such as /var/lib/fail2ban/fail2ban.sqlite3, or nothing",
        "SQLite file in Fail2ban's format, for programs that read it; sipguard itself does not.",
        "fail2ban_dbfile",
    ),
    Key(
        "dbpurgeage",
        validators.finite_span,
        "1d",
        f"{DURATION}, longer than 0",
        "How long ended bans are kept in `dbfile`.",
        "fail2ban_dbpurgeage",
    ),
)

SECTIONS: Mapping[str, tuple[Key, ...]] = {
    "": GLOBAL,
    "firewall": FIREWALL,
    "fail2ban": FAIL2BAN,
    "metrics": METRICS,
    "geoip": GEOIP,
    "hep": HEP,
    "wire": WIRE,
    "fleet": FLEET,
    "crowdsec": CROWDSEC,
    "defaults": JAIL,
}
"""Table of sipguard.toml → its keys; `""` is the part above all tables."""
