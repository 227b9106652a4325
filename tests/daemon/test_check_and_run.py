"""Whatever `check` accepts runs, and whatever `run` refuses `check` says, in the same words: random configurations, attacked.

Each is checked and run in this process, with a firewall in memory. An attack is written into every jail's log; a jail that
`check` shows as running must ban. `SIPGUARD_TESTS=long` tries 500 trees and 500 TOML configurations, and 20 of each as daemons.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import logging
import random
import signal
import sys
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner
from effort import effort
from limits import PATIENCE
from running import running

from sipguard.cli.check import command as check_command
from sipguard.cli.client import ask
from sipguard.cli.tree import load_settings
from sipguard.daemon import preflight
from sipguard.daemon.daemon import Daemon
from sipguard.daemon.preflight import refusals
from sipguard.daemon.start import protect
from sipguard.errors import FirewallError, SipguardError
from sipguard.firewall import programs
from sipguard.firewall.memory import MemoryFirewall

CASES = effort(12, 500)
ATTACKER, NEIGHBOUR = "203.0.113.5", "198.51.100.9"
ATTEMPTS = 12

# Right and wrong values; a value behind None is left out. Those that keep a jail from banning are in HARMLESS.
COMMON = {
    "maxretry": [None, 1, 3, 12],
    "findtime": [None, "10m", "1d", "1h"],
    "bantime": [None, "10m", "-1", "1h"],
    "ignoreip": [None, "192.0.2.1", "2001:db8::/32", "10.0.0.0/8", "nobody.invalid"],
    "usedns": [None, "no", "warn", "yes", "raw"],
    "ignoreself": [None, True, False],
}
TOML = COMMON | {
    "maxretry": [*COMMON["maxretry"], 0, -1, "five", True, 2.5],
    "findtime": [*COMMON["findtime"], "", "soon", -5, []],
    "bantime": [*COMMON["bantime"], "0", "later", {"a": 1}],
    "ignoreip": [*COMMON["ignoreip"], "192.168.0.0.22", ["192.0.2.1", "# office"], 5],
    "usedns": [*COMMON["usedns"], "perhaps"],
    "port": [None, 5060, "sip", [5060, "5070-5080"], "no-such-service", 70000],
    "protocol": [None, "udp", ["tcp", "udp"], "icmp"],
    "encoding": [None, "utf-8", "latin-1", "no-such-code"],
    "timezone": [None, "UTC", "Mars/Base"],
    "backend": [None, "auto", "polling", "fast"],
    "ipv6prefix": [None, 64, 128, 3],
    "filter": ["good"] * 8 + ["broken", "broken-date", "empty", "none-such", "good[mode=odd]", "good[", 7],
    "actions": [None] * 4
    + [[{"type": "exec", "command": ["/bin/true"]}], [{"type": "exec"}], [{"type": "fax"}], "mail"],
    "misspelt": [None] * 12 + [1],
}
TREE = COMMON | {
    "maxretry": [*COMMON["maxretry"], 0, -1, "five"],
    "findtime": [*COMMON["findtime"], "soon", "5m oops"],
    "bantime": [*COMMON["bantime"], "later"],
    "ignoreip": [*COMMON["ignoreip"], "192.168.0.0.22", "# office", "192.0.2.1-192.0.2.9"],
    "usedns": [*COMMON["usedns"], "perhaps"],
    "filter": ["good"] * 8 + ["broken", "broken-date", "empty", "none-such", "good[mode=odd]", "good[x"],
    "action": [None] * 4
    + ["", "block", "told", "block\n  told", "selfish", "missing", "gone.py", "told[name=a]\n  told[name=a]"],
    "logencoding": [None, "utf-8", "auto", "no-such-code"],
    "logtimezone": [None, "UTC", "Mars/Base"],
    "backend": [None, "auto", "polling", "gamin", "fast", "systemd"],
    "ignorecommand": [None, "/bin/false", "test <ip> = x"],
    "failregex": [None] * 9 + ["^ also bad <HOST>$", "(", "^nothing$"],
    "datepattern": [None] * 6 + ["{^LN-BEG}%%Y-%%m-%%d %%H:%%M:%%S", "%%Q", "("],
    "bantime.increment": [None, "true", "maybe"],
    "bantime.formula": [None, "ban.Time * 2", "import os", "ban.Time *"],
    "maxlines": [None] * 6 + ["2", "none"],
}
FILTERS = {
    "good": "failregex = ^ bad <HOST>$",
    "broken": "failregex = ^ bad (<HOST>$",
    "broken-date": "failregex = ^ bad <HOST>$\ndatepattern = (",
    "empty": "failregex =",
}
ACTIONS = {
    "block": "actionban = iptables -I INPUT -s <ip> -j DROP",
    "told": "actionban = true <ip> iptables",
    "selfish": "actionban = <actionban> <ip>",
}


class Configuration:
    """One random configuration in a folder of its own."""

    def __init__(self, folder, pick, *, tree):
        self.folder = folder
        self.tree = folder / "f2b" if tree else None
        self.logs = {}
        for name in ("jails.d", "filters.d", "f2b/filter.d", "f2b/action.d"):
            (folder / name).mkdir(parents=True)
        main = f'state_dir = "{folder}/state"\nsocket = "{folder}/s.sock"\nlogtarget = "{folder}/own.log"\n'
        (folder / "sipguard.toml").write_text(main + '[firewall]\nbackend = "memory"\n')
        for name, text in FILTERS.items():
            (folder / "filters.d" / f"{name}.conf").write_text(f"[Definition]\n{text}\n")
            (folder / "f2b" / "filter.d" / f"{name}.conf").write_text(f"[Definition]\n{text}\n")
        for name, text in ACTIONS.items():
            (folder / "f2b" / "action.d" / f"{name}.conf").write_text(f"[Definition]\n{text}\n")
        write = self._write_tree if tree else self._write_toml
        write(pick, [f"j{number}" for number in range(pick.randint(0, 4))])

    def _log(self, name):
        log = self.logs[name] = self.folder / f"{name}.log"
        log.touch()
        return log

    def _write_toml(self, pick, names):
        import toml

        for name in names:
            keys = {key: value for key, value in _chosen(pick, TOML) if key != "filter"}
            keys = {"enabled": True, "filter": pick.choice(TOML["filter"]), "logpath": str(self._log(name)), **keys}
            (self.folder / "jails.d" / f"{name}.toml").write_text(toml.dumps(keys))
        if names and pick.random() < 0.1:
            (self.folder / "jails.d" / "j0.toml").write_text("enabled = yes\n")

    def _write_tree(self, pick, names):
        own = f"[Definition]\ndbfile = {self.folder}/state/f.db\nsocket = {self.folder}/f.sock\npidfile = none\n"
        own += f"logtarget = {self.folder}/own.log\n"
        (self.tree / "fail2ban.conf").write_text(own)
        text = "[DEFAULT]\naction = block\n"
        for name in names:
            keys = {key: value for key, value in _chosen(pick, TREE) if key != "filter"}
            keys = {"enabled": "yes", "filter": pick.choice(TREE["filter"]), "logpath": self._log(name), **keys}
            text += f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        (self.tree / "jail.conf").write_text(text)

    def attack(self):
        """Write a failing and a succeeding address into every log."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        for log in self.logs.values():
            with log.open("a") as file:
                file.write(f"{now} bad {ATTACKER}\n" * ATTEMPTS + f"{now} good {NEIGHBOUR}\n" * ATTEMPTS)

    def read(self):
        """The settings, as `check` and `run` read them."""
        return load_settings(self.folder / "sipguard.toml", self.tree)


def _chosen(pick, values):
    """Some keys with values; a jail with many slips would only show the first."""
    for key in pick.sample(sorted(values), pick.randint(0, 4)):
        if (value := pick.choice(values[key])) is not None:
            yield key, value


def must_ban(jail):
    """Whether the attack reaches what this jail counts."""
    return not jail.journal and "^ bad <HOST>$" in jail.filter.failregex


@contextlib.asynccontextmanager
async def at_work(settings):
    """A daemon in this process, ready."""
    daemon = Daemon(settings, MemoryFirewall(clock=time.time), reload=lambda: settings)

    @contextlib.asynccontextmanager
    async def no_sockets():
        yield

    task = asyncio.ensure_future(daemon.run(no_sockets))
    try:
        waiting = asyncio.ensure_future(daemon.ready.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        assert not task.done(), task.result()
        yield daemon
    finally:
        daemon.stop()
        await task


async def run_and_attack(configuration, settings, names):
    """Run it, write an attack into every log, and wait until each jail of `names` that must ban does."""
    async with at_work(settings) as daemon:
        assert set(daemon.runners) == names
        told = [str(error) for error in daemon.errors]
        expected = {name for name in names if must_ban(daemon.runners[name].jail)}
        configuration.attack()
        deadline = time.monotonic() + PATIENCE
        banned = set()
        while expected - banned and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
            banned = {ban.jail for ban in daemon.bans.live if ban.address == ATTACKER}
        assert expected <= banned, {name: daemon.runners[name].jail for name in expected - banned}
        assert not [ban for ban in daemon.bans.live if ban.address == NEIGHBOUR]
        return told, len(banned)


@pytest.mark.fuzz
@pytest.mark.timeout(effort(300, 3000))
@pytest.mark.parametrize("tree", [False, True], ids=["TOML", "trees"])
def test_random(tree, tmp_path):
    """The same jails, the same words, no daemon that ends, and a ban by every jail that is said to run."""
    pick = random.Random(2026)
    runs = refused = banned = 0
    for number in range(CASES):
        configuration = Configuration(tmp_path / str(number), pick, tree=tree)
        try:
            settings = configuration.read()
        except SipguardError:
            refused += 1
            continue
        jails, errors = refusals(settings)
        told, bans = asyncio.run(run_and_attack(configuration, settings, {jail.name for jail in jails}))
        assert sorted(map(str, errors)) == sorted(told), number
        runs, refused, banned = runs + len(jails), refused + len(errors), banned + bans
    print(f"{CASES} configurations: {runs} jails ran, {banned} banned, {refused} errors in the same words")
    assert banned > CASES / 4
    assert refused > CASES / 4


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("tree", [False, True], ids=["TOML", "trees"])
def test_random_as_daemons(tree, tmp_path):
    """Twenty of each as processes: none ends, `status` has the jails and errors that `check` has, and the attacker is banned."""
    pick = random.Random(2027)
    attacked = 0
    for number in range(20):
        configuration = Configuration(tmp_path / str(number), pick, tree=tree)
        jails, errors = refusals(configuration.read())
        folder = tmp_path / f"d{number}"
        arguments = [
            "-c",
            configuration.folder / "sipguard.toml",
            "--socket",
            folder / "run.sock",
            *_where(configuration),
        ]
        with running(folder, {}, arguments=arguments) as daemon:
            status = ask(daemon.socket, "status", jail=None)
            assert {jail["name"] for jail in status["jails"]} == {jail.name for jail in jails}
            assert sorted(status["errors"]) == sorted(map(str, errors))
            configuration.attack()
            for jail in filter(must_ban, jails):
                daemon.wait_for(lambda name=jail.name: ATTACKER in daemon.banned(name), f"{number}: a ban by {jail}")
                assert NEIGHBOUR not in daemon.banned(jail.name)
                attacked += 1
            assert daemon.stop(signal.SIGTERM) == 0
    print(f"20 daemons, {attacked} jails attacked: each banned")
    assert attacked >= 10


def _where(configuration):
    return ["--fail2ban-dir", configuration.tree] if configuration.tree else []


GOOD = 'enabled = true\nfilter = "good"\nlogpath = "{folder}/j.log"\n'
REFUSED = {
    "no firewall at all": '[firewall]\nbackend = "auto"\n',
    "a chain that is taken": '[firewall]\nbackend = "memory"\nchain = "INPUT"\n',
    "no library for numbers": '[firewall]\nbackend = "memory"\n[metrics]\nlisten = "127.0.0.1:9999"\n',
    "no folder for the log": 'logtarget = "{folder}/none/own.log"\n[firewall]\nbackend = "memory"\n',
    "the log is a folder": 'logtarget = "{folder}"\n[firewall]\nbackend = "memory"\n',
    "a socket's path too long": f'socket = "/tmp/{"x" * 120}"\n[firewall]\nbackend = "memory"\n',
    "no such group": 'socket_group = "no-such-group"\n[firewall]\nbackend = "memory"\n',
}


@pytest.fixture
def _as_before():
    """What a daemon sets for its whole process is set back."""
    loggers = [logging.getLogger(name) for name in ("fail2ban", "sipguard", "watchdog")]
    kept = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]
    interval, options = sys.getswitchinterval(), gc.get_threshold()
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*options)
    for one, handlers, level, propagate in kept:
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)
    logging.logThreads = logging.logMultiprocessing = True


def write(folder, main):
    """A configuration with one good jail and this sipguard.toml."""
    for name in ("jails.d", "filters.d"):
        (folder / name).mkdir()
    (folder / "j.log").touch()
    (folder / "jails.d" / "j.toml").write_text(GOOD.replace("{folder}", str(folder)))
    (folder / "filters.d" / "good.conf").write_text(f"[Definition]\n{FILTERS['good']}\n")
    places = {"socket": f'"{folder}/s.sock"', "state_dir": f'"{folder}/state"', "logtarget": '"STDERR"'}
    main = "".join(f"{key} = {value}\n" for key, value in places.items() if f"{key} =" not in main) + main
    (folder / "sipguard.toml").write_text(main.replace("{folder}", str(folder)))
    return folder / "sipguard.toml"


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("main", REFUSED.values(), ids=REFUSED)
def test_what_is_not_about_jails(main, tmp_path, monkeypatch):
    """`run` ends with one line, and `check` says the same line and exits with the same status."""
    monkeypatch.setattr(programs, "PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    monkeypatch.setattr(preflight, "may_change_firewalls", lambda: True)
    file = write(tmp_path, main)

    def read():
        return load_settings(file, None)

    checked = CliRunner().invoke(check_command, ["-c", str(file)])
    with pytest.raises(SipguardError) as refused:
        asyncio.run(protect(replace(read(), loglevel="CRITICAL"), read))
    assert checked.exit_code == refused.value.exit_status == 2
    assert str(refused.value) in checked.stderr.splitlines()


@pytest.mark.parametrize(("backend", "program"), [("nftables", "nft"), ("ipset", "ipset")])
def test_a_program_that_is_missing(backend, program, tmp_path, monkeypatch):
    """`run` waits for it and bans nobody meanwhile: `check` calls that an error, in the words of the firewall itself."""
    monkeypatch.setattr(programs, "PATH", str(tmp_path))
    checked = CliRunner().invoke(check_command, ["-c", str(write(tmp_path, f'[firewall]\nbackend = "{backend}"\n'))])
    with pytest.raises(FirewallError) as missing:
        programs.run([program], package=program.replace("nft", "nftables"))
    assert checked.exit_code == 2
    assert str(missing.value) in checked.stderr.splitlines()
