"""Maintainer and homepage are set in one place; what stands for them until then cannot be taken for real."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from sipguard import __version__

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_no_placeholder_looks_real():
    """Either of them is real, or its name ends in .invalid, which no mail server and no browser finds (RFC 2606)."""
    given = [PROJECT["maintainers"][0]["email"].partition("@")[2], PROJECT["urls"]["Homepage"].split("/")[2]]
    for host in given:
        assert not host.endswith((".example", ".test", ".localhost", "example.com", "example.org", "example.net")), host


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="needs git and a clone of it")
def test_they_stand_in_one_place():
    """No other file names them."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = re.compile("|".join(map(re.escape, (PROJECT["maintainers"][0]["email"], PROJECT["urls"]["Homepage"]))))
    files = [ROOT / name for name in tracked if not name.startswith("fixtures/")]
    found = [file.name for file in files if file.is_file() and names.search(file.read_text(errors="replace"))]
    assert found == ["pyproject.toml"]


def test_the_version_is_that_of_the_newest_release():
    """CHANGELOG.md has each release with its date; before the first one checkouts say 0.1.0."""
    sections = re.findall(r"^## \[(.+)\](.*)$", CHANGELOG, re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    for version, date in sections[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert re.fullmatch(r" - \d{4}-\d\d-\d\d", date)
    assert __version__ == ([version for version, _ in sections[1:]] or ["0.1.0"])[0]
