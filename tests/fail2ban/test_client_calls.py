"""Acceptance: a session of calls gives the same output and exit status whoever asks and whoever answers.

Debian's own unmodified fail2ban-client, and `sipguard client`, each ask a real Fail2ban server and sipguard, in the same state.
Times and process ids are masked. Takes some 20 s: two real servers, their log polling, and a thousand calls.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import reference
from needs import needs

from sipguard.fail2ban.protocol.messages import SPOKEN_VERSION
from tests.fail2ban.calls import SESSION, Lines
from tests.netns import namespace

CLIENT = shutil.which("fail2ban-client") or ""
SERVER = shutil.which("fail2ban-server") or ""
ROOT = Path(__file__).resolve().parents[2]
RUNNER = str(Path(__file__).with_name("runner.py"))
MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(,\d{3})?"), "TIME"),
    (re.compile(r"(fail2ban\S* *)\[\d+\]:"), r"\1[PID]:"),
)
NEWER = (
    (re.compile(r"^(Fail2Ban v)?1\.(0\.2|1\.0)$", re.M), r"\1VERSION"),
    (re.compile(re.escape("[0-9a-fA-F]{1,4}::?|::){1,7}")), "[0-9a-fA-F]{1,4}::?|:){1,7}"),
    (re.compile("'gamin', "), ""),
)
"""What Fail2ban 1.1.0 says otherwise than 1.0.2, which sipguard claims to be: held against that one, it is compared."""

FILTER = """[Definition]
failregex = ^\\s*login failed for <F-USER>\\S+</F-USER> from <HOST>$
ignoreregex = ^\\s*login failed for tester from
"""
FAIL2BAN_CONF = """[Definition]
loglevel = INFO
logtarget = {dir}/f2b.log
syslogsocket = auto
socket = {dir}/f2b.sock
pidfile = {dir}/f2b.pid
allowipv6 = auto
dbfile = {dir}/f2b.sqlite3
dbpurgeage = 1d
dbmaxmatches = 10
"""
JAIL_CONF = """[DEFAULT]
ignoreip = 198.51.100.0/24
ignoreself = true
usedns = no
maxretry = 3
findtime = 10m
bantime = 1h
backend = polling
logencoding = utf-8
action = nothing
enabled = true
[alpha]
filter = lab
logpath = {dir}/alpha.log
[beta]
filter = lab
logpath = {dir}/beta.log
"""
SIPGUARD_TOML = """socket = "{dir}/own.sock"
[firewall]
backend = "memory"
"""


def _write(directory: Path, name: str, text: str) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("{dir}", str(directory)))


def _prepare(directory: Path) -> None:
    """One tree for both servers, which the clients read too; of sipguard's own only what Fail2ban has no word for."""
    _write(directory, "conf/fail2ban.conf", FAIL2BAN_CONF)
    _write(directory, "conf/jail.conf", JAIL_CONF)
    _write(directory, "conf/filter.d/lab.conf", FILTER)
    _write(directory, "conf/action.d/nothing.conf", "[Definition]\nactionban =\nactionunban =\n")
    _write(directory, "sipguard.toml", SIPGUARD_TOML)
    for jail in ("alpha", "beta"):
        _write(directory, f"{jail}.log", "")


class Caller:
    """One client, called many times."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def call(self, directory: Path, arguments: list[str]) -> tuple[int, str, str]:
        """Exit status, standard output and error, masked."""
        given = ["-c", f"{directory}/conf", *(word.replace("{dir}", str(directory)) for word in arguments)]
        print(json.dumps(given), file=self.process.stdin, flush=True)
        status, *texts = json.loads(self.process.stdout.readline())
        return status, *(_masked(text, directory) for text in texts)

    def close(self) -> None:
        """No more calls."""
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def _masked(text: str, directory: Path) -> str:
    text = text.replace(str(directory), "DIR")
    for pattern, word in MASKS if reference.version() == SPOKEN_VERSION else (*MASKS, *NEWER):
        text = pattern.sub(word, text)
    return text


def _debian_client() -> Caller:
    interpreter = Path(CLIENT).read_text().split("\n", 1)[0].removeprefix("#!").split()
    return Caller([*interpreter, RUNNER, "fail2ban.client.fail2banclient", CLIENT])


def _sipguard_client() -> Caller:
    modules = "sipguard.fail2ban.client.main,sipguard.fail2ban.client.stream,sipguard.cli.main"
    return Caller([sys.executable, RUNNER, modules, "sipguard.cli.main:main"])


@contextlib.contextmanager
def _running(command: list[str], directory: Path):
    """A server, from the moment its socket is there; asked to stop, if it has not been yet, at the end."""
    with (directory / "output.txt").open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT)
    try:
        # Fail2ban's server is configured by its client after it has begun to answer.
        _until(lambda: _begun(directory) or server.poll() is not None, 60)
        assert server.poll() is None, (directory / "output.txt").read_text()
        yield server
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _begun(directory: Path) -> bool:
    log = directory / "f2b.log"
    told = log.read_text() if log.exists() else ""
    return told.count("' started") == 2 or "Jails started: alpha, beta" in told


def _until(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def _session(caller: Caller, directory: Path) -> list[tuple[int, str, str]]:
    results = []
    for step in SESSION:
        if isinstance(step, Lines):
            with (directory / f"{step.jail}.log").open("a") as log:
                log.write(step.text.replace("{now}", time.strftime("%Y-%m-%d %H:%M:%S")))
            counted = re.compile(rf"Total failed:\t{step.failed}\n(?s:.*)Currently banned:\t{step.banned}\n")
            _until(
                lambda step=step, counted=counted: counted.search(caller.call(directory, ["status", step.jail])[1]), 60
            )
        else:
            results.append(caller.call(directory, step))
    return results


@pytest.fixture(scope="module")
@needs("root", "fail2ban")
def sessions(tmp_path_factory):
    """(client, server) → what each call of the session gave."""
    if not (CLIENT and SERVER):
        pytest.skip("needs Debian's fail2ban (fail2ban-client, fail2ban-server) to compare with")
    results = {}
    with namespace() as net, contextlib.ExitStack() as stack:
        for client, make in (("debian", _debian_client), ("sipguard", _sipguard_client)):
            caller = make()
            stack.callback(caller.close)
            for server in ("fail2ban", "sipguard"):
                directory = tmp_path_factory.mktemp(f"{client}-{server}")
                _prepare(directory)
                tree = f"{directory}/conf"
                own = ["-m", "sipguard", "run", "-c", f"{directory}/sipguard.toml", "--fail2ban-dir", tree]
                command = [SERVER, "-f", "-c", tree] if server == "fail2ban" else [sys.executable, *own]
                with _running(["ip", "netns", "exec", net.name, *command], directory):
                    results[client, server] = _session(caller, directory)
    return results


CALLS = [step for step in SESSION if not isinstance(step, Lines)]


def test_enough_calls():
    """The table is as long as was promised."""
    assert len({tuple(call) for call in CALLS}) >= 80


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(len(CALLS)), ids=[f"{at}-{'_'.join(call)}" for at, call in enumerate(CALLS)])
def test_same_everywhere(sessions, number):
    """Debian's client gets the same from both servers, and sipguard's client gives that too."""
    expected = sessions["debian", "fail2ban"][number]
    assert sessions["debian", "sipguard"][number] == expected
    assert sessions["sipguard", "sipguard"][number] == expected
    assert sessions["sipguard", "fail2ban"][number] == expected
