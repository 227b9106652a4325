"""A jail whose configuration is wrong: at a reload it goes on as it was, at a start it keeps its bans; nothing is lost."""

import json
import time

import pytest
from running import append, failure, running

from sipguard.fail2ban.client.connection import Connection

ATTACKER = "203.0.113.66"
LATER = "203.0.113.67"


class Toml:
    """Jails of sipguard's own."""

    arguments = ()

    def __init__(self, folder, log, jails):
        self.folder, self.log = folder, log
        self.jails = {name: {"filter": "freeswitch", "logpath": str(log), "maxretry": 2} for name in jails}

    def write(self, daemon, name, wrong):
        """Its file, `wrong` in one of several ways, or right."""
        keys = {"filter": "freeswitch", "logpath": str(self.log), "maxretry": 2}
        path = daemon.folder / "jails.d" / f"{name}.toml"
        match wrong:
            case "a value":
                daemon.write_jail(name, **{**keys, "maxretry": "many"})
            case "the filter":
                daemon.write_jail(name, **{**keys, "filter": "nonesuch"})
            case "the syntax":
                path.write_text("enabled = true\nfilter = \n")
            case "disabled":
                daemon.write_jail(name, **keys)
                path.write_text(path.read_text().replace("enabled = true", "enabled = false"))
            case _:
                daemon.write_jail(name, **keys)


class Tree:
    """Jails of a Fail2ban tree."""

    def __init__(self, folder, log, jails):
        self.log, self.names, self.jails = log, jails, {}
        self.tree = folder / "tree"
        (self.tree / "filter.d").mkdir(parents=True)
        (self.tree / "filter.d" / "demo.conf").write_text(
            "[Definition]\nfailregex = ^.* SIP auth failure .* from ip <ADDR>$\n"
        )
        (self.tree / "fail2ban.conf").write_text(
            f"[Definition]\nsocket = {folder}/f2b.sock\npidfile = none\ndbfile = {folder}/f2b.sqlite3\n"
            f"logtarget = {folder}/sipguard.log\n"
        )
        for name in jails:
            self.write(None, name, "")
        self.arguments = ["--fail2ban-dir", str(self.tree)]

    def write(self, _daemon, name, wrong):
        """Its file, `wrong` in one of several ways, or right."""
        (self.tree / "jail.d").mkdir(exist_ok=True)
        (self.tree / "jail.conf").touch()
        enabled = "false" if wrong == "disabled" else "true"
        path = "%(nothing)s" if wrong == "the syntax" else self.log
        text = f"[{name}]\nenabled = {enabled}\nlogpath = {path}\nbackend = polling\n"
        text += "filter = nonesuch\n" if wrong == "the filter" else "filter = demo\n"
        text += "maxretry = many\n" if wrong == "a value" else "maxretry = 2\n"
        (self.tree / "jail.d" / f"{name}.conf").write_text(text)


@pytest.fixture(params=[Toml, Tree])
def kind(request):
    """Where jails come from."""
    return request.param


@pytest.fixture(params=[["pbx"], ["other", "pbx"]], ids=["the only jail", "the second jail"])
def jails(request):
    """The jail `pbx`, and those beside it."""
    return request.param


def banned(daemon):
    """Who the jail bans, as `explain` and the state have it; also when the jail does not run."""
    story = json.loads(daemon.sipguard("explain", ATTACKER, "--json", check=False).stdout)
    return {ban["jail"] for ban in story["bans"]}


@pytest.mark.parametrize("wrong", ["a value", "the filter", "the syntax"])
def test_wrong_at_a_reload(tmp_path, log, kind, jails, wrong):
    """It goes on with its last good configuration, and whoever asks is told; mended, it runs by the new one."""
    source = kind(tmp_path, log, jails)
    with running(tmp_path, source.jails, arguments=source.arguments) as daemon:
        append(log, failure(ATTACKER) * 2)
        for name in jails:
            daemon.wait_logged(f"[{name}] Ban {ATTACKER}")
        source.write(daemon, "pbx", wrong)
        done = daemon.sipguard("reload", check=False)
        assert done.returncode == 2
        assert "jail pbx goes on as before" in done.stderr
        assert any(  # in `status` too
            "jail pbx goes on as before" in error
            for error in json.loads(daemon.sipguard("status", "--json").stdout)["errors"]
        )
        assert "jail pbx goes on as before" in daemon.logged()
        told = daemon.sipguard("status").stdout
        assert "not in force: " in told
        assert "not running" not in told
        assert banned(daemon) == set(jails)
        append(log, failure(LATER) * 2)
        daemon.wait_logged(f"[pbx] Ban {LATER}")
        if kind is Tree:
            with Connection(str(tmp_path / "f2b.sock"), timeout=20) as connection:
                status, error = connection.ask(["reload", "--all", [], []])
                assert (status, "jail pbx goes on as before" in str(error)) == (1, True)
        source.write(daemon, "pbx", "")
        daemon.sipguard("reload")
        assert banned(daemon) == set(jails)
        assert f"[pbx] Unban {ATTACKER}" not in daemon.logged()


@pytest.mark.parametrize("wrong", ["a value", "the filter", "the syntax"])
def test_wrong_at_a_start(tmp_path, log, kind, jails, wrong):
    """The jail cannot run, its bans stay until their time; mended, it runs and has them."""
    source = kind(tmp_path, log, jails)
    with running(tmp_path, source.jails, arguments=source.arguments) as daemon:
        append(log, failure(ATTACKER) * 2)
        for name in jails:
            daemon.wait_logged(f"[{name}] Ban {ATTACKER}")
        until = daemon.status("pbx")["banned"][0]["until"]
        source.write(daemon, "pbx", wrong)
        daemon.stop()
        daemon.start()
        assert "jail pbx does not run, its bans stay until their time" in daemon.logged()
        assert banned(daemon) == set(jails)
        source.write(daemon, "pbx", "")
        daemon.sipguard("reload")
        assert abs(daemon.status("pbx")["banned"][0]["until"] - until) < 1
        source.write(daemon, "pbx", wrong)
        daemon.stop()
        daemon.start()
        daemon.sipguard("unban", ATTACKER)
        assert banned(daemon) == set()


def test_disabled_and_enabled_again(tmp_path, log, kind, jails):
    """A jail that is disabled rejects nobody; enabled again it rejects whom it had banned, for the time that is left."""
    source = kind(tmp_path, log, jails)
    with running(tmp_path, source.jails, arguments=source.arguments) as daemon:
        append(log, failure(ATTACKER) * 2)
        daemon.wait_logged(f"[pbx] Ban {ATTACKER}")
        until = daemon.status("pbx")["banned"][0]["until"]
        source.write(daemon, "pbx", "disabled")
        daemon.sipguard("reload", check=False)  # 1 if it was the only jail
        assert banned(daemon) == set(jails) - {"pbx"}
        time.sleep(1)
        source.write(daemon, "pbx", "")
        daemon.sipguard("reload")
        assert daemon.status("pbx")["banned"][0]["until"] == pytest.approx(until, abs=0.5)
        assert daemon.logged().count(f"[pbx] Ban {ATTACKER}\n") == 1
