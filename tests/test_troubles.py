"""What is wrong is told once for all that is mended at once, with what mends it."""

from __future__ import annotations

from sipguard.troubles import troubles

FINE = {"backend": "nftables", "problem": None, "unruled": {}}


def _told(**jail):
    jail = {"name": "kamailio", "problem": None, "events": None, "logs": {}, "actions": [], **jail}
    return troubles({"firewall": FINE, "state": {"problem": None}, "errors": [], "jails": [jail]})


def test_logs_that_miss_are_told_together():
    """One line for each cause, however many logs it has."""
    gone = {f"/var/log/{name}": "no such file" for name in "abcdef"}
    first, second = _told(logs={**gone, "/var/log/x": "permission denied", "/var/log/y": None})
    names = "/var/log/a, /var/log/b, /var/log/c, /var/log/d and 2 more"
    assert first.text == f"jail kamailio: {names}: no such file"
    assert second.text == "jail kamailio: /var/log/x: permission denied"
    assert "logpath of jails.d/kamailio.toml" in first.mend
    assert second.mend == "namei -l /var/log/x"  # it is the right log


def test_what_mends_events():
    """A question to the server that is silent; `sipguard check` knows nothing of it."""
    for scheme, command in (("asterisk", "asterisk -rx"), ("freeswitch", "fs_cli -x")):
        events = {"url": f"{scheme}://127.0.0.1:1", "speaks": False, "problem": "Connection refused"}
        (one,) = _told(events=events, logs={"/var/log/a": None})
        assert one.text == f"jail kamailio: no events of {scheme}://127.0.0.1:1: Connection refused"
        assert one.mend.startswith(command)
        assert one.level == "warning"
