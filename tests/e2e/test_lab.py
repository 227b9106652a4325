"""The lab itself: what its hosts do must be what the tests and the sample logs take it for."""

from __future__ import annotations

import subprocess

import pytest
from lab.chroot import install
from lab.lab import ATTACKER, PHONE, SUITES, Lab, LabUnavailableError, _call, sweep

# The first use of a suite may have to install it.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(params=list(SUITES))
def running(lab, request):
    """A running lab of each suite."""
    return lab(request.param)


def written(running):
    """The log of security events, once all is in it that has happened; another test may have left odd bytes there."""
    running.settle()
    return running.log("security").read_text(errors="replace")


def test_a_wrong_password_is_answered_401_and_logged(running):
    """Each guess leaves one ChallengeResponseFailed with the attacker's address."""
    before = written(running)
    assert running.guess(2) == ["401", "401"]
    lines = [line for line in written(running).removeprefix(before).splitlines() if "ChallengeResponseFailed" in line]
    assert len(lines) == 2
    assert all(f"/{ATTACKER}/" in line for line in lines)


def test_the_right_password_is_answered_200(running):
    """The phone registers, and the log says so with its address."""
    before = written(running)
    assert running.register() == "200"
    assert f"/{PHONE}/" in written(running).removeprefix(before)


def test_sipvicious_reaches_the_server(running):
    """svcrack's guesses arrive: one ChallengeResponseFailed each."""
    before = written(running)
    running.crack(5)
    assert written(running).removeprefix(before).count("ChallengeResponseFailed") >= 5


def test_a_run_leaves_nothing_behind(lab):
    """`down` removes namespaces and directory; two labs of one suite run side by side."""
    first = lab("sid")
    with Lab("sid") as second:
        assert second.guess() == ["401"]
        assert first.register() == "200"
        second.settle()
        assert ATTACKER in second.log("full").read_text()
    assert second.name not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert not second.home.exists()
    assert first.register() == "200"


def test_a_failed_start_leaves_nothing_behind(lab, monkeypatch):
    """An error half way through `up` takes with it what was made so far."""
    lab("sid")
    broken = Lab("sid")
    monkeypatch.setattr(broken, "_start", lambda: _call("false"))
    with pytest.raises(LabUnavailableError, match="`false` failed"):
        broken.up()
    assert broken.name not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert not broken.home.exists()


def test_what_a_killed_run_left_behind_is_swept(lab):
    """A namespace whose process is gone goes; those of living runs stay."""
    alive = lab("sid")
    gone = subprocess.Popen(["true"])
    gone.wait()
    orphan = f"sglab-{gone.pid}-0-pbx"
    _call("ip", "netns", "add", orphan)
    sweep(alive.cache)
    names = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert orphan not in names
    assert alive.namespace("pbx") in names


def test_an_unknown_suite_is_refused_with_the_choice():
    """The reason names what there is."""
    with pytest.raises(LabUnavailableError, match="sid, bullseye"):
        Lab("potato")


def test_a_failed_installation_says_so_and_leaves_no_chroot(lab, tmp_path):
    """What debootstrap began is removed, so that the next run begins anew."""
    lab("sid")
    with pytest.raises(LabUnavailableError, match="debootstrap of potato-chips failed"):
        install("potato-chips", tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
