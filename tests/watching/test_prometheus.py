"""Debian's Prometheus reads a real daemon: alerts fire by a real fault and end with it, and the dashboard's queries answer."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import time
import urllib.parse
import urllib.request

import pytest
from ports import free_port
from running import ROOT, append, failure

from tests.watching.scraping import scrape
from tests.watching.test_metrics_table import ATTACKER, DOCS, OTHER, daemon_of

PACKAGED = ROOT / "packaging" / "prometheus"
DASHBOARD = json.loads((ROOT / "packaging" / "grafana" / "sipguard.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
SOON = (
    ("for: 1m", "for: 0s"),
    ("for: 5m", "for: 0s"),
    ("for: 10m", "for: 0s"),
    ("for: 15m", "for: 0s"),
    ("> 900", "> 4"),
    ("[1d]) > 100", "[1m]) > 1"),
    ("[1h]) > 10", "[20s]) > 2"),
    ("[1h]", "[20s]"),
)
"""The rules' times, shortened for a test: nobody waits a day for a log to be silent against its habit."""


def promtool(*words):
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, check=False, cwd=PACKAGED)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(autouse=True)
def _programs():
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        pytest.skip("needs the programs prometheus and promtool (apt install prometheus)")


pytestmark = pytest.mark.root  # not for `make test`: it needs Debian's prometheus


class Prometheus:
    """One that scrapes a daemon each second."""

    def __init__(self, folder, target, net=None):
        """`net`: the namespace of both."""
        self.port = free_port()
        self._inside = net.inside if net else contextlib.nullcontext
        rules = (PACKAGED / "sipguard.rules.yml").read_text()
        for long, short in SOON:
            assert long in rules, long
            rules = rules.replace(long, short)
        (folder / "rules.yml").write_text(rules)
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
            f'scrape_configs: [{{job_name: sipguard, static_configs: [{{targets: ["{target}"]}}]}}]\n'
        )
        code, said = promtool("check", "config", config)
        assert code == 0, said
        prefix = ["ip", "netns", "exec", net.name] if net else []
        command = [*prefix, "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def ask(self, path, **arguments):
        """The answer of its API; None while it does not answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with self._inside(), urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except (OSError, ValueError):  # a query that is wrong is an error of HTTP
            return None

    def firing(self):
        """The names of the alerts that fire."""
        told = self.ask("alerts") or {"data": {"alerts": []}}
        return {one["labels"]["alertname"] for one in told["data"]["alerts"] if one["state"] == "firing"}

    def wait(self, holds, what):
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end, f"{what} did not happen; firing: {self.firing()}"
            assert self.process.poll() is None, self.process.stderr.read()
            time.sleep(0.3)

    def wait_fires(self, alert, holds=True):
        self.wait(lambda: (alert in self.firing()) is holds, f"{alert} {'fires' if holds else 'ends'}")


@contextlib.contextmanager
def watched(folder, **more):
    """A daemon, and a Prometheus that has read it."""
    daemon = daemon_of(folder, crowdsec=None, **more)
    prometheus = Prometheus(folder, daemon.metrics)
    try:
        prometheus.wait(lambda: (prometheus.ask("query", query="up") or {}).get("data", {}).get("result"), "a scrape")
        yield daemon, prometheus
    finally:
        prometheus.process.kill()
        prometheus.process.communicate()
        if daemon.process.poll() is None:
            daemon.stop()


def test_rules():
    """They are right, and each alert fires by its fault and ends with it, by promtool's clock."""
    assert promtool("check", "rules", "sipguard.rules.yml")[0] == 0
    code, said = promtool("test", "rules", "sipguard.rules.test.yml")
    assert code == 0, said
    tested = set(re.findall(r"alertname: (\w+)", (PACKAGED / "sipguard.rules.test.yml").read_text()))
    assert tested == set(re.findall(r"alert: (\w+)", (PACKAGED / "sipguard.rules.yml").read_text()))


def test_what_promtool_says_of_the_metrics(tmp_path):
    """Names, units and help as Prometheus wants them."""
    daemon = daemon_of(tmp_path)
    try:
        append(daemon.server_log, failure(ATTACKER) * 3)
        daemon.wait_logged(f"Ban {ATTACKER}")
        text = scrape(daemon.metrics)
    finally:
        daemon.stop()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard(tmp_path):
    """Each of its queries answers, and asks for metrics that there are; those of what this daemon has have a value."""
    with watched(tmp_path) as (daemon, prometheus):
        append(daemon.server_log, failure(ATTACKER) * 3)
        daemon.wait_logged(f"Ban {ATTACKER}")
        prometheus.wait(
            lambda: prometheus.ask("query", query="sipguard_live_bans == 1")["data"]["result"], "the ban is read"
        )
        time.sleep(2)
        empty = []
        for query in QUERIES:
            assert set(re.findall(r"sipguard_\w+?(?=_bucket|\W)", query)) <= DOCS
            told = prometheus.ask("query", query=query.replace("$instance", ".*"))
            assert told is not None, query
            if not told["data"]["result"]:
                empty.append(query)
        assert len(QUERIES) > 20
        without = "rejected_packets|wire_packets|hep_packets|crowdsec"
        assert not [query for query in empty if not re.search(without, query)]


@pytest.mark.parametrize("fault", ["stopped", "silent", "blind", "state", "feed", "held", "fleet"])
def test_a_real_fault(tmp_path, fault):
    """The alert fires, no other does because of it, and it ends when that is mended."""
    pytest.importorskip("redis", reason="needs the library redis")
    from tests.fleet.conftest import serving

    with contextlib.ExitStack() as stack:
        port = free_port()
        redis = stack.enter_context(serving(tmp_path / "redis", port=port))
        listed = tmp_path / "later.txt"
        feeds = {"office": {"file": str(listed)}}
        if fault != "feed":
            listed.write_text("".join(f"198.51.100.{n}\n" for n in range(200)))
        fleet = {"url": redis.url, "name": "a"}
        daemon, prometheus = stack.enter_context(watched(tmp_path, fleet=fleet, feeds=feeds))
        if fault != "feed":
            time.sleep(3)
            assert prometheus.firing() <= {"SipguardLogSilent"}
        _FAULTS[fault](daemon, prometheus, redis, listed)


def _stopped(daemon, prometheus, _redis, _listed):
    daemon.stop()
    prometheus.wait_fires("SipguardNoProtection")
    daemon.start()
    prometheus.wait_fires("SipguardNoProtection", holds=False)


def _silent(daemon, prometheus, _redis, _listed):
    for _ in range(10):
        append(daemon.server_log, "a line of no interest\n" * 20)
        time.sleep(0.5)
    assert "SipguardLogSilent" not in prometheus.firing()
    prometheus.wait_fires("SipguardLogSilent")
    append(daemon.server_log, "a line of no interest\n")
    prometheus.wait_fires("SipguardLogSilent", holds=False)


def _blind(daemon, prometheus, _redis, _listed):
    strange = f"2026-11-28 10:00:00 [WARN] registrar: login of 1001 was denied, asked by {OTHER}\n"
    prometheus.wait(
        lambda: append(daemon.server_log, strange) or "SipguardParserBlind" in prometheus.firing(), "it fires"
    )
    prometheus.wait(
        lambda: append(daemon.server_log, failure(OTHER) * 2) or "SipguardParserBlind" not in prometheus.firing(),
        "it ends",
    )


def _state(daemon, prometheus, _redis, _listed):
    database = daemon.folder / "state" / "sipguard.db"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        append(daemon.server_log, failure(OTHER))
        prometheus.wait_fires("SipguardStateUnwritten")
        other.execute("ROLLBACK")
    prometheus.wait_fires("SipguardStateUnwritten", holds=False)


def _feed(daemon, prometheus, _redis, listed):
    prometheus.wait_fires("SipguardFeedStale")
    listed.write_text("198.51.100.0/28\n")
    daemon.sipguard("feeds", "refresh", "office")
    prometheus.wait_fires("SipguardFeedStale", holds=False)


def _held(daemon, prometheus, _redis, listed):
    listed.write_text("".join(f"198.51.{100 + n // 250}.{n % 250}\n" for n in range(3000)))
    daemon.sipguard("feeds", "refresh", "office", check=False)
    prometheus.wait_fires("SipguardFeedHeld")
    daemon.sipguard("feeds", "refresh", "office", "--accept")
    prometheus.wait_fires("SipguardFeedHeld", holds=False)


def _fleet(daemon, prometheus, redis, _listed):
    redis.kill()
    prometheus.wait_fires("SipguardFleetApart")
    redis.start()
    prometheus.wait_fires("SipguardFleetApart", holds=False)


_FAULTS = {
    "stopped": _stopped,
    "silent": _silent,
    "blind": _blind,
    "state": _state,
    "feed": _feed,
    "held": _held,
    "fleet": _fleet,
}
