"""A running daemon behind Fail2ban's socket: what clients change acts, and what others read is there."""

from __future__ import annotations

import pickle
import socket
import sqlite3
import time

import pytest
import toml
from running import PATIENCE, RunningDaemon

from sipguard.fail2ban.client.connection import Connection
from sipguard.fail2ban.protocol.answers import RemoteError
from sipguard.fail2ban.protocol.messages import END

FILTER = "[Definition]\nfailregex = ^\\s*login failed for <F-USER>\\S+</F-USER> from <HOST>$\n"
ATTACKER = "203.0.113.66"


class Lab(RunningDaemon):
    """A daemon with one jail on one log, and Fail2ban's socket, pid file and database."""

    def __init__(self, folder):
        self.watched = folder / "service.log"
        self.watched.touch()
        (folder / "filters.d").mkdir()
        (folder / "filters.d" / "lab.conf").write_text(FILTER)
        jail = {"filter": "lab", "logpath": str(self.watched), "maxretry": 3, "ignoreself": False}
        super().__init__(folder, {"alpha": jail})
        self.f2b = folder / "f2b" / "fail2ban.sock"
        self.pidfile = folder / "f2b" / "fail2ban.pid"
        self.database = folder / "f2b" / "fail2ban.sqlite3"
        places = {"socket": str(self.f2b), "pidfile": str(self.pidfile), "dbfile": str(self.database)}
        self.config.write_text(self.config.read_text() + toml.dumps({"fail2ban": places}))

    def get(self, *words):
        """The value that is answered; fails with the error that is."""
        with Connection(str(self.f2b), PATIENCE) as connection:
            status, value = connection.ask(list(words))
        assert status == 0, value
        return value

    def error(self, *words):
        """The error that is answered."""
        with Connection(str(self.f2b), PATIENCE) as connection:
            status, value = connection.ask(list(words))
        assert status == 1
        assert isinstance(value, RemoteError)
        return value

    def fail(self, count, address=ATTACKER, log=None):
        """Failures of an address."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with (log or self.watched).open("a") as file:
            file.write("".join(f"{stamp} login failed for user{number} from {address}\n" for number in range(count)))

    def total_failed(self):
        """As `status` says it."""
        return self.get("status", "alpha")[0][1][1][1]

    def banned(self):
        """The banned addresses."""
        return self.get("get", "alpha", "banned")


@pytest.fixture
def lab(tmp_path):
    """A running one."""
    made = Lab(tmp_path).start()
    made.wait_for(made.f2b.exists)
    yield made
    if made.process.poll() is None:
        made.stop()


def test_pickles_of_exporters(lab):
    """og-rek's opcodes, without PROTO, several requests on one connection; shapes as the exporter asserts them."""
    requests = [
        b"](U\x04pingK\x64e.",
        b"](U\x06statuse.",
        b"](U\x06statusU\x05alphae.",
        b"](U\x03getU\x05alphaU\x08maxretrye.",
        b"](U\x03getU\x05alphaU\x07bantimee.",
        b"](U\x03getU\x05alphaU\x08findtimee.",
    ]
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(lab.f2b))
        answers = []
        for request in requests:
            sock.sendall(request + END)
            data = b""
            while not data.endswith(END):
                data += sock.recv(65536)
            answers.append(pickle.loads(data[: -len(END)]))
    assert answers[0] == (0, "pong")
    assert answers[1] == (0, [("Number of jail", 1), ("Jail list", "alpha")])
    filter_, actions = answers[2][1]
    assert filter_ == ("Filter", [("Currently failed", 0), ("Total failed", 0), ("File list", [str(lab.watched)])])
    assert actions == ("Actions", [("Currently banned", 0), ("Total banned", 0), ("Banned IP list", [])])
    assert [type(answer[1]) for answer in answers[3:]] == [int] * 3
    assert answers[3:] == [(0, 3), (0, 3600), (0, 600)]


def test_changes_act_on_the_running_jail(lab):
    """maxretry, findtime, ignoreip and failregex: the next line is judged by them."""
    assert lab.get("set", "alpha", "maxretry", "2") == 2
    lab.fail(2)
    lab.wait_for(lambda: lab.banned() == [ATTACKER])
    assert lab.get("set", "alpha", "addignoreip", "203.0.113.0/24") == ["203.0.113.0/24"]
    lab.fail(5, "203.0.113.7")
    lab.fail(1, "192.0.2.7")
    lab.wait_for(lambda: lab.total_failed() == 3)
    assert lab.banned() == [ATTACKER]
    lab.get("set", "alpha", "addfailregex", r"^\s*odd <HOST>$")
    with lab.watched.open("a") as log:
        log.write("odd 192.0.2.8\n" * 2)
    lab.get("set", "alpha", "bantime", "-1")
    lab.fail(2, "192.0.2.9")
    lab.wait_for(lambda: lab.banned() == [ATTACKER, "192.0.2.8", "192.0.2.9"])
    (line,) = [one for one in lab.get("get", "alpha", "banip", "--with-time") if one.startswith("192.0.2.9 ")]
    assert line.endswith(" + -1 = 9999-12-31 23:59:59")


def test_logs_come_and_go(lab):
    """addlogpath, dellogpath and idle: nothing is read twice, nothing is missed."""
    more = lab.folder / "more.log"
    more.touch()
    lab.fail(1)
    lab.wait_for(lambda: lab.total_failed() == 1)
    lab.get("set", "alpha", "addlogpath", str(more))
    lab.fail(1, "192.0.2.7", more)
    lab.wait_for(lambda: lab.total_failed() == 2)
    lab.get("set", "alpha", "idle", "on")
    lab.fail(1, "192.0.2.7")
    time.sleep(0.3)
    assert lab.total_failed() == 2
    assert lab.get("get", "alpha", "logpath") == [str(lab.watched), str(more)]
    lab.get("set", "alpha", "idle", "off")
    lab.wait_for(lambda: lab.total_failed() == 3)
    lab.get("set", "alpha", "dellogpath", str(more))
    lab.fail(1, "192.0.2.7", more)
    lab.fail(1, "192.0.2.8")
    lab.wait_for(lambda: lab.total_failed() == 4)
    assert lab.get("status", "alpha")[0][1][2] == ("File list", [str(lab.watched)])


def test_reload_brings_the_configuration_back(lab):
    """What was set goes; bans, totals and positions stay; a jail that was added goes."""
    lab.get("set", "alpha", "maxretry", "7")
    lab.get("set", "alpha", "banip", "192.0.2.1")
    lab.get("add", "extra", "auto")
    lab.fail(1)
    lab.wait_for(lambda: lab.total_failed() == 1)
    assert lab.get("reload", "--all", [], []) == "OK"
    assert lab.get("get", "alpha", "maxretry") == 3
    assert lab.get("status")[1] == ("Jail list", "alpha")
    assert lab.banned() == ["192.0.2.1"]
    assert lab.total_failed() == 1
    assert lab.get("reload", "--all", ["--unban"], []) == "OK"
    assert lab.banned() == []


def test_a_jail_made_by_commands(lab):
    """add, set, start: it finds and bans; stop ends its bans."""
    log = lab.folder / "other.log"
    log.touch()
    lab.get("add", "extra", "polling")
    lab.get("set", "extra", "addfailregex", r"^\s*login failed for \S+ from <HOST>$")
    lab.get("set", "extra", "addlogpath", str(log), "head")
    lab.get("start", "extra")
    lab.fail(3, log=log)
    lab.wait_for(lambda: lab.get("get", "extra", "banned") == [ATTACKER])
    assert lab.get("banned", ATTACKER) == [["extra"]]
    assert lab.error("add", "alpha", "auto").kind == "DuplicateJailException"
    lab.get("stop", "extra")
    assert lab.get("banned") == [{"alpha": []}]


def test_of_version_1_1(lab):
    """`status --all` and `stats` as their clients read them."""
    lab.get("set", "alpha", "banip", "192.0.2.1")
    basic = lab.get("status", "--all")
    assert basic[:2] == [("Number of jail", 1), ("Jail list", "alpha")]
    assert basic[2]["alpha"][1][1][2] == ("Banned IP list", ["192.0.2.1"])
    assert lab.get("stats") == lab.get("statistics") == {"alpha": ["pyinotify", (0, 0), (1, 1)]}


def test_bans_that_grow(lab):
    """bantime.increment and its factor act on the next ban by the count of those before."""
    lab.get("set", "alpha", "bantime", "1")
    lab.get("set", "alpha", "bantime.increment", "true")
    assert lab.get("set", "alpha", "bantime.factor", "30") == "30"
    lab.fail(3)
    lab.wait_logged(f"Unban {ATTACKER}")
    lab.wait_for(lambda: lab.stored() == set(), "the end on disk: the count of earlier bans is that of the database")
    lab.fail(3)
    lab.wait_for(lambda: lab.banned() == [ATTACKER])
    assert lab.get("get", "alpha", "banip", "--with-time")[0].split(" + ")[1].startswith("60 ")
    assert lab.get("set", "alpha", "bantime.increment", "") is False


def test_ignorecommand_acts(lab):
    """A command that says yes for one address keeps that one alone from being banned."""
    lab.get("set", "alpha", "ignorecommand", "test <ip> = 203.0.113.7")
    lab.fail(3, "203.0.113.7")
    lab.fail(3, "203.0.113.8")
    lab.wait_for(lambda: lab.banned() == ["203.0.113.8"])


def test_refused(lab):
    """What is no address, or must not be banned, is not; a formula that is more than arithmetic is refused."""
    assert "is not an address" in str(lab.error("set", "alpha", "banip", "nonsense"))
    assert "is not banned" in str(lab.error("set", "alpha", "banip", "127.0.0.1"))
    assert lab.error("set", "alpha", "bantime.formula", "__import__('os').abort()").kind == "ValueError"
    assert lab.get("get", "alpha", "bantime.formula") is None
    assert lab.error("set", "alpha", "bantime", "1001y").kind == "ValueError"
    assert lab.error("add", "a\nb", "auto").kind == "ValueError"
    assert str(lab.error("set", "logtarget", "relative.log")) == "Failed to change log target"
    assert lab.error("set", "alpha", "datepattern", "%Y(").kind == "ValueError"
    assert lab.get("get", "alpha", "datepattern") == (None, "Default Detectors")


def test_database_is_live(lab):
    """Bans, unbans, jails and positions, as another program sees them while the daemon runs."""

    def rows(query):
        with sqlite3.connect(f"file:{lab.database}?mode=ro", uri=True) as db:
            found = db.execute(query).fetchall()
        db.close()
        return found

    def has_tables():
        return lab.database.exists() and rows("SELECT name FROM sqlite_master WHERE name = 'jails'")

    lab.wait_for(has_tables)
    lab.wait_for(lambda: rows("SELECT name, enabled FROM jails") == [("alpha", 1)])
    lab.fail(3)
    lab.wait_for(lambda: rows("SELECT ip, bantime, bancount FROM bips") == [(ATTACKER, 3600, 1)])
    lines = rows("SELECT json_extract(data, '$.failures'), json_array_length(data, '$.matches') FROM bans")
    assert lines == [(3, 3)]
    size = lab.watched.stat().st_size
    lab.wait_for(lambda: rows("SELECT path, lastfilepos FROM logs") == [(str(lab.watched), size)])
    lab.get("unban", "--all")
    lab.wait_for(lambda: rows("SELECT ip FROM bans UNION SELECT ip FROM bips") == [])
    assert lab.get("get", "dbfile") == str(lab.database)
    lab.stop()
    assert rows("SELECT name, enabled FROM jails") == [("alpha", 0)]


def test_pid_file_and_end(lab):
    """The pid file names the daemon; `stop` answers, ends it, and takes the files with it."""
    assert int(lab.pidfile.read_text()) == lab.process.pid
    lab.get("set", "alpha", "banip", "192.0.2.1")
    assert lab.get("stop") is None
    assert lab.process.wait(PATIENCE) == 0
    lab.process.stdout.close()
    assert not lab.pidfile.exists()
    assert not lab.f2b.exists()
    assert (lab.folder / "state").exists()
