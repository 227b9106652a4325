"""Numbers for Prometheus, over a port and over a socket."""

import http.client
import socket
import time

import pytest
import toml
from limits import within
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families
from running import RunningDaemon, append, failure

ATTACKER = "203.0.113.66"


class _Local(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


def _ask(connection):
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200
    text = answer.read().decode()
    connection.close()
    families = text_string_to_metric_families(text)
    return {
        (s.name, s.labels.get("jail", s.labels.get("feed", ""))): s.value
        for family in families
        for s in family.samples
        if "le" not in s.labels
    }


@pytest.mark.parametrize("kind", ["port", "socket"])
def test_what_prometheus_reads(tmp_path, kind):
    """Lines, failures, bans, live bans and how long a ban took, per jail; the kernel has what we think it has."""
    log = tmp_path / "freeswitch.log"
    log.touch()
    where = f"127.0.0.1:{free_port()}" if kind == "port" else str(tmp_path / "metrics.sock")
    daemon = RunningDaemon(tmp_path, {"freeswitch": {"logpath": str(log)}})
    daemon.config.write_text(daemon.config.read_text() + "\n" + toml.dumps({"metrics": {"listen": where}}))
    daemon.start()
    try:
        append(log, failure(ATTACKER) * 5 + "something else\n")
        daemon.wait_logged(f"Ban {ATTACKER}")
        found = _ask(http.client.HTTPConnection(where, timeout=10) if kind == "port" else _Local(where))
    finally:
        daemon.stop()
    jail = "freeswitch"
    assert found["sipguard_lines_total", jail] == 6
    assert found["sipguard_failures_total", jail] == 5
    assert found["sipguard_bans_total", jail] == 1
    assert found["sipguard_live_bans", jail] == 1
    assert found["sipguard_line_to_kernel_seconds_count", ""] == 1
    assert found["sipguard_line_to_kernel_seconds_sum", ""] < within(5)
    assert found["sipguard_drift_bans", ""] == 0
    assert found["sipguard_oversize_lines_total", jail] == found["sipguard_timed_out_lines_total", jail] == 0
    assert found["sipguard_firewall_ok", ""] == found["sipguard_state_ok", ""] == 1


def test_feeds_in_numbers(tmp_path):
    """Entries of each feed and seconds since its last good fetch, growing; one that was never read has no age."""
    listed = tmp_path / "office.txt"
    listed.write_text("203.0.113.0/24\n198.51.100.7\n")
    where = str(tmp_path / "metrics.sock")
    feeds = {"office": {"file": str(listed)}, "lost": {"file": str(tmp_path / "absent.txt")}}
    daemon = RunningDaemon(tmp_path, {})
    daemon.config.write_text(
        daemon.config.read_text() + "\n" + toml.dumps({"metrics": {"listen": where}, "feeds": feeds})
    )
    daemon.start()
    try:
        daemon.wait_for(lambda: ("sipguard_feed_age_seconds", "office") in _ask(_Local(where)), "the fetch")
        first = _ask(_Local(where))
        time.sleep(0.2)
        second = _ask(_Local(where))
    finally:
        daemon.stop()
    assert first["sipguard_feed_entries", "office"] == 2
    assert first["sipguard_feed_entries", "lost"] == 0
    assert ("sipguard_feed_age_seconds", "lost") not in second
    age = second["sipguard_feed_age_seconds", "office"]
    assert 0.2 <= age - first["sipguard_feed_age_seconds", "office"] < age < 60


@pytest.mark.parametrize("where", ["0.0.0.0:9191", "example.com:80", "9191", "127.0.0.1:0", "relative/path"])
def test_only_local_places(tmp_path, where):
    """Numbers about a firewall are not for the network: one line says what is allowed."""
    daemon = RunningDaemon(tmp_path, {})
    daemon.config.write_text(daemon.config.read_text() + "\n" + toml.dumps({"metrics": {"listen": where}}))
    daemon.spawn()
    said = daemon.process.communicate(timeout=45)[0]
    assert daemon.process.returncode == 2
    assert "must be a local address with a port" in said
    assert said.count("\n") == 1


def test_lines_of_every_log(tmp_path):
    """A jail may have several logs, each with a detector of its own: they are counted together."""
    logs = [tmp_path / name for name in ("one.log", "other.log")]
    for path in logs:
        path.write_text(failure(ATTACKER))
    where = str(tmp_path / "metrics.sock")
    daemon = RunningDaemon(tmp_path, {"freeswitch": {"filter": "freeswitch", "logpath": [str(path) for path in logs]}})
    daemon.config.write_text(daemon.config.read_text() + "\n" + toml.dumps({"metrics": {"listen": where}}))
    daemon.start()
    try:
        daemon.wait_logged(f"Found {ATTACKER}", times=2)
        found = _ask(_Local(where))
    finally:
        daemon.stop()
    assert found["sipguard_lines_total", "freeswitch"] == found["sipguard_candidates_total", "freeswitch"] == 2


def test_a_file_in_its_place(tmp_path):
    """It is not ours to remove: one line says so."""
    where = tmp_path / "precious"
    where.write_text("precious")
    daemon = RunningDaemon(tmp_path, {})
    daemon.config.write_text(daemon.config.read_text() + "\n" + toml.dumps({"metrics": {"listen": str(where)}}))
    daemon.spawn()
    said = daemon.process.communicate(timeout=45)[0]
    assert daemon.process.returncode == 2
    assert "is not a socket; name another place" in said
    assert said.count("\n") == 1
    assert where.read_text() == "precious"
