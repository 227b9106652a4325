"""What must be asked before an address is banned: host names, `ignorecommand`, lists; and bans that grow.

The daemon runs on a Fail2ban tree, as `sipguard run --fail2ban-dir` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import time

import pytest
from limits import PATIENCE
from running import append, chunk, running

from sipguard.daemon.jail_runner import JailRunner
from sipguard.daemon.pending_lookups import PendingLookups
from sipguard.daemon.resolver import AT_ONCE, Resolver
from sipguard.daemon.state_writer import StateWriter
from sipguard.model import Filter, Jail
from sipguard.policy.ignore import IgnoreList
from sipguard.state.database import Database

ATTACKER = "203.0.113.5"
FRIEND = "198.51.100.7"
FILTER = "[Definition]\nfailregex = ^ bad <HOST>(?: user=<F-USER>.*</F-USER>)?$\n"


def tree_with(folder, jail, maxretry=2):
    """A tree with one jail that reads `log` in this folder; gives the arguments of `run`."""
    (folder / "f2b" / "filter.d").mkdir(parents=True, exist_ok=True)
    (folder / "f2b" / "filter.d" / "demo.conf").write_text(FILTER)
    own = f"[Definition]\nsocket = {folder}/f2b.sock\nlogtarget = {folder}/sipguard.log\n"
    own += f"pidfile = {folder}/f.pid\ndbfile = {folder}/state/f.sqlite3\n"
    (folder / "f2b" / "fail2ban.conf").write_text(own)
    log = folder / "log"
    log.touch()
    head = f"[demo]\nenabled = true\nfilter = demo\nmaxretry = {maxretry}\nlogpath = {log}\n"
    (folder / "f2b" / "jail.conf").write_text(head + jail)
    return ["--fail2ban-dir", folder / "f2b"], log


def bad(host):
    """A failure of this host, now."""
    return time.strftime(f"%Y-%m-%d %H:%M:%S bad {host}\n")


def test_growing_ban_survives_a_restart(tmp_path):
    """The second ban is longer and comes sooner, also when the daemon was started anew in between."""
    jail = "bantime = 4\nbantime.increment = true\nbantime.multipliers = 1 15\n"
    arguments, log = tree_with(tmp_path, jail, maxretry=3)
    with running(tmp_path, {}, arguments=arguments) as daemon:
        assert (tmp_path / "f.pid").read_text() == f"{daemon.process.pid}\n"
        append(log, bad(ATTACKER) * 3)
        daemon.wait_logged(f"Unban {ATTACKER}")
    assert not (tmp_path / "f.pid").exists()
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "f.sqlite3")) as kept:
        assert kept.execute("SELECT jail, ip, bantime, bancount FROM bans").fetchall() == [("demo", ATTACKER, 4, 1)]
    with running(tmp_path, {}, arguments=arguments) as daemon:
        append(log, bad(ATTACKER) * 2)
        daemon.wait_logged(f"Increase Ban {ATTACKER} (2 # 1m)")
        ban = daemon.status("demo")["banned"][0]
        assert ban["until"] - ban["since"] == 60


def test_ignorecommand(tmp_path):
    """Who it knows is not banned; what an attacker writes reaches it as text; a command that fails ignores nobody."""
    seen = tmp_path / "seen"
    command = f"ignorecommand = printf '%%s\\n' <ip> \"<F-USER>\" >> {seen}; test <ip> = {FRIEND}\n"
    arguments, log = tree_with(tmp_path, command)
    with running(tmp_path, {}, arguments=arguments) as daemon:
        append(log, bad(FRIEND) * 2)
        append(log, bad(f"{ATTACKER} user=$(touch {tmp_path}/executed) `id` ' \" ;") * 2)
        daemon.wait_logged(f"Ban {ATTACKER}")
        daemon.wait_logged(f"Ignore {FRIEND} by command", times=2)
        assert daemon.banned("demo") == {ATTACKER}
        assert daemon.status("demo")["totals"]["ignored"] == 2
    assert not (tmp_path / "executed").exists()
    assert f"$(touch {tmp_path}/executed) `id` ' \" ;" in seen.read_text().splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_while_the_command_is_asked(tmp_path, number):
    """However the daemon ends: what was still asked about is asked again, and counts."""
    slow = tmp_path / "slow"
    slow.touch()
    arguments, log = tree_with(tmp_path, f"ignorecommand = test -e {slow} && sleep 60; false\n")
    with running(tmp_path, {}, arguments=arguments) as daemon:
        append(log, bad(ATTACKER) * 2)
        daemon.wait_for(lambda: daemon.state_of(log) and daemon.state_of(log)[0] == log.stat().st_size)
        daemon.stop(number)
        slow.unlink()
        daemon.start()
        daemon.wait_logged(f"Ban {ATTACKER}")


def test_ignorecache(tmp_path):
    """With a cache, the command is asked once per key."""
    seen = tmp_path / "seen"
    jail = f'ignorecommand = echo <ip> >> {seen}; false\nignorecache = key="<ip>", max-time=1h\n'
    arguments, log = tree_with(tmp_path, jail, maxretry=9)
    with running(tmp_path, {}, arguments=arguments) as daemon:
        append(log, bad(ATTACKER))
        daemon.wait_logged(f"Found {ATTACKER}")
        append(log, bad(ATTACKER) * 3 + bad(FRIEND))
        daemon.wait_logged("Found", times=5)
    assert seen.read_text().split() == [ATTACKER, FRIEND]


def test_ignored_list(tmp_path):
    """`file:` names a list that is read again when it changes."""
    known = tmp_path / "known"
    known.write_text("# friends\n192.0.2.1, 198.51.100.0/24 ; a network\nnonsense\n")
    arguments, log = tree_with(tmp_path, f"ignoreip = file:{known}\n")
    with running(tmp_path, {}, arguments=arguments) as daemon:
        append(log, bad(FRIEND) * 2 + bad(ATTACKER) * 2)
        daemon.wait_logged(f"Ban {ATTACKER}")
        daemon.wait_logged(f"Ignore {FRIEND} by ignoreip file:{known}", times=2)
        assert daemon.banned("demo") == {ATTACKER}


def test_ignored_list_is_read_when_it_has_changed(tmp_path):
    """Not every five seconds, however long it is; each jail's ignore list is told, also one that a reload has made."""
    known = tmp_path / "known"
    learned = []

    class Told(IgnoreList):
        def learn(self, name, addresses):
            learned.append(list(addresses))

    def written(text, when):
        known.write_text(text)
        os.utime(known, (when, when))

    async def look():
        names = Resolver(clock=time.time)
        first, second = Told([f"file:{known}"]), Told([f"file:{known}"])
        for ignore in (first, second, first, first, second):
            await names.refresh(ignore)
        written("198.51.100.8\n", time.time() - 100)
        await names.refresh(first)
        written("198.51.100.9\n", time.time())
        await names.refresh(first)
        known.unlink()
        await names.refresh(first)
        written("198.51.100.9\n", time.time() - 50)
        await names.refresh(first)

    written("198.51.100.7\n", time.time() - 100)
    asyncio.run(look())
    assert learned == [[f"198.51.100.{n}"] for n in (7, 7, 8, 9, 9)]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        pytest.param(os.mkfifo, "not a regular file", id="fifo"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), "not a regular file", id="endless"),
        pytest.param(lambda path: path.write_bytes(b"x" * ((16 << 20) + 1)), "has more than 16 MiB", id="large"),
    ],
)
def test_ignored_list_that_is_none(tmp_path, make, problem):
    """What is in a list's place holds nobody up: it is told of, and the daemon goes on."""
    known = tmp_path / "known"
    make(known)
    arguments, log = tree_with(tmp_path, f"ignoreip = file:{known}\n")
    with running(tmp_path, {}, arguments=arguments) as daemon:
        append(log, bad(ATTACKER) * 2)
        daemon.wait_logged(f"Ban {ATTACKER}")
        assert f"ignoreip file:{known}: {problem}" in daemon.logged()


def test_jail_that_only_reports(tmp_path):
    """A jail without a firewall action bans as far as the log and the state go, and asks nothing of the firewall."""
    arguments, log = tree_with(tmp_path, "action =\n")
    with running(tmp_path, {}, arguments=arguments) as daemon:
        append(log, bad(ATTACKER) * 2)
        daemon.wait_logged(f"Ban {ATTACKER}")
        assert daemon.banned("demo") == {ATTACKER}
        daemon.sipguard("unban", ATTACKER)
        assert daemon.banned("demo") == set()


@pytest.mark.root
def test_names(tmp_path):
    """A host name in the log is resolved and banned; one in `ignoreip` is not; with `usedns = no` a name is nobody."""
    (tmp_path / "hosts").write_text(f"{ATTACKER} bad.example.com\n{FRIEND} friend.example.com\n")
    arguments, log = tree_with(tmp_path, "usedns = warn\nignoreip = friend.example.com\n")
    with (tmp_path / "f2b" / "jail.conf").open("a") as file:
        file.write(f"[strict]\nenabled = true\nusedns = no\nfilter = demo\nlogpath = {log}\n")
    mount = f'mount --bind {tmp_path}/hosts /etc/hosts && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    with running(tmp_path, {}, arguments=arguments, prefix=prefix) as daemon:
        append(log, (bad("bad.example.com") + bad(FRIEND) + bad("nobody.invalid")) * 2)
        daemon.wait_logged(f"[demo] Ban {ATTACKER}")
        daemon.wait_logged(f"Determined IP using DNS Lookup: bad.example.com = [{ATTACKER}]")
        daemon.wait_logged(f"[demo] Ignore {FRIEND} by ignoreip friend.example.com", times=2)
        daemon.wait_logged("nobody.invalid is not an address", times=2)
        assert daemon.status("strict")["totals"]["failures"] == 2


class SlowLookup:
    """A look-up that a test answers."""

    def __init__(self):
        self.asked = []
        self.running = 0
        self.most = 0
        self.go = asyncio.Event()

    async def __call__(self, name):
        self.asked.append(name)
        self.running += 1
        self.most = max(self.most, self.running)
        await self.go.wait()
        self.running -= 1
        return ["::ffff:192.0.2.1", "192.0.2.1", "rubbish"] if name == "a.example.com" else []


def test_look_ups_are_bounded_and_remembered():
    """Eight at once, one per name, and none for a name that was asked for lately."""
    now = 0.0

    async def ask():
        nonlocal now
        resolver = SlowLookup()
        names = Resolver(clock=lambda: now, lookup=resolver)
        asked = [asyncio.create_task(names.addresses(f"{letter}.example.com")) for letter in "abcdefghijklaA"]
        await asyncio.sleep(0.01)
        assert len(resolver.asked) == AT_ONCE
        resolver.go.set()
        answers = await asyncio.gather(*asked)
        assert answers[0] == answers[-1] == ("192.0.2.1",)
        assert answers[1] == ()
        assert (resolver.most, len(resolver.asked)) == (AT_ONCE, 12)
        assert await names.addresses("A.example.com.") == ("192.0.2.1",)
        assert len(resolver.asked) == 12
        now = 10_000.0
        ignore = IgnoreList(["a.example.com", "b.example.com"])
        await names.refresh(ignore)
        assert len(resolver.asked) == 14
        assert ignore.reason("192.0.2.1") == "ignoreip a.example.com"

    asyncio.run(ask())


class Waiting:
    """A jail whose failures wait for an answer: what asks, on a state that outlives it."""

    def __init__(self, folder, lookup):
        self.store = StateWriter(folder, clock=time.time)
        self.store.read(time.time())
        self.runners = {}
        self.lookups = PendingLookups(
            Resolver(clock=time.time, lookup=lookup), self.runners, self.store, clock=time.time
        )
        jail = Jail("demo", Filter("demo", ("bad <HOST> user=<F-USER>.*</F-USER>",)), usedns="yes", maxretry=9)
        self.runner = self.runners["demo"] = JailRunner(
            jail,
            ignore=IgnoreList(()),
            clock=time.time,
            decide=lambda _ban: None,
            reinforce=lambda _jail, _address: None,
            ask=self.lookups.ask,
        )

    def fails(self, host):
        """A line of the log is read."""
        self.runner.take(chunk(f"{bad(host).strip()} user=1000\n".encode()), self.store.changes)

    async def end(self):
        """Stopped or killed: what is written stays. Gives the attempts that are stored."""
        self.store.save()
        await self.lookups.stop()
        self.store.close()
        with contextlib.closing(StateWriter(self.store.directory, clock=time.time)) as store:
            return [(one.address, one.user, one.line[-9:]) for one in store.ask(Database.story, "192.0.2.1")[0]]

    async def answered(self):
        """Nothing waits any more."""
        async with asyncio.timeout(PATIENCE):
            while self.store.changes.waiting or not self.store.changes.settled:
                await asyncio.sleep(0.01)


def test_what_waits_is_asked_again_at_the_next_start(tmp_path):
    """Its line is behind what has been read: nobody reads it again. Once it has counted, it does not a second time."""

    async def runs():
        nobody_answers, answers = SlowLookup(), SlowLookup()
        answers.go.set()
        first = Waiting(tmp_path, nobody_answers)
        first.fails("a.example.com")
        counted = [await first.end()]
        for _ in range(2):
            run = Waiting(tmp_path, answers)
            run.lookups.restore()
            if not counted[-1]:
                await run.answered()
            counted.append(await run.end())
        return counted

    one = [("192.0.2.1", "1000", "user=1000")]
    assert asyncio.run(runs()) == [[], one, one]


def test_what_waits_for_a_jail_that_does_not_run(tmp_path):
    """It is asked once the jail runs, and then once only, however often the configuration is read."""

    async def runs():
        nobody_answers, answers = SlowLookup(), SlowLookup()
        answers.go.set()
        first = Waiting(tmp_path, nobody_answers)
        first.fails("a.example.com")
        await first.end()
        run = Waiting(tmp_path, answers)
        mended = run.runners.pop("demo")
        run.lookups.restore()
        await asyncio.sleep(0.05)
        run.store.save()
        run.runners["demo"] = mended
        for _ in range(3):
            run.lookups.restore()
            await asyncio.sleep(0)
        await run.answered()
        run.lookups.restore()
        await asyncio.sleep(0.05)
        return mended.totals.failures, await run.end()

    assert asyncio.run(runs()) == (1, [("192.0.2.1", "1000", "user=1000")])


def test_an_answer_during_a_reload_waits_for_its_end(tmp_path):
    """What is counted meanwhile would be counted once more, from the state."""

    async def reloads():
        lookup = SlowLookup()
        run = Waiting(tmp_path, lookup)
        async with run.lookups.paused:
            run.fails("a.example.com")
            lookup.go.set()
            await asyncio.sleep(0.1)
            during = run.runner.totals.failures
        await asyncio.sleep(0.1)
        await run.end()
        return during, run.runner.totals.failures

    assert asyncio.run(reloads()) == (0, 1)
