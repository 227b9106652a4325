"""The two daemons as servers run them: each in a network namespace of its own, with an attacker's namespace beside it.

Nothing outside these namespaces is touched; they are removed at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from netns import Namespace, link, namespace  # noqa: E402 - from the tests' helpers

from sipguard.cli.client import ask  # noqa: E402 - as the tests' helpers do

PATIENCE = 120.0
PORT = 5060

FAIL2BAN_JAIL = """\
[{name}]
banaction = nftables-multiport
backend = auto
enabled = true
filter = {filter}
logpath = {log}
port = {port}
protocol = udp
maxretry = 5
findtime = 600
bantime = 600
"""


class Server:
    """One daemon with jails on `freeswitch.log` and `asterisk.log` in its folder."""

    def __init__(self, folder: Path, spaces: tuple[Namespace, Namespace]) -> None:
        self.folder = folder
        self.space, self.attacker = spaces
        self.freeswitch = folder / "freeswitch.log"
        self.asterisk = folder / "asterisk.log"
        self.log = folder / "daemon.log"
        for log in (self.freeswitch, self.asterisk):
            log.touch()
        self.process: subprocess.Popen[bytes]

    def spawn(self, *command: object) -> None:
        """Start it in its namespace."""
        prefix = ["ip", "netns", "exec", self.space.name]
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [*prefix, *map(str, command)], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )

    def wait(self, text: str, count: int = 1, *, since: int = 0) -> None:
        """Until its log holds `text` so many times behind the byte `since`; reads only what is new, to disturb nothing."""
        wanted, found, rest = text.encode(), 0, b""
        end = time.monotonic() + PATIENCE
        while found < count:
            if time.monotonic() > end or self.process.poll() is not None:
                said = self.log.read_text()[-1000:] if self.log.exists() else (self.folder / "output").read_text()
                raise RuntimeError(f"{type(self).__name__}: no {text!r} in its log: {said}")
            time.sleep(0.005)
            if self.log.exists():
                with self.log.open("rb") as log:
                    log.seek(since)
                    new = log.read()
                since += len(new)
                lines, _, rest = (rest + new).rpartition(b"\n")
                found += lines.count(wanted)

    def banned(self) -> int:
        """How many addresses the kernel has."""
        listed = json.loads(self.space.run("nft", "-j", "list", "ruleset"))["nftables"]
        return sum(len(item["set"].get("elem", ())) for item in listed if "set" in item)

    def memory(self) -> float:
        """Resident, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def seconds(self) -> float:
        """Processor time so far, with that of the programs that it has run."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Fail2ban(Server):
    """Debian's, with its own filters and its nftables action."""

    def start(self) -> None:
        """Start it and wait until it follows its logs."""
        config = self.folder / "fail2ban"
        shutil.copytree("/etc/fail2ban", config)
        for old in (config / "jail.d").glob("*"):
            old.unlink()
        jails = [("freeswitch", "freeswitch[mode=normal]"), ("asterisk", "asterisk")]
        (config / "jail.local").write_text(
            "".join(
                FAIL2BAN_JAIL.format(name=name, filter=filter_, log=self.folder / f"{name}.log", port=PORT)
                for name, filter_ in jails
            )
        )
        (config / "fail2ban.local").write_text(
            f"[Definition]\nlogtarget = {self.log}\nsocket = {self.folder}/f2b.sock\npidfile = {self.folder}/f2b.pid\n"
            f"dbfile = {self.folder}/f2b.sqlite3\n"
        )
        self.spawn("fail2ban-server", "-c", config, "-xf", "start")
        self.wait("Jail 'asterisk' started")
        self.wait("Jail 'freeswitch' started")


class Sipguard(Server):
    """This one, with its own filters and its nftables backend."""

    def start(self) -> None:
        """Start it and wait until it follows its logs."""
        (self.folder / "jails.d").mkdir()
        for name in ("freeswitch", "asterisk"):
            (self.folder / "jails.d" / f"{name}.toml").write_text(
                f'enabled = true\nlogpath = "{self.folder}/{name}.log"\nport = {PORT}\nprotocol = "udp"\n'
            )
        (self.folder / "sipguard.toml").write_text(
            f'state_dir = "{self.folder}/state"\nsocket = "{self.folder}/run.sock"\nlogtarget = "{self.log}"\n'
        )
        self.spawn(
            sys.executable, "-m", "sipguard", "run", "-c", self.folder / "sipguard.toml", "--firewall", "nftables"
        )
        self.wait("Jails started")

    def released(self) -> tuple[int, int]:
        """Records that were known to be whole by the next one's header, and by the end of the log behind them."""
        (jail,) = [one for one in ask(self.folder / "run.sock", "status")["jails"] if one["name"] == "freeswitch"]
        return jail["detection"]["by_header"], jail["detection"]["at_end"]


@contextlib.contextmanager
def both(folder: Path) -> Iterator[tuple[Fail2ban, Sipguard]]:
    """Both daemons, each with a server's namespace at 192.0.2.1 and an attacker's with many addresses."""
    started: list[Server] = []
    with contextlib.ExitStack() as stack:
        for kind in (Fail2ban, Sipguard):
            server, attacker = stack.enter_context(namespace("nft")), stack.enter_context(namespace("nft"))
            addresses = [f"198.51.100.{host}/24" for host in range(1, 60)]
            link(attacker, addresses, server, ["198.51.100.254/24"])
            place = folder / kind.__name__.lower()
            place.mkdir()
            one = kind(place, (server, attacker))
            started.append(one)
            one.start()
            stack.callback(one.stop)
        yield started[0], started[1]  # type: ignore[misc]
