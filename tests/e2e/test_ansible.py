"""The Ansible role, run against a Debian that is thrown away."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PLAYBOOK = Path(__file__).parents[2] / "packaging/ansible/playbook.yml"


@pytest.fixture
def ansible():
    """The programs, when they are here with the connection for chroots."""
    if shutil.which("ansible-playbook") is None:
        pytest.skip("needs ansible with community.general: pip install ansible ansible-lint")
    return "ansible-playbook"


def test_lint(ansible):
    """ansible-lint finds nothing."""
    if shutil.which("ansible-lint") is None:
        pytest.skip("needs ansible-lint")
    done = subprocess.run(
        ["ansible-lint", "--offline", "--strict", "."], cwd=PLAYBOOK.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(900)
def test_role(ansible, packages, debian):
    """Installs, configures and enables; a second run changes nothing; a wrong jail fails with what `check` says."""
    debian.run(
        "mkdir -p /etc/opensips /usr/sbin; touch /usr/sbin/opensips; echo 'socket=udp:*:5070' > /etc/opensips/opensips.cfg"
    )

    def play(*extra):
        given = [word for one in (f"sipguard_package={packages[0]}", *extra) for word in ("-e", one)]
        line = debian.outside(ansible, "-i", f"{debian.root},", "-c", "community.general.chroot", *given, str(PLAYBOOK))
        env = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0"}
        return subprocess.run(line, capture_output=True, text=True, check=False, env=env, timeout=600)

    wanted = (
        '{"sipguard_defaults": {"bantime": "2h"}, "sipguard_jails": {"asterisk": {"enabled": true, "maxretry": 3}}}'
    )
    first = play(wanted)
    assert first.returncode == 0, first.stdout + first.stderr
    assert 'bantime = "2h"' in debian.run("cat /etc/sipguard/sipguard.toml")
    assert "after 3 failures" in debian.run("sipguard check")
    assert '"5070"' in debian.run("cat /etc/sipguard/jails.d/opensips.toml")
    again = play(wanted)
    assert "changed=0" in again.stdout, again.stdout
    wrong = play('{"sipguard_jails": {"asterisk": {"enabled": true, "maxretry": "three"}}}')
    assert wrong.returncode == 2
    assert "must be a whole number of 1 or more" in wrong.stdout
