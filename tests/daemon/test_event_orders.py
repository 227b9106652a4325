"""Who starts, dies and comes back when: the server of the events, sipguard, its jails. Nothing counts twice, nothing is lost."""

import contextlib
import json
import signal
import sqlite3
import threading
import time

import pytest
from event_server import EventServer
from limits import within
from running import RunningDaemon, append, failure, running

ATTACKER, OTHER = "203.0.113.66", "203.0.113.67"


@pytest.fixture(params=["freeswitch", "asterisk"])
def server(request):
    """A server that tells events; stopped at the end."""
    one = EventServer(request.param).start()
    yield one
    one.stop()


def jail_of(tmp_path, server, **keys):
    """A jail that listens to the server."""
    secret = tmp_path / "password"
    secret.write_text(server.password)
    secret.chmod(0o600)
    return {"events": server.url, "events_password_file": str(secret), "maxretry": 10_000, **keys}


def speaking(daemon, *jails):
    """Wait until the events are told to these jails."""
    for jail in jails or ("pbx",):
        daemon.wait_for(lambda jail=jail: daemon.status(jail)["events"]["speaks"], "events")


def counts(daemon, address=ATTACKER, jail="pbx"):
    """Attempts of this address that the jail counts."""
    told = json.loads(daemon.sipguard("explain", address, "--json", check=False).stdout)
    return told["counts"].get(jail, [0])[0]


class Attack(threading.Thread):
    """Guesses, about 150 a second, of some addresses; each is told as an event, and written to the log if there is one."""

    def __init__(self, server, log=None, addresses=(ATTACKER,)):
        super().__init__()
        self._addresses = addresses
        self.server, self.log = server, log
        self.guesses = 0
        """All."""
        self.told = 0
        """Those that somebody listened to."""
        self._over = threading.Event()

    def run(self):
        """Until `end`."""
        while not self._over.is_set():
            address = self._addresses[self.guesses % len(self._addresses)]
            self.guesses += 1
            self.told += self.server.tell(address)
            if self.log:
                append(self.log, self._line(address))
            time.sleep(0.005)

    @staticmethod
    def _line(address):
        """With its microseconds, as FreeSWITCH writes them."""
        now = time.time()
        return failure(address, when=now).replace(".123456 ", f".{int(now % 1 * 1e6):06} ", 1)

    def end(self):
        """No further guess."""
        self._over.set()
        self.join()


@pytest.mark.timed
def test_the_server_starts_last(tmp_path, server):
    """sipguard waits for it, says so, and listens within 5 s of its start."""
    jail = jail_of(tmp_path, server)
    server.stop()
    with running(tmp_path, {"pbx": jail}) as daemon:
        daemon.wait_logged("[pbx] No events of")
        time.sleep(6)  # the pauses have grown
        server.start()
        begun = time.monotonic()
        speaking(daemon)
        assert time.monotonic() - begun < within(5)
        server.tell(*[ATTACKER] * 5)
        daemon.wait_for(lambda: counts(daemon) == 5)


@pytest.mark.timed
def test_the_server_is_killed_thrice_under_load(tmp_path, server):
    """Without a log: what is told is counted, once each; each gap is told; listened to again within 5 s."""
    attack = Attack(server)
    with running(tmp_path, {"pbx": jail_of(tmp_path, server)}) as daemon:
        speaking(daemon)
        attack.start()
        for number in range(3):
            time.sleep(1)
            server.stop()
            daemon.wait_for(lambda: not daemon.status("pbx")["events"]["speaks"], "the end")
            time.sleep(1)
            server.start()
            begun = time.monotonic()
            daemon.wait_logged("they were gone for", times=number + 1)
            assert time.monotonic() - begun < within(5)
        attack.end()
        daemon.wait_for(lambda: counts(daemon) > attack.told - 20, f"most of {attack.told}")
        time.sleep(1)  # what counts twice would come now
        assert counts(daemon) <= attack.told


@pytest.mark.timed
def test_sipguard_is_killed_twice_under_load(tmp_path, log):
    """With a log: each attempt counts once, whichever told it, and those while sipguard was dead are read from the log.

    Of one address, guesses within 2 s count as told by both: log and event are paired by that. Each of these comes later again.
    """
    server = EventServer("freeswitch").start()
    attack = Attack(server, log, [f"198.18.{number >> 8}.{number & 255}" for number in range(800)])
    jail = jail_of(tmp_path, server, filter="freeswitch", logpath=str(log))
    with running(tmp_path, {"pbx": jail}) as daemon:
        speaking(daemon)
        time.sleep(1.1)
        attack.start()
        for number in (signal.SIGKILL, signal.SIGTERM):
            time.sleep(2)
            daemon.stop(number)
            time.sleep(1)
            daemon.start()
            begun = time.monotonic()
            speaking(daemon)
            assert time.monotonic() - begun < within(5)
        attack.end()
        daemon.wait_for(lambda: stored_attempts(tmp_path) >= attack.guesses - 5, f"all but five of {attack.guesses}")
        time.sleep(1)  # what counts twice would come now
        daemon.stop()
        server.stop()
        counted = stored_attempts(tmp_path)
        assert counted <= attack.guesses, (counted, attack.guesses, attack.told)


def stored_attempts(folder):
    """How many attempts are on disk."""
    with contextlib.closing(sqlite3.connect(folder / "state" / "sipguard.db")) as database:
        return database.execute("SELECT sum(attempts) FROM attempts").fetchone()[0] or 0


@pytest.mark.parametrize("first", ["events", "log"])
def test_a_jail_of_events_beside_another_and_a_reload(tmp_path, log, server, first):
    """As the first jail and as the second; a reload adds a listener to the same connection, and takes it away again."""
    jails = {"alog": {"filter": "freeswitch", "logpath": str(log)}, "pbx": jail_of(tmp_path, server)}
    if first == "events":
        jails["zlog"] = jails.pop("alog")
    other = next(name for name in jails if name != "pbx")
    with running(tmp_path, jails) as daemon:
        speaking(daemon)
        server.tell(*[ATTACKER] * 3)
        append(log, failure(OTHER) * 5)
        daemon.wait_logged(f"[{other}] Ban {OTHER}")
        daemon.wait_for(lambda: counts(daemon) == 3)
        daemon.write_jail("more", **jail_of(tmp_path, server))
        daemon.sipguard("reload")
        speaking(daemon, "pbx", "more")
        server.tell(*[ATTACKER] * 2)
        daemon.wait_for(lambda: counts(daemon) == 5)
        daemon.wait_for(lambda: counts(daemon, jail="more") == 2)
        assert daemon.status("more")["events"]["connections"] == 1
        (tmp_path / "jails.d" / "pbx.toml").unlink()
        daemon.sipguard("reload")
        server.tell(ATTACKER)
        daemon.wait_for(lambda: counts(daemon, jail="more") == 3)
        assert len(server.clients) == 1


def test_both_are_down_and_start_in_both_orders(tmp_path, server):
    """The state holds what was counted before; what comes afterwards adds to it."""
    daemon = RunningDaemon(tmp_path, {"pbx": jail_of(tmp_path, server)})
    daemon.start()
    total = 0
    for sipguard_first in (True, False, True):
        speaking(daemon)
        server.tell(*[ATTACKER] * 3)
        total += 3
        daemon.wait_for(lambda total=total: counts(daemon) == total, f"{total} attempts")
        server.stop()
        daemon.stop()
        for start in (daemon.start, server.start) if sipguard_first else (server.start, daemon.start):
            start()
    daemon.wait_for(lambda: counts(daemon) == total)
    daemon.stop()
