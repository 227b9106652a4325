"""What README.md tells a stranger to type, typed by one: a plain user of a bare Debian that has what README.md names."""

from __future__ import annotations

import os
import re

import pytest
from lab.bare import PROJECT, BareDebian
from lab.chroot import LabUnavailableError
from needs import needs

CONFIGURED = """
state_dir = "/nonexistent"
[defaults]
bantime = "nonsense"
"""
"""What may lie in /etc/sipguard of the machine: the tests must not read it."""


@pytest.fixture(params=["bookworm", "trixie"])
@needs("root", "lab")
def bare(request, tmp_path):
    """Debian 12, and Debian 13 on which somebody has begun to configure sipguard."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make a Debian of its own")
    try:
        one = BareDebian(tmp_path, request.param)
    except LabUnavailableError as reason:
        pytest.skip(str(reason))
    if request.param == "trixie":
        one.run(f"mkdir -p /etc/sipguard/jails.d; cat > /etc/sipguard/sipguard.toml <<'END'\n{CONFIGURED}END\n")
        one.run("echo 'enabled = true' > /etc/sipguard/jails.d/asterisk.toml")
    yield one
    one.end()


def commands():
    """The first block of README.md: what to see and test it with."""
    block = re.search(r"^```\n(.*?)^```", (PROJECT / "README.md").read_text(), re.S | re.M)[1]
    return [line.partition("#")[0].strip() for line in block.splitlines()]


def test_there_are_commands():
    """The two that every reader tries first."""
    assert commands() == ["make run", "make test"]


@pytest.mark.timeout(1800)
def test_what_a_stranger_types_first(bare, capsys):
    """Each command of it ends well, and nothing fails or is skipped but for a reason that says what is missing."""
    with capsys.disabled():
        for command in commands():
            seconds, told = bare.as_stranger(command, limit=1500)
            print(f"\nDebian {bare.version()}: {command}: {seconds:.0f} s", end=" ")
            if command == "make test":
                print(told.splitlines()[-1], end=" ")
                assert re.search(r" passed", told)
                assert "failed" not in told.splitlines()[-1]
