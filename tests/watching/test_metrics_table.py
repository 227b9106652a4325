"""Every metric that a daemon with everything tells of is in docs/metrics.md, and the other way round; and what each says."""

from __future__ import annotations

import re

import pytest
import toml
from ports import free_port, free_udp_port
from prometheus_client.parser import text_string_to_metric_families
from running import ROOT, RunningDaemon, append, failure

from sipguard.daemon.metric_families import KernelFigures
from tests.watching.scraping import scrape

ATTACKER, OTHER = "203.0.113.66", "203.0.113.67"
DOCS = set(re.findall(r"`(sipguard_\w+)`", (ROOT / "docs" / "metrics.md").read_text()))
ONLY_WITH_PACKETS = {name for name in DOCS if name.startswith("sipguard_wire_")}


def daemon_of(folder, **more):
    log = folder / "freeswitch.log"
    log.touch()
    daemon = RunningDaemon(folder, {"freeswitch": {"logpath": str(log), "maxretry": 3}, "sip": {}})
    listed = folder / "office.txt"
    listed.write_text("198.51.100.0/28\n")
    key = folder / "key"
    key.write_text("secret")
    key.chmod(0o600)
    daemon.metrics = f"127.0.0.1:{free_port()}"
    settings = {
        "metrics": {"listen": daemon.metrics},
        "hep": {"listen": f"127.0.0.1:{free_udp_port()}"},
        "feeds": {"office": {"file": str(listed)}},
        "fleet": {"url": "redis://127.0.0.1:1", "name": "a"},
        "crowdsec": {"url": "http://127.0.0.1:1", "key_file": str(key)},
        **more,
    }
    settings = {section: keys for section, keys in settings.items() if keys is not None}
    daemon.config.write_text(daemon.config.read_text() + "\n" + toml.dumps(settings))
    daemon.server_log = log
    return daemon.start()


@pytest.fixture
def daemon(tmp_path):
    pytest.importorskip("redis", reason="needs the library redis")
    one = daemon_of(tmp_path)
    yield one
    if one.process.poll() is None:
        one.stop()


def test_documented_one_by_one(daemon):
    """And no label holds what an attacker, or another node, has written."""
    append(daemon.server_log, failure(ATTACKER) * 3)
    daemon.wait_logged(f"Ban {ATTACKER}")
    daemon.wait_for(lambda: "sipguard_crowdsec_connected" in scrape(daemon.metrics), "what is started last")
    text = scrape(daemon.metrics)
    told = list(text_string_to_metric_families(text))
    samples = [one for family in told for one in family.samples]
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in told}
    assert {name for name in names if not name.endswith("_created")} == DOCS - ONLY_WITH_PACKETS
    labels = {label for one in samples for label in one.labels}
    assert labels <= {
        "jail",
        "feed",
        "origin",
        "result",
        "source",
        "cause",
        "state",
        "le",
        "version",
        "python",
        "firewall",
    }
    assert not [one for one in samples if ATTACKER in str(one.labels) or "1001" in one.labels.values()]


def numbers(daemon):
    found = text_string_to_metric_families(scrape(daemon.metrics))
    return {
        (one.name.removeprefix("sipguard_"), *(value for _, value in sorted(one.labels.items()))): one.value
        for family in found
        for one in family.samples
    }


def test_bans_by_origin_a_reload_and_a_restart(daemon):
    """Counters survive a reload; what a restart finds is no new ban."""
    append(daemon.server_log, failure(ATTACKER) * 3)
    daemon.wait_logged(f"Ban {ATTACKER}")
    daemon.sipguard("ban", OTHER, "--jail", "freeswitch")
    daemon.wait_logged(f"Ban {OTHER}")
    before = numbers(daemon)
    assert before["made_bans_total", "freeswitch", "attack"] == before["made_bans_total", "freeswitch", "hand"] == 1
    assert before["rejected_networks", "attack"] == before["rejected_networks", "hand"] == 1
    daemon.wait_for(lambda: numbers(daemon)["rejected_networks", "feed"] == 1, "the feed")
    daemon.sipguard("reload")
    after = numbers(daemon)
    kept = [name for name in before if name[0].endswith("_total")]
    assert len(kept) > 15
    assert not [name for name in kept if after[name] < before[name]]
    daemon.stop()
    daemon.start()
    again = numbers(daemon)
    assert again["rejected_networks", "attack"] == again["rejected_networks", "hand"] == 1
    assert ("made_bans_total", "freeswitch", "attack") not in again
    assert again["live_bans", "freeswitch"] == 2


def test_silence(daemon):
    """Grows while nothing comes, and ends with a line."""
    append(daemon.server_log, "a line\n")
    daemon.wait_for(lambda: numbers(daemon)["lines_total", "freeswitch"] == 1, "the line")
    daemon.wait_for(lambda: numbers(daemon)["silent_seconds", "freeswitch", "log"] > 1, "silence")
    append(daemon.server_log, "a line\n")
    daemon.wait_for(lambda: numbers(daemon)["silent_seconds", "freeswitch", "log"] < 1, "a sign of life")
    assert numbers(daemon)["silent_seconds", "sip", "wire"] > 1


def test_a_blind_filter(daemon):
    """Lines about failed logins in another form than the filter's."""
    append(daemon.server_log, failure(ATTACKER) * 2)
    daemon.wait_for(lambda: numbers(daemon)["auth_samples_total", "freeswitch", "understood"] >= 1, "understood")
    assert numbers(daemon)["auth_samples_total", "freeswitch", "not understood"] == 0
    strange = f"2026-11-28 10:00:00 [WARN] registrar: login of 1001 was denied, asked by {OTHER}\n"
    daemon.wait_for(
        lambda: (
            append(daemon.server_log, strange)
            or numbers(daemon)["auth_samples_total", "freeswitch", "not understood"] >= 2
        ),
        "not understood",
    )
    calm = numbers(daemon)["auth_samples_total", "freeswitch", "not understood"]
    for _ in range(3):
        append(daemon.server_log, "2026-11-28 10:00:00 [INFO] nothing to do with it\n")
    assert numbers(daemon)["auth_samples_total", "freeswitch", "not understood"] <= calm + 1


def test_packets_rejected_by_jail():
    """Of the first look nothing counts: it is of earlier runs. A ban that is written anew begins at 0."""
    kernel = KernelFigures()
    for packets in ({("a", "x"): 50}, {("a", "x"): 60, ("b", "x"): 3}, {("b", "x"): 2}, {("a", "x"): 1, ("b", "x"): 2}):
        kernel.count_rejected(packets)
    assert kernel.rejected == {"a": 11, "b": 5}
