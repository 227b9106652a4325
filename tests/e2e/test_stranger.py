"""A stranger's path, as the README has it: install, check, enable, a first ban, look at it, undo it, uninstall."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from lab.debian import Debian
from lab.lab import LabUnavailableError
from needs import needs
from test_deb import AS_THE_UNIT_DOES, FAILURE

PROJECT = Path(__file__).parents[2]
VANILLA = PROJECT / "fixtures/machines/freeswitch-vanilla"
PIP = (".", "'.[web,top,metrics,fleet]'", "'sipguard[fleet]'", "'sipguard[web]'", "'sipguard[top]'", "--upgrade .")
LEFT = (
    "find / -xdev -name '*sipguard*' ! -path '/proc/*' ! -path '/srv/*' ! -path '/var/log/*' ! -path '/var/cache/*'"
    " ! -path '/tmp/*'"
)


def _freeswitch(debian, folder):
    """A machine with FreeSWITCH's files, whose log somebody is about to write."""
    subprocess.run(["tar", "-C", VANILLA, "-cf", folder / "freeswitch.tar", "usr", "etc"], check=True)
    debian.take(folder / "freeswitch.tar")
    debian.run(
        "tar -C / -xf /srv/freeswitch.tar --no-same-owner; chmod 755 /usr /usr/bin /etc; mkdir -p /var/log/freeswitch;"
        " chmod -R o= /etc/freeswitch; touch /var/log/freeswitch/freeswitch.log"
    )


def _walk(debian):
    """From `check` to `unban`; the daemon runs, started by systemd or as its unit would start it."""
    debian.run("useradd tess; usermod -aG sipguard tess")
    before = debian.run("cd / && find etc -xdev -type f ! -path 'etc/sipguard/*' | sort | xargs -d '\\n' sha256sum")
    assert "no jail is enabled" in debian.run("sipguard check")
    said = debian.run("sipguard enable --yes")
    assert "FreeSWITCH: " in said
    assert "sipguard has read it; running: freeswitch, sip" in said
    checked = debian.run("sipguard check")
    assert "2 jails" in checked
    assert "sip.carrier-one.example" in checked
    debian.run(f'for i in 1 2 3 4 5; do echo "{FAILURE}" >> /var/log/freeswitch/freeswitch.log; done')
    debian.until("nft list ruleset | grep -q 203.0.113.66")
    assert "freeswitch" in debian.run("sipguard status || true")
    assert "203.0.113.66" in debian.run("sipguard bans")
    assert "wrong password" in debian.run("sipguard explain 203.0.113.66")
    debian.run("sipguard unban 203.0.113.66")
    assert "203.0.113.66" not in debian.run("nft list ruleset")
    assert "203.0.113.66" not in debian.run("sipguard bans || true")
    assert "nobody" in debian.run("sipguard history || true")  # an unban by hand takes the ban back
    debian.run("sipguard enable --undo")
    assert debian.run("ls /etc/sipguard/jails.d") == ""
    assert (
        debian.run("cd / && find etc -xdev -type f ! -path 'etc/sipguard/*' | sort | xargs -d '\\n' sha256sum")
        == before
    )


def _nothing_left(debian):
    assert debian.run("nft list ruleset") == ""
    assert debian.run(LEFT) == ""
    debian.run("getent passwd sipguard", status=2)
    debian.run("getent group sipguard", status=2)


@pytest.mark.timeout(900)
def test_package(packages, machine, tmp_path):
    """apt starts the service; `enable` makes it read what it has written; purge takes everything away."""
    _freeswitch(machine, tmp_path)
    machine.take(*packages)
    assert "What next:" in machine.run("apt-get install -y --no-install-recommends /srv/sipguard_*.deb")
    machine.until("sipguard status | grep -q NOBODY")
    _walk(machine)
    assert "byte for byte" in machine.run("zcat /usr/share/man/man1/sipguard-enable.1.gz")
    machine.run("apt-get purge -y sipguard")
    _nothing_left(machine)


@pytest.mark.timeout(900)
def test_venv(machine, tmp_path):
    """`service install` makes a venv a service, `service uninstall --purge` takes all of it away."""
    machine.go_online()
    try:
        machine.run(
            "apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv",
            online=True,
            timeout=300,
        )
    except AssertionError as error:
        pytest.skip(f"Debian's mirror gives no python3-venv: {str(error)[-200:]}")
    _source(machine, tmp_path)
    machine.run(
        "python3 -m venv /opt/sipguard && cd /srv/source && /opt/sipguard/bin/pip install -q .",
        online=True,
        timeout=400,
    )
    _freeswitch(machine, tmp_path)
    assert "Next: sipguard enable" in machine.run("/opt/sipguard/bin/sipguard service install")
    machine.until("sipguard status | grep -q NOBODY")
    _walk(machine)
    machine.run("sipguard service uninstall --purge && rm -r /opt/sipguard")
    _nothing_left(machine)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_pip_of_the_documentation(debian, tmp_path):
    """One after the other, as they are written."""
    debian.go_online()
    debian.run(
        "apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv", online=True, timeout=300
    )
    _source(debian, tmp_path)
    debian.run("python3 -m venv /opt/sipguard")
    for what in PIP:
        debian.run(f"cd /srv/source && /opt/sipguard/bin/pip install -q {what}", online=True, timeout=300)
    assert "sipguard" in debian.run("/opt/sipguard/bin/sipguard --version")


def _source(debian, folder):
    files = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    wanted = [name for name in files.splitlines() if not name.startswith(("fixtures/", "tests/"))]
    subprocess.run(["tar", "-cf", folder / "source.tar", *wanted], cwd=PROJECT, check=True)
    debian.take(folder / "source.tar")
    debian.run("mkdir /srv/source && tar -C /srv/source -xf /srv/source.tar --no-same-owner")


@pytest.fixture
@needs("root", "lab")
def trixie(tmp_path):
    """A fresh Debian 13 as a chroot."""
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap")
    try:
        one = Debian(tmp_path, "trixie")
    except LabUnavailableError as reason:
        pytest.skip(str(reason))
    yield one
    one.end()


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_package_on_debian_13(trixie, tmp_path):
    """`make deb` says in one line what it needs, builds the package there, and the path is the same."""
    trixie.go_online()
    _source(trixie, tmp_path)
    trixie.run("apt-get update -qq && apt-get install -y -qq --no-install-recommends make", online=True, timeout=300)
    missing = trixie.run("cd /srv/source && make deb", status=2)
    needed = next(
        line for line in missing.splitlines() if line.startswith("build-deb: missing packages; install them: ")
    )
    trixie.run(
        f"apt-get install -y -qq --no-install-recommends {needed.partition('apt install ')[2]}",
        online=True,
        timeout=600,
    )
    trixie.run("cd /srv/source && make deb", online=True, timeout=600)
    _freeswitch(trixie, tmp_path)
    trixie.run("apt-get install -y --no-install-recommends /srv/source/dist/sipguard_*.deb", online=True, timeout=300)
    trixie.run(f"""
        install -d -o sipguard -g sipguard /run/sipguard /var/lib/sipguard
        {AS_THE_UNIT_DOES} /usr/bin/sipguard run > /tmp/out 2>&1 &
        echo $! > /tmp/pid
        for i in $(seq 450); do test -S /run/sipguard/sipguard.sock && break; sleep 0.1; done
    """)
    _walk(trixie)
    trixie.run("kill $(cat /tmp/pid); sleep 2; rm -r /run/sipguard")
    trixie.run("apt-get purge -y sipguard")
    _nothing_left(trixie)
