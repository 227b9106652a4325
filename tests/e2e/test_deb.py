"""The Debian packages: built here, installed, used and purged in a Debian of their own that is thrown away."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
AS_THE_UNIT_DOES = (
    "setpriv --reuid=sipguard --regid=sipguard --clear-groups --bounding-set=-all,+net_admin,+dac_read_search"
    " --inh-caps=-all,+net_admin,+dac_read_search --ambient-caps=-all,+net_admin,+dac_read_search --no-new-privs"
)
FAILURE = (
    "$(date '+%Y-%m-%d %H:%M:%S').123456 98.53% [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile"
    " 'internal' for [1000@192.0.2.10] from ip 203.0.113.66"
)


@pytest.mark.timeout(900)
def test_install_use_purge(packages, debian):
    """apt installs it, it works as the unit runs it, an upgrade keeps what the operator wrote, and purge leaves nothing."""
    debian.take(*packages)
    said = debian.run("apt-get install -y --no-install-recommends /srv/sipguard_*.deb")
    assert "What next:\n    sipguard enable " in said
    assert debian.run("sipguard --version").startswith("sipguard, version ")
    assert "no jail is enabled" in debian.run("sipguard check")
    assert debian.run("systemd-analyze verify sipguard.service") == ""
    debian.run("echo 'enabled = true' > /etc/sipguard/jails.d/freeswitch.toml; mkdir -p /var/log/freeswitch")
    debian.run("touch /var/log/freeswitch/freeswitch.log; chmod 600 /var/log/freeswitch/freeswitch.log")
    _bans(debian)
    debian.run("echo '# mine' >> /etc/sipguard/sipguard.toml; apt-get install -y --reinstall /srv/sipguard_*.deb")
    assert "# mine" in debian.run("cat /etc/sipguard/sipguard.toml")
    debian.run("rm /etc/sipguard/jails.d/freeswitch.toml")
    debian.run("apt-get purge -y sipguard")
    assert debian.run("nft list ruleset") == ""
    left = debian.run("find /etc /usr /var -xdev -name '*sipguard*' ! -path '/var/log/apt/*' ! -path '/var/cache/*'")
    assert left == ""
    assert debian.run("getent passwd sipguard", status=2) == ""


@pytest.mark.timeout(900)
def test_purge_takes_back_what_enable_wrote(packages, debian, tmp_path):
    """Also where nobody has said `enable --undo`: no manager user stays in Asterisk's configuration."""
    asterisk = PROJECT / "fixtures/machines/asterisk-debian"
    subprocess.run(["tar", "-C", asterisk, "-cf", tmp_path / "asterisk.tar", "usr", "etc"], check=True)
    debian.take(*packages, tmp_path / "asterisk.tar")
    debian.run("tar -C / -xf /srv/asterisk.tar --no-same-owner; chmod 755 /usr /usr/sbin /etc")
    every = "cd / && find etc/asterisk etc/sipguard -printf '%p %m\\n' -type f -exec sha256sum {} + 2>/dev/null | sort || true"
    before = debian.run(every)
    debian.run("apt-get install -y --no-install-recommends /srv/sipguard_*.deb")
    debian.run("sipguard enable --yes")
    assert "secret" in debian.run("grep -r secret /etc/asterisk/manager.d")
    debian.run("apt-get remove -y sipguard")
    assert "secret" in debian.run("grep -r secret /etc/asterisk/manager.d")
    debian.run("apt-get install -y --no-install-recommends /srv/sipguard_*.deb")
    debian.run("test ! -e /etc/sipguard/undo/program && test -e /etc/sipguard/undo/enable.json")
    said = debian.run("apt-get purge -y sipguard")
    assert "as it was before: /etc/asterisk/manager.d/sipguard.conf" in said
    assert debian.run(every) == before
    assert debian.run("ls /etc/sipguard", status=2)


@pytest.mark.root
@pytest.mark.timeout(900)
def test_lintian(packages):
    """Debian's own judge of packages finds nothing; what it is told to pass over stands with the reason in lintian-overrides."""
    if shutil.which("lintian") is None:
        pytest.skip("needs lintian")
    done = subprocess.run(["lintian", "--fail-on", "warning", *packages], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_the_build_needs(tmp_path):
    """One line names the packages that are missing, in apt's words."""
    if shutil.which("dpkg-query") is None:
        pytest.skip("needs a Debian to build its packages")
    script = (PROJECT / "packaging/build-deb").read_text().replace('needed="', 'needed="no-such-package ', 1)
    (tmp_path / "build-deb").write_text(script)
    done = subprocess.run(["bash", tmp_path / "build-deb"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("build-deb: missing packages; install them: apt install no-such-package")
    assert done.stderr.count("\n") == 1


def _bans(debian):
    """The installed daemon as its own user, with the unit's two capabilities: it reads a log of root's, and bans."""
    said = debian.run(f"""
        install -d -o sipguard -g sipguard /run/sipguard /var/lib/sipguard
        {AS_THE_UNIT_DOES} /usr/bin/sipguard run > /tmp/out 2>&1 &
        for i in $(seq 450); do sipguard status >/dev/null 2>&1 && break; sleep 0.1; done
        for i in 1 2 3 4 5; do echo "{FAILURE}" >> /var/log/freeswitch/freeswitch.log; done
        for i in $(seq 450); do nft list ruleset | grep -q 203.0.113.66 && break; sleep 0.1; done
        nft list table inet sipguard
        kill $!; wait $! || true
        cat /tmp/out
    """)
    assert "203.0.113.66 counter " in said
    assert "[freeswitch] Ban 203.0.113.66" in said


@pytest.mark.timeout(900)
def test_in_the_place_of_fail2ban(packages, debian, tmp_path):
    """sipguard-fail2ban takes Fail2ban's place: the package goes, its names and its unit stay."""
    fake = tmp_path / "fake/DEBIAN"
    fake.mkdir(parents=True)
    (fake / "control").write_text(
        "Package: fail2ban\nVersion: 1.0.2-2\nArchitecture: all\nMaintainer: nobody <nobody@example.invalid>\n"
        "Description: stands for the real one\n"
    )
    subprocess.run(["dpkg-deb", "--build", tmp_path / "fake", tmp_path / "fail2ban_1.0.2-2_all.deb"], check=True)
    debian.take(*packages, tmp_path / "fail2ban_1.0.2-2_all.deb")
    debian.run("dpkg -i /srv/fail2ban_1.0.2-2_all.deb; mkdir /etc/fail2ban")
    debian.run("apt-get install -y --no-install-recommends /srv/sipguard_*.deb /srv/sipguard-fail2ban_*.deb")
    there = debian.run("dpkg-query -W -f '${Package}:${db:Status-Status}\\n'").split()
    assert "sipguard-fail2ban:installed" in there
    assert "fail2ban:installed" not in there
    assert "Lines: 1 lines, 0 ignored, 1 matched, 0 missed" in debian.run(
        "fail2ban-regex 'from 203.0.113.5 wrong' '^from <HOST> wrong$'"
    )
    assert debian.run("readlink /usr/lib/systemd/system/fail2ban.service") == "sipguard.service\n"
    assert debian.run("systemd-analyze verify sipguard.service") == ""
    debian.run("apt-get purge -y sipguard-fail2ban")
    assert debian.run("ls /usr/bin/fail2ban-client", status=2)
