"""The Ansible role, run against a Debian that is thrown away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from needs import needs

PLAYBOOK = Path(__file__).parents[2] / "packaging/ansible/playbook.yml"


@pytest.fixture
@needs("ansible")
def programs():
    """The environment for Ansible's programs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Not the configuration that tests have: the role's own is in the throw-away Debian.
    return {name: value for name, value in os.environ.items() if name != "SIPGUARD_CONFIG"} | {
        "PATH": path,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).parent / "lab/ansible_connection"),
    }


def test_lint(programs):
    """ansible-lint finds nothing."""
    line = ["ansible-lint", "--offline", "--strict", "."]
    done = subprocess.run(line, cwd=PLAYBOOK.parent, env=programs, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(900)
def test_role(programs, packages, debian):
    """Installs, configures and enables; a second run changes nothing; a wrong jail fails with what `check` says."""
    debian.run(
        "mkdir -p /etc/opensips /usr/sbin; touch /usr/sbin/opensips; echo 'socket=udp:*:5070' > /etc/opensips/opensips.cfg"
    )

    def play(*extra):
        given = [word for one in (f"sipguard_package={packages[0]}", *extra) for word in ("-e", one)]
        line = debian.outside(
            "ansible-playbook", "-i", f"{debian.root},", "-u", "root", "-c", "lab_chroot", *given, str(PLAYBOOK)
        )
        return subprocess.run(line, capture_output=True, text=True, check=False, env=programs, timeout=600)

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
