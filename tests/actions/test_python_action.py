"""Python actions run through their documented interface, in a process of their own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest

from sipguard.actions.base import ActionError, Notice
from sipguard.actions.ticket import JailFacts, Ticket
from sipguard.fail2ban.actions.python_action import PythonAction
from sipguard.model import Action, Ban

ACTION = """
import os, time
from fail2ban.server.actions import ActionBase, CallingMap

class Own(ActionBase):
    def __init__(self, jail, name, path, mode=""):
        super().__init__(jail, name)
        self.path, self.mode, self.count = path, mode, 0
        self.values = CallingMap(jailname=jail.name, bantime=lambda: jail.actions.getBanTime())
        self.norestored = mode == "norestored"
    def note(self, *words):
        with open(self.path, "a") as file:
            print(*words, file=file)
        print("on standard output: not an answer")
    def start(self):
        self.note("start", self._name, self.values["jailname"], self.values["bantime"])
    def stop(self):
        self.note("stop", self.count)
    def ban(self, aInfo):
        self.count += 1
        aInfo.update(self.values)
        self.note("ban %(ip)s %(failures)i %(family)s %(bancount)i %(jailname)s" % aInfo, aInfo["F-*"]["user"])
        if self.mode == "fails":
            raise RuntimeError("no such luck \\x1b[31m")
        if self.mode == "hangs":
            time.sleep(100)
        if self.mode == "dies":
            os._exit(3)
        if self.mode == "logs":
            self._logSys.warning("mind %s", "\\x1b[31m")
    def unban(self, aInfo):
        self.note("unban", aInfo["ip"])

Action = Own
"""


@pytest.fixture
def own(tmp_path):
    """Makes an action of our own; `own.noted()` is what it has done."""
    (tmp_path / "own.py").write_text(ACTION)
    noted = tmp_path / "noted"

    def make(mode="", limit=10.0):
        options = {"path": str(noted), "mode": mode}
        action = Action("own", "own.py", properties=options, python=str(tmp_path / "own.py"))
        return PythonAction(action, JailFacts("sip", 600.0), clock=time.time, limit=limit)

    make.noted = lambda: noted.read_text().splitlines() if noted.exists() else []
    return make


def notice(verb, *, address="203.0.113.7", restored=False):
    """Something to tell."""
    ban = Ban(address, "sip", 1000.0, 1600.0, attempts=5)
    return Notice(verb, Ticket(ban, JailFacts("sip"), ("a line",), {"user": "$(x)"}, restored=restored))


def tell(worker, *verbs, **options):
    """Tell a worker of things in order, then close it; the errors."""

    async def run():
        errors = []
        for verb in verbs:
            try:
                await worker.handle([notice(verb, **options)])
            except ActionError as error:
                errors.append(str(error))
        await worker.close()
        return errors

    return asyncio.run(run())


def test_life(own):
    """Each method is called with the tags, in one process that keeps its state."""
    assert tell(own(), "start", "ban", "unban", "stop") == []
    assert own.noted() == [
        "start own sip 600",
        "ban 203.0.113.7 5 inet4 1 sip $(x)",
        "unban 203.0.113.7",
        "stop 1",
    ]


def test_error(own):
    """What the action raises is told on one line, without a byte that a terminal obeys; it goes on."""
    errors = tell(own("fails"), "start", "ban", "unban")
    assert errors == ["ban: RuntimeError: no such luck \\x1b[31m"]
    assert own.noted()[-1] == "unban 203.0.113.7"


def test_hanging(own):
    """A call that takes too long is ended with its process; the next one begins with `start`."""
    worker = own("hangs", limit=60)

    async def run():
        await worker.handle([notice("start")])
        worker._limit = 0.5  # not of what begins a process: that takes its time
        with pytest.raises(ActionError, match=r"^ban: stopped after its time limit of 0\.5 s$"):
            await worker.handle([notice("ban")])
        worker._limit = 60
        await worker.handle([notice("unban")])
        await worker.close()

    asyncio.run(run())
    assert own.noted()[2:] == ["start own sip 600", "unban 203.0.113.7"]


def test_dying(own):
    """A process that dies is told of, and replaced."""
    errors = tell(own("dies"), "start", "ban", "unban")
    assert errors == ["ban: its process has died"]
    assert own.noted()[-1] == "unban 203.0.113.7"


def test_logs(own, caplog):
    """What the action logs reaches the daemon's log."""
    assert tell(own("logs"), "start", "ban") == []
    assert "[sip] own: mind \\x1b[31m" in caplog.text


@pytest.mark.parametrize(("mode", "bans"), [("", 1), ("norestored", 0)])
def test_restored(own, mode, bans):
    """An action that says so is not told of restored bans."""
    tell(own(mode), "start", "ban", restored=True)
    assert sum(line.startswith("ban") for line in own.noted()) == bans


def test_no_process_is_left(own):
    """Closing ends the process."""
    before = psutil.Process().children()  # what forks daemons, if another test here has had one
    tell(own(), "start")
    assert [
        one for one in psutil.Process().children() if one not in before and one.status() != psutil.STATUS_ZOMBIE
    ] == []


def test_broken_file(tmp_path):
    """A file that cannot be loaded is an error of each notice, not of the daemon."""
    (tmp_path / "bad.py").write_text("import nonesuch_module\n")
    action = Action("bad", "bad.py", python=str(tmp_path / "bad.py"))
    worker = PythonAction(action, JailFacts("sip"), clock=time.time)
    (error,) = tell(worker, "ban")
    assert error.startswith("its beginning: ModuleNotFoundError")


@pytest.mark.fail2ban
def test_smtp_py(mail_server):
    """Debian's smtp.py mails at start, ban and stop, with the stand-in for Fail2ban's package."""
    options = {"host": mail_server.address, "dest": "ops@example.com", "matches": "matches"}
    action = Action("smtp", "smtp.py", properties=options, python=str(Path("/etc/fail2ban/action.d/smtp.py")))
    worker = PythonAction(action, JailFacts("sip", 600.0), clock=time.time)
    assert tell(worker, "start", "ban", "stop") == []
    subjects = [mail["subject"] for mail in mail_server.mails]
    assert [subject.split(" from ")[0].split(" on ")[0] for subject in subjects] == [
        "[Fail2Ban] sip: started",
        "[Fail2Ban] sip: banned 203.0.113.7",
        "[Fail2Ban] sip: stopped",
    ]
    assert "after 5 attempts against sip" in mail_server.mails[1].get_payload()
    assert "a line" in mail_server.mails[1].get_payload()
