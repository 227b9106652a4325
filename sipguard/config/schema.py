"""Every key of the native configuration, one row each: files are read, errors told and the manual checked by these.

To add a key: add a row here and one to docs/configuration.md. A jail key whose name is a field of `Jail` goes there by
itself, a global one whose field is in `Settings` likewise; any other meaning is given in `jail_file` or `settings`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sipguard.config import validators
from sipguard.config.hep import HEP
from sipguard.config.jail_schema import JAIL
from sipguard.config.key import DURATION, VERDICT, Key

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
    Key("verdict", VERDICT, "reject", "reject or drop", "What happens to a banned address's packets, in every jail."),
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
        f"{DURATION}, longer than 0",
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
