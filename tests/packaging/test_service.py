"""`sipguard service install`: the unit for this installation's path, and nothing left after `uninstall`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import sipguard

from sipguard.service.files import unit

PROGRAM = Path(sys.prefix) / "bin/sipguard"


def _tree(root):
    return sorted(str(one.relative_to(root)) for one in root.rglob("*") if not one.is_dir())


def test_install_and_uninstall(tmp_path):
    """A second time it changes nothing; the operator's configuration stays unless it is purged."""
    (tmp_path / "etc/sipguard").mkdir(parents=True)
    (tmp_path / "etc/sipguard/sipguard.toml").write_text("# mine\n")
    for _ in range(2):
        done = sipguard("service", "install", "--root", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    tree = _tree(tmp_path)
    assert [one for one in tree if "/man1/" not in one] == [
        "etc/logrotate.d/sipguard",
        "etc/sipguard/sipguard.toml",
        "etc/systemd/system/sipguard.service",
        "usr/local/bin/sipguard",
        "usr/local/share/bash-completion/completions/sipguard",
        "usr/local/share/fish/vendor_completions.d/sipguard.fish",
        "usr/local/share/zsh/site-functions/_sipguard",
    ]
    assert "usr/local/share/man/man1/sipguard-enable.1" in tree
    text = (tmp_path / "etc/systemd/system/sipguard.service").read_text()
    assert f"\nExecStart={PROGRAM} run\n" in text
    assert "/usr/bin/sipguard" not in text
    assert (tmp_path / "usr/local/bin/sipguard").resolve() == PROGRAM.resolve()
    assert (tmp_path / "etc/sipguard/sipguard.toml").read_text() == "# mine\n"
    assert sipguard("service", "uninstall", "--root", tmp_path).returncode == 0
    assert _tree(tmp_path) == ["etc/sipguard/sipguard.toml"]
    assert sipguard("service", "uninstall", "--root", tmp_path, "--purge").returncode == 0
    assert _tree(tmp_path) == []
    assert not (tmp_path / "etc/sipguard").exists()


def test_systemd_likes_it(tmp_path):
    """No key is unknown, and the program that it names is there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs the program systemd-analyze")
    path = tmp_path / "sipguard.service"
    path.write_text(unit(PROGRAM))
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("path", ["etc/systemd/system/sipguard.service", "usr/local/bin/sipguard"])
def test_what_others_have_made_stays(tmp_path, path):
    """It is named, and neither overwritten nor removed."""
    other = tmp_path / path
    other.parent.mkdir(parents=True)
    other.write_text("another's\n")
    done = sipguard("service", "install", "--root", tmp_path)
    assert done.returncode == 2
    assert f"/{path}: exists, and sipguard has not written it" in done.stderr
    sipguard("service", "uninstall", "--root", tmp_path, "--purge")
    assert other.read_text() == "another's\n"


def test_not_beside_the_package(tmp_path):
    """The package's unit is its own."""
    other = tmp_path / "usr/lib/systemd/system/sipguard.service"
    other.parent.mkdir(parents=True)
    other.touch()
    done = sipguard("service", "install", "--root", tmp_path)
    assert done.returncode == 2
    assert "a package has the service already" in done.stderr


def test_a_path_that_systemd_cannot_take(tmp_path, monkeypatch):
    """Blanks and percent signs would be read as something else."""
    (tmp_path / "my venv/bin").mkdir(parents=True)
    (tmp_path / "my venv/bin/sipguard").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "my venv"))
    done = sipguard("service", "install", "--root", tmp_path)
    assert done.returncode == 2
    assert "systemd needs a path of letters" in done.stderr
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "nothing"))
    assert "no such program" in sipguard("service", "install", "--root", tmp_path).stderr
