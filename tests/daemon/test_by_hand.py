"""A ban by hand that names no jail: every port, in a jail of its own that is there for as long as it holds a ban."""

import signal

import pytest
from running import PATIENCE, ask, running

from sipguard.errors import SipguardError
from sipguard.fail2ban.client.connection import Connection

BAD, WORSE, GOOD = "203.0.113.5", "2001:db8:66::/48", "192.0.2.77"
FREESWITCH = {"freeswitch": {"logpath": "/dev/null", "ignoreip": [GOOD]}}


def jails(daemon):
    return [jail["name"] for jail in ask(daemon.socket, "status")["jails"]]


def as_fail2ban(daemon, *words):
    """What Fail2ban's client is answered."""
    with Connection(str(daemon.folder / "f2b.sock"), PATIENCE) as connection:
        return connection.ask(words)[1]


@pytest.fixture
def daemon(tmp_path):
    with running(tmp_path, FREESWITCH, arguments=["--fail2ban-socket", tmp_path / "f2b.sock"]) as one:
        yield one


def test_the_jail_comes_and_goes(daemon):
    """Fail2ban's `status` names it once it holds a ban; with the last one it ends."""
    assert jails(daemon) == ["freeswitch"]
    said = daemon.sipguard("ban", BAD, WORSE, "--reason", "calls at night").stdout
    assert f"{BAD} banned by hand until" in said
    assert jails(daemon) == ["freeswitch", "by-hand"]
    ban = daemon.status("by-hand")["banned"][0]
    assert (ban["reason"], ban["evidence"], ban["until"] - ban["since"]) == ("calls at night", "hand", 86_400)
    assert daemon.sipguard("unban", BAD).stdout == f"{BAD} unbanned in by-hand\n"
    daemon.sipguard("unban", WORSE)
    daemon.wait_for(lambda: jails(daemon) == ["freeswitch"], "the end of the jail")


def test_who_is_never_banned_is_not_banned_by_hand(daemon):
    """Neither is what is no address; the others are."""
    done = daemon.sipguard("ban", GOOD, "nobody", BAD, check=False)
    assert done.returncode == 2
    assert f"{GOOD} is not banned" in done.stderr
    assert "'nobody' is not an address" in done.stderr
    assert daemon.banned("by-hand") == {BAD}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_outlives_a_restart_and_a_reload(daemon, number):
    """Its bans are bans like any other."""
    daemon.sipguard("ban", BAD, "--time", "1h")
    until = daemon.status("by-hand")["banned"][0]["until"]
    daemon.sipguard("reload")
    assert daemon.status("by-hand")["banned"][0]["until"] == until
    daemon.stop(number)
    daemon.start()
    assert daemon.status("by-hand")["banned"][0]["until"] == until
    daemon.sipguard("unban", BAD)


def test_a_jail_of_the_operators_has_that_name(tmp_path):
    """Then it is theirs, with its ports, and `ban` names it or another."""
    with running(tmp_path, {"by-hand": {"filter": "freeswitch", "logpath": "/dev/null"}}) as daemon:
        with pytest.raises(SipguardError, match="your configuration has a jail named by-hand"):
            ask(daemon.socket, "ban", addresses=[BAD])
        daemon.sipguard("ban", BAD, "--jail", "by-hand")
        assert daemon.banned("by-hand") == {BAD}


def test_fail2bans_client_sees_it(daemon):
    """`status` lists it, `unbanip` works on it."""
    daemon.sipguard("ban", BAD)
    assert "by-hand" in str(as_fail2ban(daemon, "status"))
    assert as_fail2ban(daemon, "set", "by-hand", "unbanip", BAD) == 1
    assert daemon.banned("by-hand") == set()
