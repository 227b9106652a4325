"""A real Asterisk under a real attack, on one machine: what the end-to-end tests and the sample logs come from.

    with Lab("sid") as lab:
        lab.guess(3)                      # ['401', '401', '401'] or 'rejected', 'silent' once a firewall bans
        lab.run("pbx", "nft", "list", "ruleset")
        text = lab.log("security").read_text()

Asterisk runs in a chroot in the network namespace `pbx` (198.51.100.1); `atk` (198.51.100.66) is an attacker's host,
`phone` (198.51.100.20) a customer's. What is under test belongs into `pbx`, so that its firewall is the one that the
attack meets.

Suites: `sid` (Asterisk 22, PJSIP) and `bullseye` (Asterisk 16, PJSIP, chan_sip on port 5062).

The chroot is made once by debootstrap (about 45 s) and kept in the cache: $SIPGUARD_LAB_CACHE or
/var/cache/sipguard-lab, one directory per suite. A run never writes to it outside of a directory of its own in the
chroot's /srv, and its namespaces carry its process's id, so that any number of labs run side by side. Everything a run
made goes away with it; what a killed run left behind goes when the next one starts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lab.asterisk_conf import EXTENSION, FILES, PASSWORD
from lab.chroot import LabUnavailableError, install

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

SUITES = {"sid": "Asterisk 22", "bullseye": "Asterisk 16"}
PBX, ATTACKER, PHONE = "198.51.100.1", "198.51.100.66", "198.51.100.20"
HOSTS = {"pbx": PBX, "atk": ATTACKER, "phone": PHONE}
TOOLS = {"ip": "iproute2", "debootstrap": "debootstrap", "svcrack": "sipvicious", "svwar": "sipvicious"}
"""Program → the Debian package that has it."""
ANSWERS_WITHIN = 120.0
"""Seconds that Asterisk gets from its start to its first 200; it needs about two on an idle machine."""

_CLIENT = Path(__file__).with_name("sip_client.py")
_NAME = "sglab"
_runs = count()


class Lab:
    """One Asterisk with its attacker and its customer. Raises `LabUnavailableError` when the machine cannot have it.

    After `up` (or on entering the context) Asterisk answers; `down` removes all, at any time, and twice does no harm.
    """

    def __init__(self, suite: str = "sid", cache: Path | None = None, files: Mapping[str, str] | None = None) -> None:
        """`files`: name → text of configuration files that are another here than in `asterisk_conf`."""
        if suite not in SUITES:
            raise LabUnavailableError(f"no such suite: {suite}; there are {', '.join(SUITES)}")
        self.suite = suite
        self.cache = cache or Path(os.environ.get("SIPGUARD_LAB_CACHE", "/var/cache/sipguard-lab"))
        self.root = self.cache / suite
        self.name = f"{_NAME}-{os.getpid()}-{next(_runs)}"
        self.home = self.root / "srv" / self.name
        self._files = {**FILES, **(files or {})}
        self._asterisk: subprocess.Popen[bytes] | None = None
        self.served_from = "pbx"
        """The host in whose network namespace the server runs."""

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def logs(self) -> Path:
        """The directory with `full` (all levels), `security` (security events alone) and `messages` (notice and up)."""
        return self.home / "log"

    def log(self, name: str) -> Path:
        """The path of one log; Asterisk's date format is `%F %T`, in UTC."""
        return self.logs / name

    def namespace(self, host: str) -> str:
        """The name of the network namespace of `pbx`, `atk` or `phone`."""
        return f"{self.name}-{host}"

    def up(self) -> None:
        """Install if need be, configure, start, and wait for the first 200. Leaves nothing behind when it fails."""
        _require()
        sweep(self.cache)
        try:
            self._install()
            self._configure()
            self._connect()
            self._start()
        except BaseException:
            self.down()
            raise

    def _install(self) -> None:
        install(self.suite, self.cache)

    def down(self) -> None:
        """Stop Asterisk, remove the namespaces with what still runs in them, and this run's directory with its logs."""
        if self._asterisk is not None:
            self._asterisk.terminate()
            try:
                self._asterisk.wait(5)
            except subprocess.TimeoutExpired:
                self._asterisk.kill()
                self._asterisk.wait()
            self._asterisk = None
        for host in HOSTS:
            _remove_namespace(self.namespace(host))
        shutil.rmtree(self.home, ignore_errors=True)

    def kill(self) -> None:
        """Asterisk dies without a word."""
        assert self._asterisk is not None
        inside = subprocess.run(
            ["pgrep", "-f", f"^asterisk .*{self.name}/"], capture_output=True, text=True, check=False
        ).stdout.split()
        for process in inside:
            os.kill(int(process), signal.SIGKILL)
        self._asterisk.kill()
        self._asterisk.wait()

    def start_again(self) -> None:
        """Asterisk starts as before, and answers."""
        self._start()

    def settle(self) -> None:
        """Wait until the logs grow no more: a server writes them after it has answered."""
        sizes: list[int] = []
        while (now := [log.stat().st_size for log in sorted(self.logs.iterdir())]) != sizes:
            sizes = now
            time.sleep(0.5)

    def command(self, host: str, *command: str | Path) -> list[str]:
        """The command line that runs `command` on `host`, for callers that start it themselves."""
        return ["ip", "netns", "exec", self.namespace(host), *map(str, command)]

    def run(self, host: str, *command: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on `host` for at most `timeout` seconds; its exit status is the caller's to judge."""
        line = self.command(host, *command)
        return subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)

    def guess(self, attempts: int = 1, user: str = EXTENSION) -> list[str]:
        """Wrong passwords from the attacker, one after another: '401', 'rejected' or 'silent' for each."""
        return self._register("atk", user, "wrong-password", attempts)

    def guess_until_rejected(self, at_most: int = 2000, more: int = 10) -> list[str]:
        """Wrong passwords as fast as the answers come, until one was rejected and `more` after it; three minutes at most."""
        return self._register("atk", EXTENSION, "wrong-password", at_most, more, timeout=180)

    def clear_firewall(self) -> None:
        """Remove every rule in `pbx`, whoever made it: no test meets what another has left behind."""
        self.run("pbx", "nft", "flush", "ruleset")

    def register(self, host: str = "phone") -> str:
        """A registration with the right password: '200', 'rejected' or 'silent'."""
        return self.registers(1, host)[-1]

    def registers(self, times: int, host: str = "phone") -> list[str]:
        """So many of them, each from a port of its own."""
        return self._register(host, EXTENSION, PASSWORD, times)

    def crack(self, attempts: int = 40) -> str:
        """sipvicious tries `attempts` passwords for the extension as fast as it can; returns what it printed."""
        return self._attack("svcrack", f"-u{EXTENSION}", f"-r1-{attempts}", PBX)

    def enumerate(self, first: int = 100, last: int = 140) -> str:
        """sipvicious looks for extensions by REGISTER; returns what it printed."""
        return self._attack("svwar", f"-e{first}-{last}", "-m", "REGISTER", PBX, "--force")

    def _register(self, host: str, user: str, password: str, *counts: int, timeout: float = 0) -> list[str]:
        client = [sys.executable, _CLIENT, PBX, user, password, *map(str, counts)]
        answered = self.run(host, *client, timeout=timeout or 30 + 25 * counts[0])
        if answered.stderr:
            raise RuntimeError(f"sip_client failed on {host}: {answered.stderr.strip().splitlines()[-1]}")
        return answered.stdout.split()

    def _attack(self, *command: str) -> str:
        # The tools wait for stragglers, and for ever when a firewall answers: a minute is enough for what they do here.
        done = self.run("atk", "timeout", "60", *command, timeout=70)
        return done.stdout + done.stderr

    def _configure(self) -> None:
        etc = self.home / "etc"
        shutil.copytree(self.root / "etc/asterisk", etc, symlinks=True)
        places = {"astetcdir": "etc", "astlogdir": "log", "astrundir": "run", "astspooldir": "spool", "astdbdir": "db"}
        for name in places.values():
            (self.home / name).mkdir(exist_ok=True)
        inside = f"/srv/{self.name}"
        lines = ["[directories]", *(f"{key} => {inside}/{name}" for key, name in places.items())]
        (etc / "asterisk.conf").write_text("\n".join(lines) + "\n")
        for name, text in self._files.items():
            (etc / name).write_text(text)
        _call("chroot", self.root, "chown", "-R", "asterisk:asterisk", inside)

    def _connect(self) -> None:
        """A bridge in `pbx`, on which the two other hosts have a cable each."""
        for host in HOSTS:
            _call("ip", "netns", "add", self.namespace(host))
            _call("ip", "-n", self.namespace(host), "link", "set", "lo", "up")
        pbx = self.namespace("pbx")
        _call("ip", "-n", pbx, "link", "add", "lan", "type", "bridge")
        _call("ip", "-n", pbx, "addr", "add", f"{PBX}/24", "dev", "lan")
        _call("ip", "-n", pbx, "link", "set", "lan", "up")
        # By default the kernel answers an address about once a second; here each rejected packet is told as such.
        _call("ip", "netns", "exec", pbx, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit")
        for host in ("atk", "phone"):
            there, cable, plug = self.namespace(host), f"v{host}", f"p{host}"
            _call("ip", "link", "add", cable, "netns", there, "type", "veth", "peer", "name", plug, "netns", pbx)
            _call("ip", "-n", pbx, "link", "set", plug, "master", "lan", "up")
            _call("ip", "-n", there, "addr", "add", f"{HOSTS[host]}/24", "dev", cable)
            _call("ip", "-n", there, "link", "set", cable, "up")

    def _start(self) -> None:
        conf = f"/srv/{self.name}/etc/asterisk.conf"
        run = ["asterisk", "-f", "-U", "asterisk", "-G", "asterisk", "-C", conf]
        line = self.command(self.served_from, "env", "TZ=UTC", "chroot", self.root, *run)
        self._run_server(line, f"Asterisk ({self.suite})")

    def _run_server(self, line: list[str], name: str) -> None:
        """Start it, and wait until it answers. Raises `LabUnavailableError`."""
        with (self.home / "out").open("wb") as out:
            self._asterisk = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + ANSWERS_WITHIN
        while self.register() != "200":
            if self._asterisk.poll() is not None or time.monotonic() > deadline:
                said = (self.home / "out").read_text(errors="replace").strip().splitlines()
                raise LabUnavailableError(f"{name} does not answer: {said[-1] if said else 'it said nothing'}")
            time.sleep(0.2)


def sweep(cache: Path) -> None:
    """Remove what runs that no longer exist left behind: namespaces, what runs in them, directories."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout.splitlines()
    for name in (line.split()[0] for line in listed if line.startswith(f"{_NAME}-")):
        if _owner_is_gone(name):
            _remove_namespace(name)
    for home in cache.glob(f"*/srv/{_NAME}-*"):
        if _owner_is_gone(home.name):
            shutil.rmtree(home, ignore_errors=True)


def _owner_is_gone(name: str) -> bool:
    return not Path("/proc", name.split("-")[1]).exists()


def _remove_namespace(name: str) -> None:
    inside = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout.split()
    for process in inside:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _require() -> None:
    if os.geteuid() != 0:
        raise LabUnavailableError("the lab needs root (network namespaces, chroot)")
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise LabUnavailableError(f"the lab needs {tool} (Debian package {package})")


def _call(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabUnavailableError(f"`{' '.join(map(str, command))}` failed: {done.stderr.strip()}")
