"""A daemon that listens to its server's events: bans, silent logs, gaps, and what is told of them."""

import json
import time

import pytest
from event_server import EventServer
from limits import within
from running import append, failure, running

ATTACKER, OTHER = "203.0.113.66", "203.0.113.67"
SECRET = "a-secret-word"


@pytest.fixture(params=["freeswitch", "asterisk"])
def server(request):
    """A server that tells events; stopped at the end."""
    one = EventServer(request.param, SECRET).start()
    yield one
    one.stop()


@pytest.fixture
def fs():
    """The same, of FreeSWITCH alone."""
    one = EventServer("freeswitch", SECRET).start()
    yield one
    one.stop()


def jail_of(tmp_path, server, password=SECRET, **keys):
    """A jail that listens to the server."""
    secret = tmp_path / "password"
    secret.write_text(f"{password}\n")
    secret.chmod(0o600)
    return {"events": server.url, "events_password_file": str(secret), **keys}


def speaking(daemon, jail="pbx"):
    """Wait until the events are told."""
    daemon.wait_for(lambda: daemon.status(jail)["events"]["speaks"], "events")


def test_five_events_ban_without_a_log(tmp_path, server):
    """A jail with events needs no log; nothing but what must be is sent, and the password is shown nowhere."""
    with running(tmp_path, {"pbx": jail_of(tmp_path, server)}) as daemon:
        speaking(daemon)
        server.tell(*[ATTACKER] * 4, OTHER)
        daemon.wait_logged("Found", times=5)
        assert daemon.banned("pbx") == set()
        server.tell(ATTACKER)
        daemon.wait_logged(f"[pbx] Ban {ATTACKER}")
        told = daemon.sipguard("status", "pbx").stdout + daemon.sipguard("status", "pbx", "--json").stdout
        assert f"events of {server.url}: told" in told
        assert "reported: event" in daemon.sipguard("explain", ATTACKER).stdout
        assert daemon.sipguard("status").returncode == 0
        daemon.stop()
        seen = [
            daemon.logged(),
            daemon.output,
            told,
            *(p.read_bytes().decode("latin-1") for p in tmp_path.glob("state/*")),
        ]
        assert not any(SECRET in text for text in seen)
    words = {line.split()[0] for line in server.received.decode().replace("\r", "").split("\n") if line}
    allowed = {"freeswitch": {"auth", "event", "exit"}, "asterisk": {"Action:", "Username:", "Secret:", "Events:"}}
    assert words == allowed[server.kind]
    actions = {line.split()[1] for line in server.received.decode().splitlines() if line.startswith("Action:")}
    assert actions <= {"Login", "Logoff"}


@pytest.mark.timed
def test_the_log_is_silent_while_events_speak_and_speaks_when_they_stop(tmp_path, log, fs):
    """One attempt, told by both, counts once; after the end of the events the log counts at once."""
    jail = jail_of(tmp_path, fs, filter="freeswitch", logpath=str(log), maxretry=10)
    with running(tmp_path, {"pbx": jail}) as daemon:
        speaking(daemon)
        time.sleep(1.1)  # lines of the second in which they began may be of before
        for _ in range(4):
            fs.tell(ATTACKER)
            append(log, failure(ATTACKER))
        append(log, failure("192.0.2.99") * 20)  # what nobody but the log has told
        daemon.wait_for(lambda: daemon.status("pbx")["events"]["silenced"] == 24)
        daemon.wait_for(lambda: daemon.status("pbx")["totals"]["failures"] == 4)
        assert daemon.status("pbx")["events"]["speaks"]
        time.sleep(7)  # what was told just before the end would count
        fs.stop()
        begun = time.monotonic()
        daemon.wait_logged("[pbx] No events of")
        append(log, failure(OTHER) * 10)
        daemon.wait_logged(f"[pbx] Ban {OTHER}")
        assert time.monotonic() - begun < within(5)
        assert "the log speaks until they are back" in daemon.logged()
        assert daemon.banned("pbx") == {OTHER}
        fs.start()
        begun = time.monotonic()
        speaking(daemon)
        assert time.monotonic() - begun < within(5)
        assert "they were gone for" in daemon.logged()


def test_what_log_and_events_tell_around_the_end_counts_once(tmp_path, log, fs):
    """Nine attempts of ten that ban, told by both; the server is killed, and comes back, in their midst, thrice."""
    jail = jail_of(tmp_path, fs, filter="freeswitch", logpath=str(log), maxretry=100)
    total = 0
    with running(tmp_path, {"pbx": jail}) as daemon:
        for number in range(1, 4):
            speaking(daemon)
            daemon.wait_for(lambda: bool(fs.clients))
            for _ in range(9):
                fs.tell(ATTACKER)
                append(log, failure(ATTACKER))
                total += 1
                time.sleep(0.02)
            fs.stop()
            daemon.wait_for(lambda: not daemon.status("pbx")["events"]["speaks"])
            append(log, failure(OTHER) * 3)  # nobody else tells of these
            # Their time is a part of a second off: the events may be back before it.
            daemon.wait_logged(f"Found {OTHER}", times=3 * number)
            fs.start()
        speaking(daemon)
        time.sleep(1)
        counted = daemon.status("pbx")["totals"]["failures"]
        story = daemon.sipguard("explain", ATTACKER, "--json", check=False).stdout
        assert json.loads(story)["counts"]["pbx"][0] == total, daemon.logged()
        assert counted == total + 9


@pytest.mark.parametrize("hours", [1, -1])
def test_a_log_in_another_time_zone(tmp_path, log, fs, hours):
    """Its lines are an hour old, or still to come: they are silent all the same."""
    jail = jail_of(tmp_path, fs, filter="freeswitch", logpath=str(log), maxretry=100, findtime="2h")
    with running(tmp_path, {"pbx": jail}) as daemon:
        speaking(daemon)
        time.sleep(1.1)  # lines of the second in which they began may be of before
        for number in range(1, 9):
            fs.tell(ATTACKER)
            append(log, failure(ATTACKER, when=time.time() - 3600 * hours))
            daemon.wait_for(lambda n=number: daemon.status("pbx")["totals"]["failures"] >= n)
        append(log, failure(OTHER, when=time.time() - 3600 * hours) * 5)
        daemon.wait_for(lambda: daemon.status("pbx")["events"]["silenced"] == 13)
        daemon.wait_logged("Found", times=8)
        assert daemon.status("pbx")["totals"]["failures"] == 8


def test_a_restart_counts_nothing_twice(tmp_path, log, fs):
    """What events told before is not counted again from the log that is read on."""
    jail = jail_of(tmp_path, fs, filter="freeswitch", logpath=str(log), maxretry=50)
    with running(tmp_path, {"pbx": jail}) as daemon:
        speaking(daemon)
        fs.tell(*[ATTACKER] * 6)
        daemon.wait_logged("Found", times=6)
        daemon.stop()
        append(log, failure(ATTACKER) * 6 + failure(OTHER) * 2)  # written late
        daemon.start()
        daemon.wait_logged(f"Found {OTHER}", times=2)
        assert json.loads(daemon.sipguard("explain", ATTACKER, "--json", check=False).stdout)["counts"]["pbx"][0] == 6


@pytest.mark.parametrize("wrong", ["password", "nobody", "permission"])
def test_a_server_that_refuses_is_told_and_harms_no_other_jail(tmp_path, log, server, wrong):
    """One line, in the log and in `status`; the jail's own log counts, and others' too."""
    jail = jail_of(
        tmp_path, server, filter="freeswitch", logpath=str(log), password="another" if wrong == "password" else SECRET
    )
    if wrong == "nobody":
        server.stop()
    if wrong == "permission":
        if server.kind == "freeswitch":
            pytest.skip("FreeSWITCH knows no user without the right to read")
        server.may_read = False
    with running(tmp_path, {"pbx": jail, "second": {"filter": "freeswitch", "logpath": str(log)}}) as daemon:
        daemon.wait_logged("[pbx] No events of")
        append(log, failure(ATTACKER) * 5)
        daemon.wait_logged(f"Ban {ATTACKER}", times=2)
        problem = daemon.status("pbx")["events"]["problem"]
        said = {"password": "wrong", "nobody": "Connect", "permission": "write read = security"}[wrong]
        assert said in problem
        told = daemon.sipguard("status").stdout
        assert f"jail pbx: no events of {server.url}" in told
        assert "another" not in told + daemon.logged()


def test_a_reload_keeps_the_connection(tmp_path, fs):
    """And what is told meanwhile."""
    with running(tmp_path, {"pbx": jail_of(tmp_path, fs)}) as daemon:
        speaking(daemon)
        fs.tell(*[ATTACKER] * 3)
        daemon.wait_logged("Found", times=3)
        daemon.sipguard("reload")
        fs.tell(*[ATTACKER] * 2)
        daemon.wait_logged(f"[pbx] Ban {ATTACKER}")
        assert daemon.status("pbx")["events"]["connections"] == 1


def test_a_success_forgives(tmp_path, fs):
    """As in a log with `successregex`."""
    with running(tmp_path, {"pbx": jail_of(tmp_path, fs)}) as daemon:
        speaking(daemon)
        fs.tell(*[ATTACKER] * 4)
        daemon.wait_logged("Found", times=4)
        fs.tell(ATTACKER, name="register")
        daemon.wait_for(lambda: daemon.status("pbx")["totals"]["successes"] == 1)
        fs.tell(*[ATTACKER] * 4)
        daemon.wait_logged("Found", times=8)
        assert daemon.banned("pbx") == set()
