"""The documentation's commands that take a machine of their own, in an order in which they can be run one after the other."""

from __future__ import annotations

from typing import NamedTuple

FAILURES = """
    for i in 1 2 3 4 5; do
        echo "$(date '+%Y-%m-%d %H:%M:%S').123456 98.53% [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile\
 'internal' for [1000@192.0.2.10] from ip {address}" >> /var/log/freeswitch/freeswitch.log
    done
    for i in $(seq 300); do nft list ruleset | grep -q {address} && break; sleep 0.1; done
"""
ATTACKER = "203.0.113.66"
OWN = """
    cat >> /etc/sipguard/sipguard.toml <<'END'
[feeds.office]
file = "/srv/list.txt"
[fleet]
url = "redis://127.0.0.1:6379"
name = "pbx1"
unban_from = ["pbx2"]
END
    echo 198.51.100.9 > /srv/list.txt
    cat > /etc/sipguard/jails.d/asterisk.toml <<'END'
enabled = true
actions = [{ type = "webhook", name = "webhook", url = "http://127.0.0.1:9/" }]
END
"""
TREE = """
    cat > /etc/fail2ban/jail.local <<'END'
[DEFAULT]
banaction = nftables[type=multiport]
[sshd]
enabled = true
backend = polling
logpath = /var/log/auth.log
action = %(action_)s
         sendmail[name=sshd, dest=ops@example.com]
END
    rm -f /etc/fail2ban/jail.d/*
    touch /var/log/auth.log
"""


class Step(NamedTuple):
    """One command, as the documentation shows it."""

    command: str
    expected: str = ""
    """What it says, or a part of that."""
    status: int = 0
    before: str = ""
    """A script that makes what it needs."""
    given: tuple[tuple[str, str], ...] = ()
    """What stands for something → what is put in."""
    typed: str | None = None
    """What is typed at a terminal; None: it has none."""
    lasts: bool = False
    """It goes on until it is stopped."""
    online: bool = False


STEPS = (
    Step("apt install python3-redis", online=True),
    Step("apt install ./dist/sipguard_*.deb", "What next:", before="mkdir -p dist && cp /srv/sipguard_*.deb dist"),
    Step("systemctl status sipguard", "active (running)"),
    Step("journalctl -u sipguard", "Jails started: none"),
    Step("journalctl -u sipguard -p notice"),
    Step('usermod -aG sipguard "$USER"', before="useradd tess", given=(("$USER", "tess"),)),
    Step("adduser sipguard sipguard-web"),
    Step("sipguard enable", "Written: ", typed="y\n"),
    Step("sipguard enable --undo", "as it was before: /etc/sipguard/jails.d/asterisk.toml"),
    Step("sipguard enable freeswitch", "Nothing was written.", 1, typed="n\n"),
    Step("sipguard enable asterisk", "Written: ", typed="y\n"),
    Step("sipguard enable --yes", "sipguard has read it; running: asterisk, freeswitch, sip"),
    Step("systemctl stop fail2ban"),
    Step("systemctl restart sipguard", before=OWN),
    Step("systemctl reload sipguard"),
    Step("sipguard feeds", "office", before=FAILURES.format(address=ATTACKER)),
    Step("sipguard feeds --json", '"name": "office"'),
    Step("sipguard feeds [--json]", '"name": "office"', given=(("[--json]", "--json"),)),
    Step("sipguard feeds refresh NAME --json", '"name": "office"', given=(("NAME", "office"),)),
    Step("sipguard feeds refresh [--accept] NAME", "office", given=(("[--accept]", ""), ("NAME", "office"))),
    Step("sipguard feeds refresh --accept NAME", "office", given=(("NAME", "office"),)),
    Step("sipguard fleet", "pbx1"),
    Step("sipguard fleet --json", '"pbx1"'),
    Step("sipguard fleet accept NODE", "pbx2", 2, given=(("NODE", "pbx2"),)),
    Step("sipguard firewall show", "table inet sipguard {"),
    Step("sipguard firewall verify", "all there"),
    Step("sipguard firewall verify --json", "[]"),
    Step("sipguard status --socket /run/sipguard/sipguard-read.sock", "PROTECTED"),
    Step("sipguard status --json | jq -e '.working != []' || echo \"nobody is protected\"", "true"),
    Step("sipguard bans --json | jq -r '.bans[] | select(.evidence == \"proven\") | .address'"),
    Step("sipguard explain 203.0.113.5 --json | jq -r '.attempts[].reason' | sort | uniq -c"),
    Step("sipguard top", "\x1b[", typed="", lasts=True),
    Step("sipguard client", "Usage: ", 255),
    Step("sipguard client -d", "'add', 'sshd'", before=TREE),
    Step("sipguard unban ADDRESS --fleet", "203.0.113.5", given=(("ADDRESS", "203.0.113.5"),)),
    Step("sipguard unban --fleet", "give an address, or --all", 2),
    Step("sipguard test-action telegram --jail asterisk", "has no action 'telegram'", 2),
    Step("sipguard test-action webhook --jail asterisk --run", "failed: ban 203.0.113.7", 1),
    Step("sipguard test-action 'sendmail-whois[dest=ops@example.com]'", "ops@example.com"),
    Step("sipguard test-action sendmail --jail sshd --fail2ban-dir /etc/fail2ban --ip 2001:db8::7", "2001:db8::7"),
    Step("sipguard test-action", "Missing argument", 2),
    Step("sipguard check --fail2ban-dir /etc/fail2ban", "sshd"),
    Step("sipguard check --fail2ban-dir DIR", "sshd", given=(("DIR", "/etc/fail2ban"),)),
    Step("sipguard check --fail2ban-dir /etc/fail2ban --dump", '"sshd"'),
    Step("tar -C / -czf sipguard-config.tar.gz etc/sipguard"),
    Step("sqlite3 /var/lib/sipguard/sipguard.db \".backup 'sipguard-state.sqlite3'\""),
    Step("systemctl stop sipguard"),
    Step("tar -C / -xzf sipguard-config.tar.gz"),
    Step("install -o sipguard -g sipguard -m 600 sipguard-state.sqlite3 /var/lib/sipguard/sipguard.db"),
    Step("sipguard run --flush-on-stop", "Jails started", lasts=True),
    Step("sipguard run --fail2ban-socket PATH", "Jails started", given=(("PATH", "/run/f2b"),), lasts=True),
    Step("sipguard run --fail2ban-dir /etc/fail2ban", "", lasts=True),
    Step("systemctl start sipguard"),
    Step(
        "sipguard feeds import-apiban",
        "/etc/sipguard/apiban.key",
        before='mkdir -p /etc/apiban; echo \'{"APIKEY": "0123456789abcdef0123456789abcdef"}\' > /etc/apiban/config.json',
    ),
    Step(
        "sipguard feeds import-apiban [PATH]",
        "apiban",
        2,
        given=(("[PATH]", "/etc/apiban/config.json"),),
    ),
    Step("systemctl enable --now sipguard-web", before="sed -i '/feeds.apiban/,+1d' /etc/sipguard/sipguard.toml"),
    Step("journalctl -u sipguard-web"),
    Step("systemctl edit sipguard", typed="", before="export SYSTEMD_EDITOR=true"),
    Step("systemctl edit sipguard-web", typed="", before="export SYSTEMD_EDITOR=true"),
    Step("sipguard flush --kernel", "removed", before="systemctl stop sipguard", typed="y\n"),
    Step("sipguard flush --kernel --json", "Add --yes", 2),
    Step("systemctl start fail2ban", before="rm -rf /etc/sipguard/jails.d/*"),
    Step("apt remove", given=(("remove", "remove fail2ban"),)),
    Step(
        "fail2ban-regex /var/log/auth.log 'sshd[mode=aggressive]'",
        "Lines: 0 lines",
        before="mkdir -p /etc/fail2ban; dpkg -i /srv/sipguard-fail2ban_*.deb",
    ),
    Step("apt purge sipguard"),
)
