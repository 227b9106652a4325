"""The README's commands in a Debian that has nothing but apt: with the packages that the README names, and no others."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from effort import LONG
from lab.debian import KNOWN, Debian
from lab.lab import LabUnavailableError
from needs import needs

PROJECT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(1800)
BLOCKS = [
    block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```", (PROJECT / "README.md").read_text(), re.M | re.S)
]
ELSEWHERE = {
    "sudo sipguard enable": "test_stranger.py walks there, on a machine with a SIP server",
    "podman build": "test_container.py builds it",
}
"""First words of a block, and where it is tried instead."""
AS_SOMEBODY = "setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/home/somebody sh -ec"


def block_of(word):
    """The block of the README with this command."""
    (found,) = [block for block in BLOCKS if any(line.startswith(word) for line in block)]
    return found


def on(*suites):
    """Debian 12 and 13 in `make test-long`, otherwise these."""
    return pytest.mark.parametrize("bare", KNOWN if LONG else suites, indirect=True)


@pytest.fixture
@needs("root", "lab")
def bare(request, tmp_path):
    """`bare(install)` gives a Debian in which `install`, a line of the README, was done; with a checkout in somebody's home."""
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap")
    with contextlib.ExitStack() as stack:

        def made(install):
            try:
                one = Debian(tmp_path, request.param, bare=True, after=as_root(install))
            except LabUnavailableError as reason:
                pytest.skip(str(reason))
            stack.callback(one.end)
            one.go_online()
            files = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout
            pack = ["tar", "--null", "-T", "-", "-cf", tmp_path / "source.tar"]
            subprocess.run(pack, input=files, cwd=PROJECT, check=True)
            one.take(tmp_path / "source.tar")
            one.run("useradd --create-home --uid 1000 somebody; mkdir /home/somebody/sipguard")
            one.run("tar -C /home/somebody/sipguard -xf /srv/source.tar; chown -R somebody: /home/somebody")
            return one

        yield made


def as_root(line):
    """A line that begins with `sudo`, for root and without a question."""
    install = "apt-get update -qq; apt-get install -y -qq --no-install-recommends"
    return line.removeprefix("sudo ").replace("apt install", install)


def follow(make, lines):
    """Do what a block says: `sudo` as root, the rest as somebody; gives the Debian and what the last line prints."""
    install, *lines = (line.partition(" #")[0].strip() for line in lines)
    assert install.startswith("sudo apt install")
    debian, said = make(install), ""
    for line in lines:
        command = as_root(line) if line.startswith("sudo ") else f"{AS_SOMEBODY} '{line}'"
        said = debian.run(f"cd /home/somebody/sipguard; {command}", online=True, timeout=1500)
    return debian, said


def test_every_block_is_tried():
    """Here, or elsewhere."""
    here = ("make deb", "sudo python3 -m venv", "make run", "make test")
    for block in BLOCKS:
        assert any(line.startswith((*here, *ELSEWHERE)) for line in block), block


@on("trixie")  # for Debian 12: test_stranger.py
def test_a_package_is_built_and_installed(bare):
    """And the program runs."""
    debian, _ = follow(bare, block_of("make deb"))
    assert debian.run("sipguard --version").startswith("sipguard, version ")


@on("trixie")
def test_a_venv(bare):
    """All but the last line, which needs systemd: test_stranger.py."""
    *lines, last = block_of("sudo python3 -m venv")
    debian, _ = follow(bare, lines)
    assert last == "sudo /opt/sipguard/bin/sipguard service install"
    assert debian.run("/opt/sipguard/bin/sipguard --version").startswith("sipguard, version ")
    assert "no jail is enabled" in debian.run("/opt/sipguard/bin/sipguard check")


@on("bookworm")
def test_a_look_first(bare):
    """The demonstration shows bans; it goes on until somebody ends it."""
    *lines, last = block_of("make run")
    debian, _ = follow(bare, lines)
    shown = "for i in $(seq 600); do grep -q Ban /tmp/said && break; sleep 0.5; done; kill $!"
    ended = f"{AS_SOMEBODY} '{last} > /tmp/said 2>&1 & {shown}'"
    debian.run(f"cd /home/somebody/sipguard; {ended}", online=True, timeout=400)
    assert " Ban " in debian.run("cat /tmp/said")


@on("bookworm", "trixie")
def test_the_tests(bare):
    """All of them in `make test-long`; otherwise those of a folder."""
    *lines, last = block_of("make test")
    _, said = follow(bare, [*lines, last if LONG else f"{last} ARGS=tests/policy"])
    assert " passed" in said
