"""What is wrong with one jail is that jail's problem: the daemon and the other jails go on."""

import asyncio
import time

import pytest
from limits import PATIENCE
from running import append, chunk, failure, running

from sipguard.model import Failure, Filter, Jail, Success
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.judge import Judge, Outcome

ATTACKER = "203.0.113.66"
FILTER = Filter("x", (r"^ ?failed from <ADDR>$",))


@pytest.mark.parametrize("maxretry", [1, 0, -1, -1000])
def test_maxretry_of_nothing_bans_at_once(maxretry):
    """As in Fail2ban: the first failure is one too many."""
    jail = Jail("x", FILTER, maxretry=maxretry)
    judge = Judge(jail, IgnoreList(()), clock=lambda: 1000.0, banned=())
    judgement = judge.consider(Failure(ATTACKER, 1000.0))
    assert judgement.outcome is Outcome.BAN
    assert judgement.ban.attempts == 1


def test_a_tree_with_maxretry_0(tmp_path, log):
    """An installer ships it: the daemon runs, and the first failure bans."""
    tree = tmp_path / "tree"
    (tree / "filter.d").mkdir(parents=True)
    (tree / "filter.d" / "demo.conf").write_text("[Definition]\nfailregex = ^ ?failed from <ADDR>$\n")
    (tree / "fail2ban.conf").write_text(
        f"[Definition]\nsocket = {tmp_path}/f2b.sock\npidfile = none\ndbfile = none\nlogtarget = {tmp_path}/sipguard.log\n"
    )
    (tree / "jail.conf").write_text(
        f"[DEFAULT]\nmaxretry = 0\nignoreip = fe80::1%%eth0 ::ffff:198.51.100.9\n"
        f"[demo]\nenabled = true\nfilter = demo\nlogpath = {log}\nbackend = polling\n"
    )
    with running(tmp_path, {}, arguments=["--fail2ban-dir", str(tree)]) as daemon:
        append(log, f"{time.strftime('%Y-%m-%d %H:%M:%S')} failed from 198.51.100.9\n")
        append(log, f"{time.strftime('%Y-%m-%d %H:%M:%S')} failed from {ATTACKER}\n")
        daemon.wait_logged(f"[demo] Ban {ATTACKER}")
        assert daemon.banned("demo") == {ATTACKER}
        assert daemon.status("demo")["totals"]["ignored"] == 1


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::%eth0/64", "fe80::5"),
        ("::ffff:198.51.100.9", "198.51.100.9"),
        ("::ffff:198.51.100.0/120", "198.51.100.9"),
        ("[2001:db8::5]", "2001:db8::5"),
        ("198.51.100.9/255.255.255.0", "198.51.100.77"),
    ],
)
def test_ignoreip_in_every_form(entry, address):
    """However an address is written, failures name it in one form, and it is not banned."""
    assert IgnoreList([entry]).reason(address) == f"ignoreip {entry}"
    names = IgnoreList(["host.example.com"])
    names.learn("host.example.com", [entry])
    assert names.reason(address) == "ignoreip host.example.com"


class Harness:
    """A runner whose judge fails for one address."""

    def __init__(self):
        from sipguard.daemon.jail_runner import JailRunner

        self.bans = []
        self.runner = JailRunner(
            Jail("x", FILTER, maxretry=1),
            ignore=IgnoreList(()),
            clock=time.time,
            decide=self.bans.append,
            reinforce=lambda _jail, _address: None,
        )
        weigh = self.runner.judge.weigh

        def fail(failures, **options):
            if failures[0].host == "203.0.113.1":
                raise ZeroDivisionError("nobody foresaw it")
            return weigh(failures, **options)

        self.runner.judge.weigh = fail

    def read(self, *lines):
        """A chunk of these lines."""
        from sipguard.state.changes import Changes

        date = time.strftime("%Y-%m-%d %H:%M:%S ")
        self.runner.take(chunk("".join(f"{date}{line}\n" for line in lines).encode(), "/log"), Changes())
        return [ban.address for ban in self.bans]


def test_an_exception_costs_its_line_alone(caplog):
    """The lines around it count; the jail says what is wrong with it, and is well again when it is."""
    harness = Harness()
    assert harness.read("failed from 203.0.113.9", "failed from 203.0.113.1", "failed from 203.0.113.2") == [
        "203.0.113.9",
        "203.0.113.2",
    ]
    assert harness.runner.problem == "internal error: ZeroDivisionError('nobody foresaw it')"
    assert "[x] internal error: ZeroDivisionError('nobody foresaw it')" in caplog.text
    harness.read("failed from 203.0.113.3")
    assert harness.runner.problem is None
    assert [ban.address for ban in harness.bans][-1] == "203.0.113.3"


def test_a_detector_that_fails_is_replaced(monkeypatch):
    """The rest of the chunk is lost, no more."""
    harness = Harness()
    harness.read("failed from 203.0.113.9")
    detector = harness.runner.detectors.of("/log")
    monkeypatch.setattr(detector, "events", lambda _data: 1 / 0)
    harness.read("failed from 203.0.113.2")
    assert harness.runner.problem.startswith("internal error: ZeroDivisionError")
    assert harness.read("failed from 203.0.113.3") == ["203.0.113.9", "203.0.113.3"]
    assert harness.runner.problem is None


def test_a_success_or_challenge_that_fails(monkeypatch):
    """What is no failure degrades the jail as well, and not the daemon."""
    harness = Harness()
    monkeypatch.setattr(harness.runner.judge, "welcome", lambda _success: 1 / 0)
    harness.runner.take_examined([Success("203.0.113.5", None)], None)
    assert harness.runner.problem.startswith("internal error")


def test_the_other_jail_goes_on(tmp_path, log, monkeypatch):
    """Two jails on one log in a daemon, the first of which fails at every line."""
    from sipguard.config.settings import load
    from sipguard.daemon.daemon import Daemon
    from sipguard.firewall.memory import MemoryFirewall

    (tmp_path / "jails.d").mkdir()
    for name in ("one", "two"):
        (tmp_path / "jails.d" / f"{name}.toml").write_text(
            f'enabled = true\nfilter = "freeswitch"\nlogpath = "{log}"\nmaxretry = 2\n'
        )
    (tmp_path / "sipguard.toml").write_text(f'state_dir = "{tmp_path}/state"\nlogtarget = "{tmp_path}/sg.log"\n')

    async def attack():
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def nobody():
            yield

        daemon = Daemon(load(tmp_path / "sipguard.toml"), MemoryFirewall(clock=time.time))
        running_daemon = asyncio.create_task(daemon.run(nobody))
        await daemon.ready.wait()
        monkeypatch.setattr(daemon.runners["one"].judge, "weigh", lambda _failures, **_options: 1 / 0)
        append(log, failure(ATTACKER) * 2)
        async with asyncio.timeout(PATIENCE):
            while not daemon.bans.live.of_jail("two"):
                await asyncio.sleep(0.02)
        assert not running_daemon.done()
        assert daemon.runners["one"].problem
        assert daemon.runners["two"].problem is None
        daemon.stop()
        await running_daemon

    asyncio.run(attack())
