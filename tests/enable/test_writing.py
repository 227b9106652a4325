"""`sipguard enable` writes after a yes alone, and `--undo` puts back every byte, also after a crash at any moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_line import sipguard
from machines import MACHINES, Tree

from sipguard.enable import writing
from sipguard.enable.machine import Machine

NAMES = sorted(one.name for one in MACHINES.iterdir() if one.is_dir())


class CrashError(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("name", NAMES)
def test_nothing_without_a_yes(tmp_path, name):
    """It says what it would write, and that nothing was."""
    tree = Tree(name, tmp_path)
    before = tree.snapshot()
    done = sipguard("enable", "--root", tree.root)
    assert done.returncode == 1
    assert "  +enabled = true\n" in done.stdout
    assert done.stdout.endswith("Nothing was written.\n")
    assert tree.snapshot() == before


@pytest.mark.parametrize("name", NAMES)
def test_undo_is_exact(tmp_path, name):
    """Content, mode and owner of each file, and no folder more than before."""
    tree = Tree(name, tmp_path)
    before = tree.snapshot()
    assert sipguard("enable", "--root", tree.root, "--yes").returncode == 0
    assert tree.snapshot() != before
    done = sipguard("enable", "--root", tree.root, "--undo")
    assert (done.returncode, done.stderr) == (0, "")
    assert tree.snapshot() == before
    assert sipguard("enable", "--root", tree.root, "--undo").stdout == "Nothing to undo.\n"


@pytest.mark.parametrize("name", ["freepbx", "asterisk-debian", "fusionpbx"])
@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_crash_at_any_moment(tmp_path, monkeypatch, name, call):
    """Whichever call is the last, undo gives the machine of before; and a second `enable` does what the first did not."""
    owner, real = (Path, Path.replace) if call == "replace" else (os, os.fsync)
    for last in range(100):
        folder = tmp_path / str(last)
        folder.mkdir()
        tree = Tree(name, folder)
        before = tree.snapshot()
        calls = iter(range(last))

        def crash(*arguments, calls=calls):
            if next(calls, None) is None:
                raise CrashError
            return real(*arguments)

        monkeypatch.setattr(owner, call, crash)
        done = sipguard("enable", "--root", tree.root, "--yes")
        monkeypatch.setattr(owner, call, real)
        if done.returncode == 0:
            break
        assert "CrashError" in done.stderr
        if last % 2:
            assert sipguard("enable", "--root", tree.root, "--yes").returncode == 0
        assert sipguard("enable", "--root", tree.root, "--undo").returncode == 0
        assert tree.snapshot() == before
    assert last >= 3


def test_two_servers_one_after_the_other(tmp_path):
    """Undo goes back to the machine before the first."""
    tree = Tree("kamailio-debian", tmp_path)
    tree.write("/usr/sbin/opensips", "")
    tree.write("/etc/opensips/opensips.cfg", "socket=udp:*:5070\n")
    before = tree.snapshot()
    for name in ("kamailio", "opensips"):
        assert sipguard("enable", name, "--root", tree.root, "--yes").returncode == 0
    assert {one.name for one in (tree.root / "etc/sipguard/jails.d").iterdir()} == {
        "kamailio.toml",
        "opensips.toml",
        "sip.toml",
    }
    assert sipguard("enable", "--root", tree.root, "--undo").returncode == 0
    assert tree.snapshot() == before


def test_a_file_that_was_changed_since(tmp_path):
    """It is left as it is and named, the others go back; put right, a second undo ends it."""
    tree = Tree("freepbx", tmp_path)
    before = tree.snapshot()
    sipguard("enable", "--root", tree.root, "--yes")
    custom = tree.root / "etc/asterisk/manager_custom.conf"
    written = custom.read_bytes()
    custom.write_bytes(written + b"\n[mine]\n")
    done = sipguard("enable", "--root", tree.root, "--undo")
    assert done.returncode == 1
    assert done.stderr == (
        "left alone: /etc/asterisk/manager_custom.conf: changed since; remove by hand what sipguard wrote there\n"
    )
    assert custom.read_bytes() == written + b"\n[mine]\n"
    assert not (tree.root / "etc/sipguard/jails.d/asterisk.toml").exists()
    custom.write_bytes(written)
    assert sipguard("enable", "--root", tree.root, "--undo").returncode == 0
    assert tree.snapshot() == before


def test_a_link_is_not_followed(tmp_path):
    """The server's user owns its folder: root writes to no file that such a link leads to."""
    tree = Tree("freepbx", tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("root's\n")
    custom = tree.root / "etc/asterisk/manager_custom.conf"
    custom.unlink()
    custom.symlink_to(victim)
    done = sipguard("enable", "--root", tree.root, "--yes")
    assert done.returncode == 2
    assert "is a symbolic link, and is not written to" in done.stderr
    assert victim.read_text() == "root's\n"


def test_the_record_is_for_root_alone(tmp_path):
    """It holds files with passwords, and is what root writes back."""
    tree = Tree("freepbx", tmp_path)
    sipguard("enable", "--root", tree.root, "--yes")
    record = Machine(tree.root).at(writing.RECORD)
    assert record.stat().st_mode & 0o777 == 0o600
    assert record.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.root
def test_owner_and_mode(tmp_path):
    """The manager user's file belongs to the server, as its other files do; one that was there keeps its owner."""
    tree = Tree("asterisk-debian", tmp_path)
    os.chown(tree.root / "etc/asterisk/manager.conf", 1234, 4321)
    sipguard("enable", "--root", tree.root, "--yes")
    made = (tree.root / "etc/asterisk/manager.d/sipguard.conf").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (1234, 4321, 0o600)
    assert (tree.root / "etc/sipguard/manager-password").stat().st_uid == 0
