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
from sipguard.config.key import Key
from sipguard.config.kind import choice, each
from sipguard.config.wire import WIRE

GLOBAL = (
    Key("state_dir", validators.path, "/var/lib/sipguard", "Directory of the database, which survives restarts."),
    Key("socket", validators.path, "/run/sipguard/sipguard.sock", "Control socket of the daemon."),
    Key(
        "socket_group",
        validators.optional_text.saying("the name of a group"),
        "",
        "Group that may use the socket; empty: only root.",
    ),
    Key(
        "read_socket",
        validators.optional_path.saying("an absolute path, or nothing"),
        "",
        "Read-only socket: answers queries and changes nothing; empty: `…-read.sock` beside `socket`.",
    ),
    Key(
        "read_socket_group",
        validators.optional_text.saying("the name of a group"),
        "",
        "Group that may use the read-only socket; empty: that of `socket_group`.",
    ),
    Key("logtarget", validators.logtarget, "STDOUT", "Where sipguard's own log goes."),
    Key(
        "loglevel",
        choice("CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"),
        "INFO",
        "Lowest severity that is logged.",
    ),
    Key("logformat", choice("fail2ban", "json"), "fail2ban", "Fail2ban's format, or one JSON object per line."),
)

FIREWALL = (
    Key(
        "backend",
        choice("auto", "nftables", "ipset", "iptables", "memory"),
        "auto",
        "What enforces bans; `auto` follows the host, `memory` enforces nothing.",
        field="firewall",
    ),
    Key("verdict", validators.verdict, "reject", "What happens to packets of banned addresses, in every jail."),
    Key(
        "reject_with",
        choice("port-unreachable", "host-unreachable", "admin-prohibited"),
        "port-unreachable",
        "ICMP answer to rejected senders; TCP is reset.",
    ),
    Key("all_ports", validators.flag, False, "Reject on every port, whatever ports the jails name."),
    Key(
        "chain",
        validators.text.saying("a name of its own, up to 16 letters, digits, - and _"),
        "sipguard",
        "Name of the chain of the backends ipset and iptables; some control panels expect f2b in it.",
    ),
    Key(
        "hooks",
        each(validators.chain),
        [],
        "Further chains that jump there, besides INPUT and DOCKER-USER: FORWARD if the server is behind this host.",
    ),
    Key(
        "set_size",
        validators.count,
        1_000_000,
        "Most addresses per family that a jail can ban at once; the log warns from 90 % on.",
    ),
    Key("flush_on_stop", validators.flag, False, "Whether stopping removes all bans from the firewall."),
)

METRICS = (
    Key("listen", validators.listen, "", "Where Prometheus metrics are served; empty: nowhere.", field="metrics"),
)

GEOIP = (
    Key(
        "files",
        each(validators.path.saying("the absolute path of an .mmdb file")),
        [],
        "Databases of countries and networks in MaxMind's format, for `sipguard bans` and `history`.",
        field="geoip",
    ),
)

FAIL2BAN = (
    Key(
        "socket",
        validators.optional_path.saying("an absolute path such as /var/run/fail2ban/fail2ban.sock, or nothing"),
        "",
        "Socket for fail2ban-client and programs that speak its protocol; empty: none.",
        field="fail2ban_socket",
    ),
    Key(
        "pidfile",
        validators.optional_path.saying("an absolute path such as /var/run/fail2ban/fail2ban.pid, or nothing"),
        "",
        "File with the daemon's process id, for programs that look for Fail2ban's.",
    ),
    Key(
        "dbfile",
        validators.optional_path.saying("an absolute path such as /var/lib/fail2ban/fail2ban.sqlite3, or nothing"),
        "",
        "SQLite file in Fail2ban's format, for programs that read it; sipguard itself does not.",
        field="fail2ban_dbfile",
    ),
    Key(
        "dbpurgeage",
        validators.finite_span,
        "1d",
        "How long ended bans are kept in `dbfile`.",
        field="fail2ban_dbpurgeage",
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
