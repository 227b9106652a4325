"""`sipguard selftest` beside real servers: green by each transport, and with each stage broken that stage is named, no other."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest
from lab.asterisk_conf import FILES
from lab.kamailio import KamailioLab, documented
from lab.lab import PBX, Lab, LabUnavailableError
from needs import needs
from running import ROOT, RunningDaemon

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]

USER = "sipguard-selftest"
TRANSPORTS = "".join(
    f"[transport-{name}]\ntype=transport\nprotocol={name}\nbind=0.0.0.0:5060\n" for name in ("tcp", "ws")
)
HTTP = "[general]\nenabled=yes\nbindaddr=0.0.0.0\nbindport=8088\n"
ANYBODY = f"[{USER}]\ntype=endpoint\ncontext=default\naors={USER}\n[{USER}]\ntype=aor\nmax_contacts=5\n"
"""An endpoint that asks for no password."""


class Changed(KamailioLab):
    """A Kamailio that listens over TCP too, and whose configuration has something else in a place of it."""

    was, becomes = "listen=udp", "listen=udp"

    def _configure(self):
        super()._configure()
        config = self.home / "kamailio.cfg"
        text = config.read_text().replace("disable_tcp=yes", f"listen=tcp:{PBX}:5060")
        assert self.was in text
        config.write_text(text.replace(self.was, self.becomes))


class Anybody(Changed):
    """It lets anybody register."""

    was, becomes = "request_route {", 'request_route { sl_send_reply("200", "OK"); exit;'


class Mute(Changed):
    """It logs no failed login."""

    was, becomes = documented("auth-failed"), "$var(said) = 0;"


def asterisk(suite, **files):
    """An Asterisk with TCP and WebSockets too."""
    # chan_sip would answer on the same WebSocket, and its events are not believed (docs/asterisk.md).
    sip = FILES["sip.conf"].replace("[general]\n", "[general]\nwebsocket_enabled=no\n")
    more = {"pjsip.conf": FILES["pjsip.conf"] + TRANSPORTS, "http.conf": HTTP, "sip.conf": sip}
    return Lab(suite, files={**more, **{name.replace("_", "."): text for name, text in files.items()}})


SERVERS = {
    "Asterisk 22": ("asterisk", "security", lambda: asterisk("sid")),
    "Asterisk 16": ("asterisk", "security", lambda: asterisk("bullseye")),
    "Kamailio": ("kamailio", "syslog", Changed),
}
OPEN = {
    "Asterisk 22": lambda: asterisk("sid", pjsip_conf=FILES["pjsip.conf"] + ANYBODY),
    "Asterisk 16": lambda: asterisk("bullseye", pjsip_conf=FILES["pjsip.conf"] + ANYBODY),
    "Kamailio": Anybody,
}
MUTE = {
    "Asterisk 22": lambda: asterisk("sid", logger_conf="[general]\n[logfiles]\nsecurity => verbose(3)\n"),
    "Asterisk 16": lambda: asterisk("bullseye", logger_conf="[general]\n[logfiles]\nsecurity => verbose(3)\n"),
    "Kamailio": Mute,
}


@contextlib.contextmanager
def up(make):
    """A running server; skips with the reason where there can be none."""
    try:
        with make() as lab:
            yield lab
    except LabUnavailableError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module", params=list(SERVERS))
@needs("root", "lab")
def server(request):
    """A running server, and the filter and the log that fit it."""
    name, log, make = SERVERS[request.param]
    with up(make) as lab:
        yield request.param, name, log, lab


@contextlib.contextmanager
def watching(folder, lab, jail, log, firewall="nftables"):
    """A daemon beside the server. The log may not be there before the server has something to tell."""
    lab.log(log).touch()
    daemon = RunningDaemon(folder, {jail: {"logpath": str(lab.log(log))}}, firewall=firewall, prefix=lab.command("pbx"))
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()
        lab.clear_firewall()


def tried(daemon, lab, transport):
    """Exit status, and stage → (state, words)."""
    command = [
        sys.executable,
        "-m",
        "sipguard",
        "selftest",
        "--socket",
        daemon.socket,
        "--to",
        PBX,
        "--transport",
        transport,
    ]
    done = subprocess.run(lab.command("pbx", *command), cwd=ROOT, capture_output=True, text=True, check=False)
    rows = [line.split(None, 2) for line in done.stdout.splitlines()]
    return done.returncode, {stage: rest.split(": ", 1) for _, stage, rest in rows if ": " in rest}


def named(found, stage, words):
    """This stage failed with these words, and all before it are green."""
    *before, last = found
    assert last == stage, found
    assert [found[one][0] for one in before] == ["ok"] * len(before)
    assert found[last][0] == "FAILED"
    assert words in found[last][1]


@pytest.mark.parametrize("transport", ["udp", "tcp", "ws"])
def test_green(server, tmp_path, transport):
    """By each transport that the server has."""
    kind, jail, log, lab = server
    if kind == "Kamailio" and transport == "ws":
        pytest.skip("the lab's Kamailio has no WebSocket module")
    with watching(tmp_path, lab, jail, log) as daemon:
        code, found = tried(daemon, lab, transport)
    assert ([state for state, _ in found.values()], code) == (["ok"] * 5, 0), found
    assert found["bans"][1] == f"{jail} would ban a stranger after maxretry of these"


def test_it_answers_nothing(server, tmp_path):
    """A server that hangs."""
    _, jail, log, lab = server
    inside = subprocess.run(["ip", "netns", "pids", lab.namespace("pbx")], capture_output=True, text=True, check=True)
    pids = [int(pid) for pid in inside.stdout.split()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        with watching(tmp_path, lab, jail, log) as daemon:
            code, found = tried(daemon, lab, "udp")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert code == 1
    named(found, "answers", "no answer from")


def test_nothing_is_understood(server, tmp_path):
    """The log is read with the filter of another server."""
    _, _, log, lab = server
    with watching(tmp_path, lab, "freeswitch", log) as daemon:
        code, found = tried(daemon, lab, "udp")
    assert code == 1
    named(found, "understood", "no jail found a failed login")


def test_nothing_is_rejected(server, tmp_path):
    """The daemon runs with a firewall for trials."""
    _, jail, log, lab = server
    with watching(tmp_path, lab, jail, log, firewall="memory") as daemon:
        code, found = tried(daemon, lab, "udp")
    assert code == 1
    named(found, "bans", "rejects nothing")


@pytest.mark.root
@pytest.mark.lab
@pytest.mark.parametrize(("makes", "stage", "words"), [
    pytest.param(OPEN, "refuses", "it lets anybody register", id="open"),
    pytest.param(MUTE, "tells", "is it this server's log", id="mute"),
])  # fmt: skip
@pytest.mark.parametrize("kind", SERVERS)
def test_servers_that_are_configured_wrongly(tmp_path, kind, makes, stage, words):
    """One that lets anybody in; one that does not log failed logins."""
    jail, log, _ = SERVERS[kind]
    with up(makes[kind]) as lab, watching(tmp_path, lab, jail, log) as daemon:
        code, found = tried(daemon, lab, "udp")
    assert code == 1
    named(found, stage, words)
