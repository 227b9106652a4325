"""The packages under a real systemd: the unit as it is installed, with its capabilities, its watchdog and its drop-ins."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timeout(900)

LOG = "/var/log/freeswitch/freeswitch.log"
FAILURE = (
    "$(date '+%Y-%m-%d %H:%M:%S').123456 98.53% [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile"
    " 'internal' for [1000@192.0.2.10] from ip 203.0.113.66"
)
TREE = """
[DEFAULT]
bantime = 2h
banaction = nftables[type=multiport]
backend = polling
[freeswitch]
enabled = true
logpath = /var/log/freeswitch/freeswitch.log
[sshd]
enabled = false
"""
BANNED = [f"203.0.113.{n}" for n in range(1, 21)]


def shown(machine, unit, *properties):
    """What systemd says of a unit."""
    told = machine.run(f"systemctl show {unit} " + " ".join(f"-p {name}" for name in properties))
    return dict(line.partition("=")[::2] for line in told.splitlines())


def kernel(machine):
    """All that is banned in it."""
    return machine.run("nft list ruleset")


def make_log(machine):
    """FreeSWITCH's log, for its owner alone."""
    machine.run(f"mkdir -p /var/log/freeswitch; touch {LOG}; chmod 600 {LOG}")


def test_the_unit_lives(packages, machine):
    """Started, reloaded, killed, hung and stopped: as a user with two capabilities, and a ban holds all the while."""
    machine.take(*packages)
    machine.run("apt-get install -y --no-install-recommends /srv/sipguard_*.deb")
    make_log(machine)
    assert shown(machine, "sipguard", "ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}
    machine.run("echo 'enabled = true' > /etc/sipguard/jails.d/freeswitch.toml; systemctl reload sipguard")
    machine.until("journalctl -u sipguard | grep -q 'Reloaded: freeswitch'")
    machine.run(f'for i in 1 2 3 4 5; do echo "{FAILURE}" >> {LOG}; done')
    machine.until("nft list table inet sipguard | grep -q '203.0.113.66 counter'")
    machine.until("journalctl -u sipguard -p notice | grep -q 'Ban 203.0.113.66'")
    process = machine.run("cat /proc/$(systemctl show -p MainPID --value sipguard)/status")
    assert "CapBnd:\t0000000000001004\n" in process  # CAP_NET_ADMIN, CAP_DAC_READ_SEARCH
    assert "Uid:\t0\t" not in process
    assert "NoNewPrivs:\t1\n" in process

    machine.run("kill -9 $(systemctl show -p MainPID --value sipguard)")
    machine.until("test $(systemctl show -p NRestarts --value sipguard) = 1 && sipguard status >/dev/null 2>&1")
    assert "203.0.113.66" in machine.run("sipguard status freeswitch --json")

    machine.run("mkdir -p /etc/systemd/system/sipguard.service.d")
    machine.run("printf '[Service]\\nWatchdogSec=2s\\n' > /etc/systemd/system/sipguard.service.d/short.conf")
    machine.run("systemctl daemon-reload; systemctl restart sipguard; sleep 4; systemctl is-active sipguard")
    assert shown(machine, "sipguard", "NRestarts") == {"NRestarts": "0"}, "the watchdog was not fed"
    machine.run("kill -STOP $(systemctl show -p MainPID --value sipguard)")
    machine.until("test $(systemctl show -p NRestarts --value sipguard) = 1 && sipguard status >/dev/null 2>&1")

    machine.run("systemctl stop sipguard")
    assert shown(machine, "sipguard", "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert "203.0.113.66 counter" in kernel(machine)
    assert "Traceback" not in machine.run("journalctl -u sipguard")


def test_it_is_tried_for_as_long_as_it_takes(packages, machine):
    """What keeps it from starting goes away in the end; systemd has not given up by then."""
    machine.take(*packages)
    machine.run("apt-get install -y --no-install-recommends /srv/sipguard_*.deb; systemctl stop sipguard")
    machine.run("mv /usr/sbin/nft /usr/sbin/nft.away; systemctl start sipguard", status=1)
    machine.until("test $(systemctl show -p NRestarts --value sipguard) -ge 7")
    machine.run("mv /usr/sbin/nft.away /usr/sbin/nft")
    machine.until("systemctl is-active --quiet sipguard")


def test_from_fail2ban_and_in_its_place(packages, original, machine):
    """Debian's Fail2ban is adopted, given back, adopted again, and replaced by its namesake: every ban stays."""
    machine.take(*packages, *original)
    make_log(machine)
    machine.run(f"dpkg -i {' '.join(f'/srv/{one.name}' for one in original)}")
    machine.run(f"cat > /etc/fail2ban/jail.local <<'END'\n{TREE}END\n")
    machine.run("systemctl restart fail2ban")
    machine.until("fail2ban-client ping >/dev/null 2>&1")
    machine.run(f"fail2ban-client set freeswitch banip {' '.join(BANNED)}")
    machine.until(f"nft list ruleset | grep -q '{BANNED[-1]}'")
    machine.run("apt-get install -y --no-install-recommends /srv/sipguard_*.deb; systemctl stop sipguard")

    assert "sipguard runs, with 20 bans" in machine.run("sipguard adopt")
    assert machine.run("systemctl is-active sipguard; systemctl is-active fail2ban || true").split() == [
        "active",
        "inactive",
    ]
    assert all(f"{address} counter" in kernel(machine) for address in BANNED)
    assert "Total banned:\t20" in machine.run("fail2ban-client status freeswitch")

    assert "Fail2ban has the bans" in machine.run("sipguard adopt --undo")
    assert machine.run("systemctl is-active fail2ban; systemctl is-active sipguard || true").split() == [
        "active",
        "inactive",
    ]
    assert "table inet sipguard" not in kernel(machine)
    assert all(address in kernel(machine) for address in BANNED)

    machine.run("sipguard adopt; apt-get install -y --no-install-recommends /srv/sipguard-fail2ban_*.deb")
    assert machine.run("systemctl is-active fail2ban sipguard").split() == ["active", "active"]
    assert shown(machine, "fail2ban", "Id") == {"Id": "sipguard.service"}
    process = "/proc/$(systemctl show -p MainPID --value fail2ban)"
    assert machine.run(f"cat {process}/comm") == "fail2ban-server\n"
    assert "/usr/bin/fail2ban-server" in machine.run(f"tr '\\0' ' ' < {process}/cmdline")
    machine.run("service fail2ban restart; service fail2ban reload")
    assert "Total banned:\t20" in machine.run("fail2ban-client status freeswitch")
    machine.run("fail2ban-client stop")
    machine.until("test $(systemctl show -p ActiveState --value fail2ban) = inactive")
    machine.run("sleep 3; systemctl is-active fail2ban", status=3)  # nobody starts it again
    machine.run("service fail2ban start")
    machine.until("fail2ban-client ping >/dev/null 2>&1")
    assert all(f"{address} counter" in kernel(machine) for address in BANNED)
    machine.run("apt-get purge -y sipguard-fail2ban")
    assert machine.run("ls /usr/lib/systemd/system/fail2ban.service", status=2)
