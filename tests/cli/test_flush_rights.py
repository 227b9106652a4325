"""`sipguard flush --kernel` without the right to look into the firewall: refused, never `nothing was there`."""

from __future__ import annotations

from command_line import sipguard


def test_refused(monkeypatch):
    """The kernel shows nothing to such a user, which is no answer."""
    monkeypatch.setattr("sipguard.firewall.host.may_change_firewalls", lambda: False)
    done = sipguard("flush", "--kernel", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "sipguard: only root may look into the firewall; use sudo: sudo sipguard flush --kernel\n"
