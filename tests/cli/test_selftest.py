"""`sipguard selftest`: green when all is right; with each stage broken in turn, that stage is named and no other."""

from __future__ import annotations

import contextlib
import subprocess

import pytest
from command_line import sipguard
from registrar import Registrar
from running import RunningDaemon

from tests.feeds.web_server import make_certificates
from tests.netns import namespace

OWN = "198.51.100.2"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("ca"))[1]


@pytest.fixture
def daemon(tmp_path):
    log = tmp_path / "freeswitch.log"
    log.touch()
    one = RunningDaemon(tmp_path, {"freeswitch": {"logpath": str(log), "maxretry": 3}})
    one.server_log = log
    yield one.start()
    one.stop()


def states(printed):
    """Stage → (state, words), of one transport."""
    rows = [line.split(None, 2) for line in printed.splitlines()]
    return {stage: rest.split(": ", 1) for _, stage, rest in rows if ": " in rest}


def run(daemon, registrar, transport, **more):
    done = daemon.sipguard("selftest", "--transport", transport, "--port", registrar.ports[transport], check=False)
    return done.returncode, states(done.stdout)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls", "ws", "wss"])
def test_each_transport(daemon, certificate, transport):
    """All is right but that the firewall is `memory`. Nobody is banned or counted for it."""
    registrar = Registrar(daemon.server_log, certificate)
    try:
        code, found = run(daemon, registrar, transport)
    finally:
        registrar.close()
    assert code == 1
    assert [state for state, _ in found.values()] == ["ok", "ok", "ok", "ok", "FAILED"]
    assert found["bans"][1] == "the firewall is `memory`, which rejects nothing"
    assert found["understood"][1].startswith("by freeswitch")
    assert daemon.banned("freeswitch") == set()


BROKEN = {
    "silent": ("answers", "no answer from"),
    "open": ("refuses", "it lets anybody register"),
    "mute": ("tells", "is it this server's log"),
    "strange": ("understood", "no jail found a failed login"),
}


@pytest.mark.parametrize("habit", BROKEN)
def test_each_stage_broken(daemon, certificate, habit, monkeypatch):
    """The stages before it are green, those behind it are not tried."""
    monkeypatch.setattr("sipguard.cli.selftest.FOLLOW", 3.0)
    monkeypatch.setattr("sipguard.cli.register.PATIENCE", 1.0)
    registrar = Registrar(daemon.server_log, certificate, habit=habit)
    try:
        code, found = run(daemon, registrar, "udp")
    finally:
        registrar.close()
    *before, last = found
    assert (code, last) == (1, BROKEN[habit][0])
    assert [found[stage][0] for stage in before] == ["ok"] * len(before)
    assert found[last][0] == "FAILED"
    assert BROKEN[habit][1] in found[last][1]


def test_nothing_listens(daemon):
    """Nothing to test is no success; another machine is never asked."""
    done = daemon.sipguard("selftest", "--port", "1", check=False)
    assert done.returncode == 1
    assert "no SIP server listens here" in done.stdout
    done = daemon.sipguard("selftest", "--to", "192.0.2.1", check=False)
    assert done.returncode == 2
    assert "not an address of this machine" in done.stderr


@pytest.mark.root
def test_all_green(tmp_path, certificate, monkeypatch):
    """With a firewall that rejects: exit status 0. A jail that does not spare this machine is told of."""
    monkeypatch.setattr("sipguard.cli.selftest.FOLLOW", 3.0)
    with namespace("nft") as net, contextlib.ExitStack() as stack:
        subprocess.run(["ip", "-n", net.name, "address", "add", f"{OWN}/32", "dev", "lo"], check=True)
        log = tmp_path / "freeswitch.log"
        log.touch()
        jail = {"logpath": str(log), "maxretry": 9}
        inside = ("ip", "netns", "exec", net.name)
        daemon = RunningDaemon(tmp_path, {"freeswitch": jail}, firewall="nftables", prefix=inside)
        with net.inside():
            registrar = Registrar(log, certificate, host=OWN)
        stack.callback(registrar.close)
        daemon.start()
        stack.callback(daemon.stop)

        def tried():
            with net.inside():
                done = sipguard(
                    "selftest",
                    "--socket",
                    daemon.socket,
                    "--to",
                    OWN,
                    "--transport",
                    "tcp",
                    "--port",
                    registrar.ports["tcp"],
                )
            return done.returncode, states(done.stdout)

        code, found = tried()
        assert [state for state, _ in found.values()] == ["ok"] * 5
        assert (code, found["bans"][1]) == (0, "freeswitch would ban a stranger after maxretry of these")
        daemon.write_jail("freeswitch", **jail, ignoreself=False)
        daemon.sipguard("reload")
        code, found = tried()
        assert (code, found["understood"][0]) == (1, "FAILED")
        assert "write ignoreself = true" in found["understood"][1]
