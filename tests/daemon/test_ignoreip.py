"""Slips in `ignoreip` are told, and the rest of the list holds."""

from __future__ import annotations

import time

import pytest
import toml
from command_line import sipguard
from running import append, failure, running
from test_pending_lookups import tree_with

from sipguard.config.settings import load

SLIPS = ("192.168.0.0.22", "192.0.2.1-192.0.2.9", "#")
FRIEND, LISTED, ATTACKER = "198.51.100.7", "198.51.100.9", "203.0.113.5"


def bad(host):
    """A failure of this host, now."""
    return time.strftime(f"%Y-%m-%d %H:%M:%S bad {host}\n")


def check(arguments, status=0):
    """What `check` says on standard error."""
    done = sipguard("check", *arguments)
    assert done.returncode == status, done
    return done.stderr


def test_slips_are_told(tmp_path):
    """`check` and the log name each; a list in a file says how many of its words are none."""
    listed = tmp_path / "list"
    listed.write_text(f"{LISTED}\n198.51.100.300 # a slip\n10.0.0.1-10.0.0.9\n")
    jail = f"ignoreip = {' '.join(SLIPS)} office {FRIEND} file:{listed}\n"
    arguments, log = tree_with(tmp_path, jail)
    with running(tmp_path, {}, arguments=arguments) as daemon:
        told = check(arguments)
        for slip in SLIPS:
            told_so = f"jail demo: {wrong(slip)}"
            assert f"warning: {told_so}\n" in told
            daemon.wait_logged(told_so)
        daemon.wait_logged(
            f"ignoreip file:{listed}: 2 of its 3 entries are not addresses, and protect nobody; the first is 198.51.100.300"
        )
        daemon.wait_logged("ignoreip office: no address found for this name")
        append(log, (bad(FRIEND) + bad(LISTED) + bad(ATTACKER)) * 3)
        daemon.wait_logged(f"[demo] Ban {ATTACKER}")
        assert daemon.banned("demo") == {ATTACKER}


def wrong(slip):
    """What is told of an entry that is none."""
    return f"ignoreip: '{slip}' is not an address, network or host name; it protects nobody"


@pytest.mark.parametrize(
    ("entry", "slip"),
    [
        *((slip, slip) for slip in (*SLIPS, "192.0.2.0/33", "192.0.2.300", "exa$mple.com", "192.0.2.x", "fe80::1::2")),
        (5, "5"),
    ],
)
def test_a_slip_in_toml_stops_no_jail(tmp_path, entry, slip):
    """Alone in the list, or in `[defaults]`, once for all jails, with its place: the jail is there."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "sipguard.toml").write_text(toml.dumps({"defaults": {"ignoreip": [entry]}}))
    keys = {"enabled": True, "filter": "freeswitch", "logpath": "/dev/null"}
    for name, own in (("one", {"ignoreip": [entry]}), ("two", {}), ("three", {})):
        (tmp_path / "jails.d" / f"{name}.toml").write_text(toml.dumps({**keys, **own}))
    settings = load(tmp_path / "sipguard.toml")
    assert not settings.errors
    assert {jail.name: jail.ignoreip for jail in settings.jails} == {"one": (), "two": (), "three": ()}
    assert settings.ignoreip == ()
    assert settings.warnings == (
        f"{tmp_path}/sipguard.toml:2: [defaults] {wrong(slip)}",
        f"{tmp_path}/jails.d/one.toml:4: jail one: {wrong(slip)}",
    )


def test_slips_in_toml_are_told(tmp_path):
    """At `check`, at the start and at a reload; the rest of the list holds, and the attacker is banned."""
    log = tmp_path / "log"
    log.touch()
    keys = {"filter": "freeswitch", "logpath": str(log), "maxretry": 2}
    with running(tmp_path, {"demo": {**keys, "ignoreip": [*SLIPS, FRIEND]}}) as daemon:
        told = check(["-c", daemon.config])
        for slip in SLIPS:
            assert f"warning: {tmp_path}/jails.d/demo.toml:5: jail demo: {wrong(slip)}\n" in told
            daemon.wait_logged(f"jail demo: {wrong(slip)}")
        append(log, (failure(FRIEND) + failure(ATTACKER)) * 3)
        daemon.wait_logged(f"[demo] Ban {ATTACKER}")
        assert daemon.banned("demo") == {ATTACKER}
        daemon.write_jail("demo", **keys, ignoreip=f"192.0.2.300, {LISTED}")
        daemon.sipguard("reload")
        daemon.wait_logged(f"jail demo: {wrong('192.0.2.300')}")
        append(log, (failure(LISTED) + failure("203.0.113.6")) * 3)
        daemon.wait_logged("[demo] Ban 203.0.113.6")
        assert daemon.banned("demo") == {ATTACKER, "203.0.113.6"}


@pytest.mark.parametrize(("everybody", "kind"), [("0.0.0.0/0", "IPv4"), ("::/0", "IPv6")])
def test_everybody(tmp_path, everybody, kind):
    """A list that lets everybody pass is kept, and told of: the jail bans nobody."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "sipguard.toml").write_text("")
    keys = {"enabled": True, "filter": "freeswitch", "logpath": "/dev/null", "ignoreip": ["192.0.2.1", everybody]}
    (tmp_path / "jails.d" / "one.toml").write_text(toml.dumps(keys))
    told = (
        f"{tmp_path}/jails.d/one.toml:4: jail one: ignoreip: {everybody} protects every {kind} address; none is banned"
    )
    settings = load(tmp_path / "sipguard.toml")
    assert settings.warnings == (told,)
    assert settings.jails[0].ignoreip == ("192.0.2.1", everybody)
