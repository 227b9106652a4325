"""Logs that are read liberally too, where the wire proves who fails: when, and that forged lines count for nobody then."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hep_daemon import Listening
from running import append, failure
from sip_packets import SERVER, answer, request
from testimony import NOW, Eyes, attempt

from sipguard.cli.client import ask
from sipguard.config.settings import load
from sipguard.daemon import liberal
from sipguard.daemon.examiner import Examiner
from sipguard.daemon.log_detectors import SharedDetectors
from sipguard.model import Chunk, Filter, Jail, Position
from sipguard.policy.corroboration import SIGHTED
from sipguard.state.changes import Changes
from sipguard.wire_model import Packet

LOGS = Path(__file__).parents[2] / "fixtures" / "logs"
SHORT = [sys.executable, str(Path(__file__).parent / "short_start.py")]
STRICT, FORGEABLE = r"^\s*strict <HOST>$", r"^\s*forgeable <HOST>$"
JAIL = Jail("j", Filter("j", (STRICT,)), liberal=Filter("j", (STRICT, FORGEABLE)))
ONE, PHONE, SILENT = "192.0.2.66", "192.0.2.20", "198.51.100.7"


def chunk(path, text):
    """Whole lines of a log."""
    return Chunk(path, text, Position(path, 0, 0, "", 0, 0))


class TestReading:
    """When a log is read liberally, by a whole examiner."""

    def examiner(self, eyes):
        """Of a jail with both readings."""
        return Examiner(JAIL, eyes, SharedDetectors(lambda: NOW))

    def hear(self, one, text):
        """A chunk of the log."""
        return one.hear(chunk("a.log", text), NOW)

    def proven(self, one):
        """Let the wire prove enough."""
        one.attempts([attempt(time=NOW + number) for number in range(SIGHTED)], NOW, Changes())

    def test_only_what_the_strict_reading_leaves_out(self):
        """And only once the wire has proven something."""
        one = self.examiner(Eyes())
        text = b"2026-11-28 10:00:00 forgeable 192.0.2.66\n2026-11-28 10:00:00 strict 192.0.2.66\n"
        one.attempts([attempt(verdict="scan", transport="tcp")], NOW, Changes())
        assert (one.is_liberal(NOW), self.hear(one, text)) == (False, [])
        self.proven(one)
        assert one.is_liberal(NOW)
        (found,) = one.liberal.read(chunk("b.log", text))
        assert found.lines == (text.decode().splitlines()[0],)

    @pytest.mark.parametrize("change", [{"blind": "packets were lost"}, {"cannot": "the wire is not watched"}])
    def test_strict_again(self, change):
        """Blind or off: the log is not read so, and what was begun is forgotten."""
        eyes = Eyes()
        one = self.examiner(eyes)
        self.proven(one)
        self.hear(one, b"x\n")
        assert one.liberal._detectors is not None
        for name, value in change.items():
            setattr(eyes, name, value)
        self.hear(one, b"x\n")
        assert (one.is_liberal(NOW), one.liberal._detectors) == (False, None)
        assert one.status(NOW)["liberal"] is False

    def test_a_flood(self, monkeypatch):
        """What it takes is bounded: a busy log is left out for a while, and read again."""
        one = self.examiner(Eyes())
        text = b"2026-11-28 10:00:00 forgeable 192.0.2.66\n"
        assert one.liberal.read(chunk("a.log", text))
        one.liberal._credit = -0.5  # as after a second and a half of work at once
        assert one.liberal.read(chunk("a.log", text)) == []
        now = time.monotonic()
        monkeypatch.setattr(liberal.time, "monotonic", lambda: now + 5.1)
        assert one.liberal.read(chunk("a.log", text))
        before = one.liberal._credit
        one.liberal.read(chunk("a.log", text * 1000))
        assert before - 1 < one.liberal._credit < before

    def test_a_filter_that_cannot_be_used(self, caplog):
        """It is told once, and the strict reading goes on."""
        one = self.examiner(Eyes())
        one.liberal._jail = replace(JAIL, filter=Filter("j", ("(",)))
        self.proven(one)
        for _ in range(3):
            assert self.hear(one, b"x\n") == []
        assert caplog.text.count("is not read liberally") == 1


@pytest.mark.parametrize(
    ("jail", "more", "count"),
    [("asterisk", "filter = 'asterisk[log=notice]'", 1), ("freeswitch", "", 1), ("kamailio", "", 1), ("opensips", "", 1),
     ("asterisk", "corroborate = false", 0), ("asterisk-scan", "", 0)],
)  # fmt: skip
def test_whose_logs(tmp_path, jail, more, count):
    """The packaged jails of servers have a liberal filter, with what the operator has chosen besides; others have none."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "jails.d" / f"{jail}.toml").write_text(f"enabled = true\n{more}\n")
    (tmp_path / "sipguard.toml").touch()
    (found,) = load(tmp_path / "sipguard.toml").jails
    assert (found.liberal is not None) == bool(count)
    if found.liberal:
        assert len(found.liberal.failregex) > len(found.filter.failregex)
        assert found.liberal.options["mode"] == "aggressive"


@pytest.mark.parametrize(
    ("jail", "sample"), [("asterisk", "asterisk22-messages.log"), ("asterisk", "asterisk16-messages.log"),
                         ("asterisk", "asterisk22-control-bytes.log"), ("freeswitch", "freeswitch-constructed.log"),
                         ("kamailio", "kamailio-constructed.log"),
                         ("opensips", "opensips-constructed.log")],
)  # fmt: skip
def test_samples(tmp_path, jail, sample):
    """Real logs: more is found than strictly, and all of it counts for nobody without packets."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "jails.d" / f"{jail}.toml").write_text("enabled = true\n")
    (tmp_path / "sipguard.toml").touch()
    (found,) = load(tmp_path / "sipguard.toml").jails
    one = Examiner(found, Eyes(), SharedDetectors(time.time))
    one.attempts([attempt(time=NOW + number) for number in range(SIGHTED)], NOW, Changes())
    assert one.liberal.read(chunk("a.log", (LOGS / sample).read_bytes()))
    assert one.liberal.problem == ""
    assert one.hear(chunk("b.log", (LOGS / sample).read_bytes()), NOW) == []


def no_such_number(address):
    """A line of FreeSWITCH's that its filter believes in mode=scan alone, since callers can make it."""
    return f"{time.strftime('%F %T')}.123456 98.53% [WARNING] mod_dptools.c:1742 [inbound routes] 404 not found {address}\n"


class Server:
    """A daemon with a log and HEP packets of FreeSWITCH."""

    def __init__(self, folder, log, *, wire=None, **options):
        self.log = log
        self.wire = Listening(folder, name="freeswitch", logpath=str(log), maxretry=5, options=options, wire=wire)
        self.daemon = self.wire.daemon

    @property
    def examined(self):
        """What `status` says of the examination."""
        return self.daemon.status("freeswitch")["corroboration"]

    def counted(self):
        """Address → what counts."""
        return ask(self.daemon.socket, "status", jail="freeswitch", counted=0)["jails"][0]["counted"]

    def fail(self, address, times):
        """Failed logins that packets prove and the log tells of."""
        before = self.examined["confirmed"]
        self.wire.guess(address, times=times)
        append(self.log, failure(address) * times)
        self.daemon.wait_for(lambda: self.examined["confirmed"] == before + times)

    def call_nowhere(self, address, number):
        """A call without credentials over TCP, answered 404."""
        call = request("INVITE", user=f"00{number}", call=f"{address}{number}")
        self.wire.send([Packet(time.time(), SERVER, 5060, address, 40000, "tcp", answer(404, call))])


@pytest.fixture
def server(tmp_path, log):
    """Make such a daemon."""
    made = []

    def make(*, prefix=SHORT, wire=None):
        made.append(Server(tmp_path, log, prefix=prefix, wire=wire))
        return made[-1]

    yield make
    for one in made:
        if one.daemon.process.poll() is None:
            one.daemon.stop()


def test_calls_to_nowhere(server, log):
    """A guesser's calls that the wire proves and the log tells of count each once; his alone, and nobody's without packets."""
    one = server()
    one.fail(ONE, 3)
    one.daemon.wait_for(lambda: one.examined["liberal"])
    append(log, no_such_number(SILENT) * 20 + no_such_number(ONE) * 20)
    one.call_nowhere(PHONE, 1)  # it has never failed
    append(log, no_such_number(PHONE) * 20)
    one.daemon.wait_for(lambda: one.examined["hearsay"] == 1)
    assert one.counted() == {ONE: 3}
    for number in (1, 2):
        one.call_nowhere(ONE, number)
        append(log, no_such_number(ONE))
        one.daemon.wait_for(lambda: one.examined["hearsay"] == 1 + number)  # noqa: B023 - at once
    one.daemon.wait_for(lambda: one.daemon.banned("freeswitch") == {ONE})
    (ban,) = one.daemon.status("freeswitch")["banned"]
    assert ban["evidence"] == "proven"
    for address in (SILENT, PHONE):
        story = one.wire.explained(address)
        assert (story["bans"], story["attempts"]) == ([], [])


def test_beside_a_proxy(server, log):
    """Proxies change nothing while they are silent."""
    one = server(wire={"proxies": ["192.0.2.1"]})
    one.fail(ONE, 3)
    one.daemon.wait_for(lambda: one.examined["liberal"])
    one.call_nowhere(ONE, 1)
    append(log, no_such_number(ONE))
    one.daemon.wait_for(lambda: one.counted() == {ONE: 4})
    assert "internal error" not in one.daemon.logged()


def test_blind(server, log):
    """In the first five minutes the wire may miss something: the log is read strictly, and forged lines count for nobody."""
    one = server(prefix=())
    one.wire.guess(ONE, times=3)
    one.daemon.wait_for(lambda: one.counted() == {ONE: 3})
    assert one.examined["liberal"] is False
    one.call_nowhere(ONE, 1)
    append(log, (no_such_number(SILENT) + no_such_number(ONE)) * 10 + failure("192.0.2.99"))
    one.daemon.wait_for(lambda: one.counted() == {ONE: 3, "192.0.2.99": 1})
    assert one.examined["hearsay"] == 0
