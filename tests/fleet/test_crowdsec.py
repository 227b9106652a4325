"""Debian's CrowdSec: its local API, its `cscli`, and a whole daemon beside them."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time

import pytest
import toml
from hypothesis import given
from hypothesis import strategies as st
from json_manual import hold
from ports import free_port
from running import RunningDaemon, append, failure

from sipguard.cli.client import ask
from sipguard.fleet.crowdsec import Decisions
from sipguard.fleet.lapi import Decision, seconds

CONFIG = """
common: {{daemonize: false, log_media: stdout, log_level: warning, working_dir: .}}
config_paths: {{config_dir: {home}/, data_dir: {home}/data/, simulation_path: {home}/simulation.yaml, hub_dir: {home}/hub/,
  index_path: {home}/hub/.index.json, notification_dir: {home}/notifications/, plugin_dir: {home}/notifications/}}
crowdsec_service: {{acquisition_path: {home}/acquis.yaml, parser_routines: 1}}
cscli: {{output: json, color: "no"}}
db_config: {{log_level: warning, type: sqlite, use_wal: true, db_path: {home}/data/crowdsec.db,
  flush: {{max_items: 5000, max_age: 7d}}}}
api:
  client: {{insecure_skip_verify: false, credentials_path: {home}/credentials.yaml}}
  server: {{log_level: warning, listen_uri: "127.0.0.1:{port}", profiles_path: {home}/profiles.yaml}}
prometheus: {{enabled: false}}
"""
PROFILES = """
name: default_ip_remediation
filters: ['Alert.Remediation == true && Alert.GetScope() == "Ip"']
decisions: [{type: ban, duration: 4h}]
on_success: break
"""


class LocalApi:
    """crowdsec with its local API alone."""

    def __init__(self, home):
        self.home, self.port = home, free_port()
        for name in ("data", "hub", "notifications"):
            (home / name).mkdir(parents=True)
        self.config = home / "config.yaml"
        self.config.write_text(CONFIG.format(home=home, port=self.port))
        (home / "profiles.yaml").write_text(PROFILES)
        (home / "simulation.yaml").write_text("simulation: false\n")
        (home / "hub" / ".index.json").write_text("{}")
        for name in ("acquis.yaml", "credentials.yaml"):
            (home / name).touch()
        self.cscli("machines", "add", "pbx1", "--password", "secret-machine", "-f", home / "credentials.yaml")
        self.cscli("bouncers", "add", "sipguard", "-k", "secret-bouncer")
        self.process = None

    def cscli(self, *words):
        command = ["cscli", "-c", str(self.config), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self):
        log = (self.home / "log").open("a")
        self.process = subprocess.Popen(["crowdsec", "-c", str(self.config), "-no-cs"], stdout=log, stderr=log)
        log.close()
        end = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < end, (self.home / "log").read_text()
            time.sleep(0.1)
        return self

    def _answers(self):
        return "pbx1" in subprocess.run(
            ["cscli", "-c", str(self.config), "lapi", "status"], capture_output=True, text=True, check=False
        ).stderr + ("pbx1" if self._listens() else "")

    def _listens(self):
        import socket

        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def decisions(self):
        """Value → seconds left, scenario and origin of each decision."""
        told = json.loads(self.cscli("decisions", "list") or "null") or []
        return {
            one["value"]: (seconds(one["duration"]), one["scenario"], one["origin"])
            for alert in told
            for one in alert["decisions"]
        }


@pytest.fixture
def lapi(tmp_path):
    for program in ("crowdsec", "cscli"):
        if shutil.which(program) is None:
            pytest.skip(f"needs the program {program}")
    api = LocalApi(tmp_path / "crowdsec")
    try:
        yield api.start()
    finally:
        api.stop()


@contextlib.contextmanager
def daemon_beside(lapi, folder, **keys):
    home = folder / "pbx1"
    home.mkdir()
    log = home / "freeswitch.log"
    log.touch()
    daemon = RunningDaemon(home, {"freeswitch": {"logpath": str(log), "maxretry": 3, "bantime": "1h"}})
    settings = toml.loads(daemon.config.read_text())
    settings["crowdsec"] = {
        "url": f"http://127.0.0.1:{lapi.port}", "key": "secret-bouncer", "login": "pbx1", "password": "secret-machine",
        "share": ["reported", "hand"], "interval": "1s", **keys,
    }  # fmt: skip
    settings["defaults"] = {"ignoreip": ["203.0.113.77"]}
    daemon.config.write_text(toml.dumps(settings))
    daemon.attack = lambda address: append(log, failure(address) * 3)
    try:
        yield daemon.start()
    finally:
        if daemon.process.poll() is None:
            daemon.stop()


def rejected(daemon):
    """What the firewall rejects because of CrowdSec."""
    shown = ask(daemon.socket, "firewall", what="show")
    return {line.split()[2] for line in shown.splitlines() if line.startswith("feed crowdsec.")}


@pytest.mark.root  # half a minute: not for `make test`
def test_decisions_come_and_bans_go(lapi, tmp_path):
    """Both ways: a ban, its end and its deletion; the API gone for a while; a restart; what must not be rejected."""
    lapi.cscli("decisions", "add", "-i", "203.0.113.5", "-d", "1h", "-R", "ssh-bf")
    with daemon_beside(lapi, tmp_path) as daemon:
        daemon.wait_for(lambda: rejected(daemon) == {"203.0.113.5"}, "what was there")
        lapi.cscli("decisions", "add", "-r", "203.0.113.64/26", "-d", "1h")
        lapi.cscli("decisions", "add", "-i", "10.1.2.3", "-d", "1h")
        lapi.cscli("decisions", "add", "-r", "172.0.0.0/8", "-d", "1h")  # in part private
        lapi.cscli("decisions", "add", "-i", "198.51.100.9", "-d", "1h", "-t", "captcha")
        # The last: it lasts only as long as a look may take here.
        lapi.cscli("decisions", "add", "-i", "203.0.113.6", "-d", "8s")
        daemon.wait_for(lambda: "203.0.113.6" in rejected(daemon), "a decision")
        daemon.wait_for(lambda: rejected(daemon) == {"203.0.113.5"}, "its end, and nobody in ignoreip")
        shown = daemon.sipguard("explain", "203.0.113.5").stdout
        assert "203.0.113.5 is rejected: CrowdSec has banned it until" in shown
        assert "ssh-bf (cscli)" in shown
        lapi.cscli("decisions", "delete", "-i", "203.0.113.5")
        daemon.wait_for(lambda: not rejected(daemon), "the deletion")

        daemon.attack("203.0.113.20")
        daemon.wait_for(lambda: "203.0.113.20" in lapi.decisions(), "our decision")
        left, scenario, origin = lapi.decisions()["203.0.113.20"]
        assert (3500 < left < 3601, scenario, origin) == (True, "sipguard/pbx1/freeswitch", "crowdsec")
        alert = json.loads(lapi.cscli("alerts", "list", "-i", "203.0.113.20"))[0]
        assert alert["events_count"] == 3
        assert "203.0.113.20" not in rejected(daemon), "its own decisions come back to nobody"
        lapi.cscli("decisions", "add", "-i", "203.0.113.20", "-d", "1h", "-R", "another's")
        daemon.sipguard("unban", "203.0.113.20")
        daemon.wait_for(lambda: lapi.decisions()["203.0.113.20"][2] == "cscli", "ours is taken back, the other's stays")
        daemon.wait_for(
            lambda: "203.0.113.20" in rejected(daemon), "another's decision about the same, which ours has hidden"
        )

        lapi.stop()
        daemon.wait_for(lambda: "not connected" in daemon.sipguard("fleet", check=False).stdout, "the loss is told")
        daemon.attack("203.0.113.21")
        daemon.wait_logged("[freeswitch] Ban 203.0.113.21")
        assert "203.0.113.20" in rejected(daemon)
        lapi.start()
        lapi.cscli("decisions", "delete", "-i", "203.0.113.20")
        lapi.cscli("decisions", "add", "-i", "203.0.113.7", "-d", "1h")
        daemon.wait_for(lambda: rejected(daemon) == {"203.0.113.7"}, "what has changed meanwhile")
        daemon.wait_for(lambda: "203.0.113.21" in lapi.decisions(), "what was banned meanwhile")

        daemon.stop()
        daemon.start()
        daemon.wait_for(lambda: rejected(daemon) == {"203.0.113.7"}, "the same after a restart")
        daemon.sipguard("unban", "203.0.113.21")
        daemon.wait_for(lambda: "203.0.113.21" not in lapi.decisions(), "the ban of an earlier run is taken back")
        shown = daemon.sipguard("fleet").stdout
        hold("fleet", ask(daemon.socket, "fleet"))
        hold("explain", ask(daemon.socket, "explain", address="203.0.113.5"))
        assert f"CrowdSec at http://127.0.0.1:{lapi.port}: connected" in shown
        assert "its decisions: 2 networks, " in shown
        assert "secret" not in daemon.logged() + shown
        assert daemon.logged().count("CrowdSec: http") <= 3


@pytest.mark.root
@pytest.mark.parametrize(
    ("keys", "said"), [({"key": "wrong"}, "is the key of the bouncer"), ({"password": "wrong"}, "login and")]
)
def test_wrong_secrets(lapi, tmp_path, keys, said):
    """It is told once, without the secret, and the daemon goes on."""
    with daemon_beside(lapi, tmp_path, **keys) as daemon:
        daemon.wait_logged(said)
        daemon.attack("203.0.113.20")
        daemon.wait_logged("[freeswitch] Ban 203.0.113.20")
        assert daemon.sipguard("fleet", check=False).returncode == 1
        assert "wrong" not in daemon.logged()


@pytest.mark.parametrize(
    ("text", "length"),
    [("3h59m58.5s", 14398.5), ("-89.114052ms", -0.089114052), ("4h", 14400.0), ("1m0s", 60.0), ("12µs", 12e-6)],
)
def test_durations(text, length):
    """As Go writes them."""
    assert seconds(text) == pytest.approx(length)


@pytest.mark.parametrize("text", ["", "s", "1", "1h2", "1d", "nan", "1h-2m", "None"])
def test_no_durations(text):
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


decisions = st.builds(
    Decision,
    id=st.integers(1, 6),
    network=st.sampled_from(("203.0.113.1", "203.0.113.2")),
    seconds=st.sampled_from((-5.0, 50.0, 500.0, 5000.0)),
    origin=st.just("cscli"),
    scenario=st.just("x"),
)


@given(st.lists(st.tuples(st.lists(decisions, max_size=4), st.lists(decisions, max_size=3), st.booleans()), max_size=8))
def test_several_decisions_about_one_network(answers):
    """The last one to end counts, and changes tell the firewall as much."""
    one, firewall, model = Decisions(), {}, {}
    for new, deleted, everything in answers:
        changes = one.take(new, deleted, 0.0, everything=everything)
        model = {} if everything else model
        for gone in deleted:
            model.pop((gone.network, gone.id), None)
        model |= {(it.network, it.id): it.seconds for it in new if it.seconds > 0}
        for network, before, after in changes:
            assert firewall.get(network, 0.0) == before
            firewall[network] = after
            if not after:
                del firewall[network]
        wanted = {network: max(left for (of, _), left in model.items() if of == network) for network, _ in model}
        assert firewall == one.ends == wanted
