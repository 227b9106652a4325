"""An upgrade keeps every ban, attempt and position of an earlier version's state; a newer state is refused in one line."""

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
import toml
from running import RunningDaemon, append, failure

ARCHIVE = Path(__file__).parents[2] / "fixtures" / "state" / "version-2.tar.xz"
WRITTEN_FROM = "/var/log/freeswitch/freeswitch.log"
"""Where the log was."""
LONG = {"filter": "freeswitch", "findtime": "3000d"}


@pytest.fixture
def old(tmp_path):
    """A daemon on the state of an earlier version, not started yet; and the bans that it has: (jail, address) → until."""
    with tarfile.open(ARCHIVE) as archive:
        # The argument `filter` came with Python 3.11.4; earlier ones do not ask this.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)
    log, state = tmp_path / "freeswitch.log", tmp_path / "state"
    with closing(sqlite3.connect(state / "sipguard.db")) as database:
        bans = {
            (jail, address): until
            for jail, address, until in database.execute("SELECT jail, address, until FROM live_bans")
        }
        database.execute("UPDATE positions SET path = ? WHERE path = ?", (str(log), WRITTEN_FROM))
        database.commit()
    jails = {
        "freeswitch": {**LONG, "maxretry": 3, "bantime": "-1"},
        "second": {**LONG, "maxretry": 5, "bantime": "900d"},
    }
    daemon = RunningDaemon(tmp_path, {name: {**keys, "logpath": str(log)} for name, keys in jails.items()})
    feeds = {"office": {"file": str(tmp_path / "feed.txt")}}
    daemon.config.write_text(toml.dumps({**toml.loads(daemon.config.read_text()), "feeds": feeds}))
    yield daemon, bans
    if daemon.process is not None and daemon.process.poll() is None:
        daemon.stop()


def test_nothing_is_lost(old):
    """Bans with their ends, attempts with their counts, the place in the log, and the feed's entries."""
    daemon, bans = old
    daemon.start()
    log = daemon.folder / "freeswitch.log"
    kept = {
        (jail, ban["address"]): float("inf") if ban["until"] is None else ban["until"]
        for jail in ("freeswitch", "second")
        for ban in daemon.status(jail)["banned"]
    }
    assert kept == bans
    assert len(bans) == 219 + 19
    append(log, failure("10.2.0.1"))
    daemon.wait_logged("[freeswitch] Ban 10.2.0.1")
    append(log, failure("10.2.0.2", when=None).replace("10.2.0.2", "10.4.0.1") * 2)
    daemon.wait_logged("Found 10.4.0.1", times=4)
    assert daemon.logged().count("[freeswitch] Found") == 3, "only what was written since is read"
    assert "10.4.0.1" not in daemon.banned("freeswitch")
    (feed,) = json.loads(daemon.sipguard("feeds", "--json").stdout)
    assert feed["entries"] == 51
    daemon.stop()
    daemon.start()
    assert {address for jail, address in bans if jail == "freeswitch"} <= daemon.banned("freeswitch")


def test_a_newer_state_is_refused(old):
    """In one line of the log and in `status`; the daemon protects all the same, and what is in the file stays as it was."""
    daemon, bans = old
    path = daemon.folder / "state" / "sipguard.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    daemon.start()
    append(daemon.folder / "freeswitch.log", failure("10.4.0.1") * 3)
    daemon.wait_logged("[freeswitch] Ban 10.4.0.1")
    said = "written by a newer sipguard (version 99 of its tables); install that version again, or move the file away"
    assert daemon.logged().count(said) == 1
    assert said in daemon.sipguard("status").stdout
    daemon.stop()
    with closing(sqlite3.connect(path)) as database:
        found = {
            (jail, address): until
            for jail, address, until in database.execute("SELECT jail, address, until FROM live_bans")
        }
    assert found == bans
