"""Actions beside the bans: slow, failing and hanging ones hold up nobody, are cut by their limits, and stay within bounds."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime

import psutil
import pytest
from limits import within
from needs import with_root
from netns import namespace
from running import append, failure, running

from sipguard.actions.base import ActionError, Notice
from sipguard.actions.evidence import MOST_LINES, Evidence
from sipguard.actions.queue import ActionQueue, finish
from sipguard.actions.ticket import JailFacts, Ticket
from sipguard.model import Ban, Failure

BURST = 1000
SCRIPTS = {
    "sleeps": "#!/bin/sh\necho $$ >> {folder}/sleeps.noted\nsleep 5\n",
    "fails": "#!/bin/sh\ncat >> {folder}/fails.noted\nexit 1\n",
    "hangs": "#!/bin/sh\ntrap '' TERM\necho $$ >> {folder}/hangs.noted\nsleep 1000 &\nwhile :; do sleep 1000; done\n",
}


@pytest.fixture
def programs(tmp_path):
    """Programs that sleep, fail and hang, as actions of a jail."""
    actions = []
    for name, text in SCRIPTS.items():
        path = tmp_path / name
        path.write_text(text.format(folder=tmp_path))
        path.chmod(0o755)
        limit = 2 if name == "hangs" else 30
        actions.append({"type": "exec", "name": name, "command": [str(path)], "timeout": limit})
    return actions


def actions_of(daemon):
    """What the jail's actions have done, by name."""
    return {action["name"]: action for action in daemon.status("freeswitch")["actions"]}


def took(text):
    """Seconds between the first ban and the last, by the daemon's own log."""
    times = [line[:23] for line in text.splitlines() if "] Ban " in line]
    first, last = (datetime.strptime(f"{one}000", "%Y-%m-%d %H:%M:%S,%f") for one in (times[0], times[-1]))  # noqa: DTZ007
    return (last - first).total_seconds()


@pytest.fixture(params=with_root("memory", "nftables"))
def enforced(request):
    """A firewall's options for `running`, and what the kernel has in it."""
    if request.param == "memory":
        yield {"firewall": "memory"}, lambda: None
        return
    with namespace("nft") as host:
        options = {"firewall": "nftables", "prefix": ["ip", "netns", "exec", host.name]}
        yield options, lambda: host.run("nft", "list", "table", "inet", "sipguard").count("expires")


@pytest.mark.timed
def test_a_burst_with_bad_actions(tmp_path, log, programs, enforced):
    """1,000 bans: every one is in the firewall at once; the actions are cut, what they cannot keep up with is counted.

    Takes the 10 s that the daemon grants its actions at the end.
    """
    addresses = [f"198.51.{100 + number // 250}.{number % 250}" for number in range(BURST)]
    options, in_kernel = enforced
    with running(
        tmp_path, {"freeswitch": {"logpath": str(log), "actions": programs}}, imported=True, **options
    ) as daemon:
        process = psutil.Process(daemon.process.pid)
        begun = time.monotonic()
        append(log, "".join(failure(address) for address in addresses) * 5)
        daemon.wait_for(lambda: daemon.logged().count("] Ban ") == BURST)
        assert took(daemon.logged()) < within(2)
        assert len(daemon.banned("freeswitch")) == BURST
        assert in_kernel() in (None, BURST)
        found = actions_of(daemon)
        assert found["sleeps"]["done"] <= 1 + (time.monotonic() - begun) / 5
        daemon.wait_for(lambda: actions_of(daemon)["hangs"]["failed"] >= 2)
        found = actions_of(daemon)
        assert found["hangs"]["problem"].endswith("stopped after its time limit of 2 s")
        assert found["fails"]["problem"].endswith("exit status 1")
        for action in found.values():
            done = action["queued"] + action["done"] + action["failed"] + action["dropped"]
            assert BURST <= done <= BURST + 1  # the start counts too; one is at work
            assert action["queued"] <= 500
        assert found["sleeps"]["dropped"] > 400
        status = daemon.sipguard("status", "freeswitch").stdout
        assert "action fails: 1 done, " in status  # the start, of which it was not to be told
        assert process.memory_info().rss < 80_000_000
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < within(14)
    for name in ("sleeps", "hangs"):
        for pid in (tmp_path / f"{name}.noted").read_text().split():
            daemon.wait_for(lambda pid=int(pid): has_ended(pid), f"the end of {name}, killed before")
    assert "Actions interrupted by the stop" in daemon.logged()


def has_ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_life_in_the_daemon(tmp_path, log):
    """Start, ban with its lines, unban and stop reach an action in order; a restart does not tell of the same ban again."""
    told = tmp_path / "told.sh"
    told.write_text(f"#!/bin/sh\ncat >> {tmp_path}/noted\n")
    told.chmod(0o755)
    places = ["start", "ban", "unban", "stop"]
    action = {"type": "exec", "command": [str(told)], "on": places}

    def noted():
        path = tmp_path / "noted"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    with running(tmp_path, {"freeswitch": {"logpath": str(log), "actions": [action]}}) as daemon:
        append(log, failure("203.0.113.66", user="1'$(x)") * 5)
        daemon.wait_for(lambda: len(noted()) == 2)
        assert noted()[1]["address"] == "203.0.113.66"
        assert ["[1'$(x)@192.0.2.10]" in line for line in noted()[1]["lines"]] == [True] * 5
        daemon.stop()
        assert [one["event"] for one in noted()] == ["start", "ban", "stop"]
        daemon.start()
        daemon.sipguard("unban", "203.0.113.66")
        daemon.wait_for(lambda: len(noted()) == 5)
        daemon.stop()
    assert [one["event"] for one in noted()] == ["start", "ban", "stop", "start", "unban", "stop"]


def test_reload(tmp_path, log):
    """What has changed is stopped and started, what has not goes on; an action that is gone stops."""
    told = tmp_path / "told.sh"
    told.write_text(f'#!/bin/sh\necho "$1 $(cat)" >> {tmp_path}/noted\n')
    told.chmod(0o755)

    def jail(**names):
        actions = [
            {"type": "exec", "name": name, "command": [str(told), mark], "on": ["start", "stop"]}
            for name, mark in names.items()
        ]
        return {"logpath": str(log), "actions": actions}

    def noted():
        lines = (tmp_path / "noted").read_text().splitlines() if (tmp_path / "noted").exists() else []
        return sorted(f"{line.split()[0]} {json.loads(line.split(' ', 1)[1])['event']}" for line in lines)

    with running(tmp_path, {"freeswitch": jail(same="a", other="b", gone="c")}) as daemon:
        daemon.wait_for(lambda: len(noted()) == 3)
        daemon.write_jail("freeswitch", **jail(same="a", other="B", new="d"))
        daemon.sipguard("reload")
        daemon.wait_for(lambda: len(noted()) == 7)
        assert noted() == ["B start", "a start", "b start", "b stop", "c start", "c stop", "d start"]


class Worker:
    """Keeps what it is told; waits until it may go on."""

    norestored = False
    flushes = True
    linger = 0.0
    batch = 1
    longest = 10.0

    def __init__(self, *, essential=False, fails=False):
        self.essential = essential
        self.fails = fails
        self.told = []
        self.gate = asyncio.Event()

    async def handle(self, notices):
        await self.gate.wait()
        self.told += [(notice.verb, notice.ticket.ban.address) for notice in notices]
        if self.fails:
            raise ActionError("no such luck")

    async def close(self):
        """Nothing is held."""


def notice(verb, number):
    """Something to tell of an address."""
    return Notice(verb, Ticket(Ban(f"198.51.100.{number}", "sip", 0.0, 600.0), JailFacts("sip")))


@pytest.mark.parametrize("essential", [False, True], ids=["told", "kept"])
def test_a_full_queue(essential):
    """The oldest bans go, with their unbans, and never a start or stop; an action that keeps bans loses none."""

    async def run():
        worker = Worker(essential=essential)
        queue = ActionQueue("[sip] Action x", worker, most=5)
        queue.put(notice("start", 0))
        await asyncio.sleep(0)
        for number in range(10):
            queue.put(notice("ban", number))
        for number in (0, 9):
            queue.put(notice("unban", number))
        queue.put(notice("stop", 0))
        worker.gate.set()
        await finish([queue], 5)
        return worker.told, queue.dropped

    told, dropped = asyncio.run(run())
    told = [f"{verb} {address.rpartition('.')[2]}" for verb, address in told]
    assert told[0] == "start 0"
    assert told[-1] == "stop 0"
    if essential:  # the bans of 0 and 9 ended before they were told
        assert told[1:-1] == [f"ban {number}" for number in range(1, 9)]
        assert dropped == 0
    else:
        assert told[1:-1] == ["ban 7", "ban 8", "ban 9", "unban 9"]
        assert dropped == 7


def test_a_failing_action_is_told_of_now_and_then(caplog):
    """An action that always fails does not fill the log."""

    async def run():
        worker = Worker(fails=True)
        worker.gate.set()
        queue = ActionQueue("[sip] Action x", worker)
        for number in range(250):
            queue.put(notice("ban", number % 250))
        await finish([queue], 5)
        return queue.failed

    assert asyncio.run(run()) == 250
    assert sum("no such luck" in record.message for record in caplog.records) == 7


def test_evidence_is_bounded():
    """The latest lines of the latest addresses are kept; the size is what it is said to be."""
    evidence = Evidence(most=10_000)
    for number in range(300):
        for line in range(20):
            evidence.add(
                "sip", f"198.51.100.{number}", Failure("x", 0.0, lines=(f"line {line}",), tags={"user": "u" * 5000})
            )
    latest = evidence.take("sip", "198.51.100.299")
    assert latest.lines == tuple(f"line {line}" for line in range(20 - MOST_LINES, 20))
    assert len(latest.data["user"]) == 1000
    assert evidence.take("sip", "198.51.100.0").lines == ()
    assert evidence._kept <= 10_000
    for number in range(300):
        evidence.take("sip", f"198.51.100.{number}")
    assert evidence._kept == 0
