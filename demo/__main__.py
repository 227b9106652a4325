"""Starts the daemon on empty logs, plays samples into them, and packets beside one, shows what it says, and sums up."""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.feeder import Track, play
from demo.recorded import SILENT, Recording

SAMPLES = Path(__file__).parents[1] / "fixtures" / "logs"
PLAYED = {"freeswitch": "freeswitch-warning.log", "asterisk": "asterisk22-security.log"}
"""Jail → the sample that is played to it."""
RECORDED = "pbx"
"""The jail of the server whose packets are played beside its log."""
LENDER, NAMED = "203.0.113.78", "203.0.113.91"
"""Who has written another's address into its packets there, and whose."""
SECONDS = 16.0
"""How long the samples are stretched or squeezed to."""
BANTIME = 6
"""Seconds: short, so that the demo shows how bans end."""
SHOWN = 40
"""Lines of failures shown; bans and unbans are shown all."""

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo; 0 when the daemon did what it should."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--firewall", default="memory", choices=["memory", "nftables"])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    firewall = given.firewall
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was begun is ended, as by Ctrl-C
    if firewall == "nftables" and os.geteuid() != 0:
        console.print("make run FIREWALL=nftables needs root: it makes a network namespace of its own")
        return 2
    if firewall == "nftables" and not given.inside:
        with Namespace(firewall) as prefix:
            subprocess.run([*prefix, "ip", "link", "set", "lo", "up"], check=True)
            inside = [*prefix, sys.executable, "-m", "demo", "--firewall", firewall, "--inside"]
            with subprocess.Popen(inside) as demo:
                try:
                    return demo.wait()
                finally:
                    demo.terminate()
    with tempfile.TemporaryDirectory(prefix="sipguard-demo-") as name:
        return _demo(Path(name), firewall)


class Namespace:
    """A network namespace for the real firewall, removed at the end; nothing for the memory firewall."""

    def __init__(self, firewall: str) -> None:
        self.name = f"sipguard-demo-{os.getpid()}" if firewall == "nftables" else ""

    def __enter__(self) -> list[str]:
        if not self.name:
            return []
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        return ["ip", "netns", "exec", self.name]

    def __exit__(self, *_: object) -> None:
        if self.name:
            subprocess.run(["ip", "netns", "del", self.name], check=True)


def _demo(folder: Path, firewall: str) -> int:
    tracks, recording = _prepare(folder)
    ask = [sys.executable, "-m", "sipguard"]
    started = time.monotonic()
    daemon = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "demo.watching",
            "run",
            "--config",
            str(folder / "sipguard.toml"),
            "--firewall",
            firewall,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    shown = Counter[str]()
    reader = threading.Thread(target=_show, args=(daemon, shown))
    reader.start()
    try:
        _wait_for(folder / "run.sock", daemon)
        with ThreadPoolExecutor() as pool:
            played = pool.submit(recording.play, going_on=lambda: daemon.poll() is None)
            try:
                written = play(tracks, SECONDS, going_on=lambda: daemon.poll() is None) + played.result()
            except BaseException:  # somebody ends it: the other player too
                daemon.terminate()
                raise
        time.sleep(BANTIME + 0.5)  # so that the last bans are seen to end
        where = ["--json", "--socket", str(folder / "run.sock")]
        answer, jail = (json.loads(_output([*ask, "status", *one, *where])) for one in ([], [RECORDED]))
        stories = {
            one: json.loads(_output([*ask, "explain", one, *where], check=False)) for one in (LENDER, NAMED, SILENT)
        }
        rules = _output(["nft", "list", "table", "inet", "sipguard"]) if firewall == "nftables" else ""
    finally:
        daemon.terminate()
        daemon.wait(30)
        reader.join()
    if rules:
        console.rule("what it made in the firewall")
        console.print(rules, end="", markup=False)
    _sum_up(answer, shown, written, time.monotonic() - started)
    as_meant = _explain(jail["jails"][0]["corroboration"], stories)
    return 0 if daemon.returncode == 0 and as_meant else 1


def _output(command: list[str], *, check: bool = True) -> str:
    return subprocess.run(command, check=check, capture_output=True, text=True).stdout


def _prepare(folder: Path) -> tuple[list[Track], Recording]:
    """A configuration like an operator's, with logs in `folder`."""
    recording = Recording(folder / f"{RECORDED}.log", _free_port(), secrets.token_hex(16))
    recording.log.touch()
    (folder / "sipguard.toml").write_text(
        f'state_dir = "{folder}/state"\nsocket = "{folder}/run.sock"\nlogtarget = "STDOUT"\n'
        f'[defaults]\nfindtime = "10m"\nmaxretry = 5\nbantime = {BANTIME}\nipv6prefix = 128\n'
        f'[hep]\nlisten = "127.0.0.1:{recording.port}"\nkey = "{recording.key}"\n'
    )
    (folder / "jails.d").mkdir()
    tracks = []
    for jail, sample in PLAYED.items():
        log = folder / f"{jail}.log"
        log.touch()
        # No packets are played to these.
        (folder / "jails.d" / f"{jail}.toml").write_text(f'enabled = true\ncorroborate = false\nlogpath = "{log}"\n')
        tracks.append(Track(SAMPLES / sample, log))
    (folder / "jails.d" / f"{RECORDED}.toml").write_text(
        f'enabled = true\ncorroborate = true\nfilter = "freeswitch"\nport = "5060"\nlogpath = "{recording.log}"\n'
    )
    return tracks, recording


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait_for(control: Path, daemon: subprocess.Popen[str]) -> None:
    """Until the daemon answers, or is dead."""
    for _ in range(600):
        if control.exists() or daemon.poll() is not None:
            return
        time.sleep(0.05)


STYLES = {"Found": "yellow", "Ban": "bold red", "Unban": "green", "already banned": "dim"}


def _show(daemon: subprocess.Popen[str], shown: Counter[str]) -> None:
    """Print the daemon's log as it comes, in colours on a terminal."""
    assert daemon.stdout is not None
    for line in daemon.stdout:
        match = re.search(r"\[[\w-]+\] (?:(Found|Ban|Unban) |\S+ (already banned))", line)
        verb = (match[1] or match[2]) if match else ""
        shown[verb] += 1
        if verb == "Found" and shown[verb] > SHOWN:
            if shown[verb] == SHOWN + 1:
                console.print("… more failures, not shown; bans and unbans are", style="dim")
            continue
        console.print(Text(_fitting(line.rstrip("\n"), match), style=STYLES.get(verb, "")))


def _fitting(line: str, event: re.Match[str] | None) -> str:
    """The line as the log has it; on a terminal that is too narrow for it, the time and what happens."""
    if event is None or not console.is_terminal or len(line) <= console.width:
        return line
    return f"{line[11:19]} {line[event.start() :].partition(' - ')[0]}"


def _sum_up(
    status: dict[str, list[dict[str, dict[str, int]]]], shown: Counter[str], lines: int, seconds: float
) -> None:
    console.rule("summary")
    table = Table(box=None, pad_edge=False)
    for column in ("jail", "lines", "failures", "bans", "banned now"):
        table.add_column(column, justify="left" if column == "jail" else "right")
    for jail in status["jails"]:
        numbers = (jail["detection"]["lines"], jail["totals"]["failures"], jail["totals"]["bans"], len(jail["banned"]))
        table.add_row(str(jail["name"]), *map(str, numbers))
    console.print(table)
    console.print(
        f"{lines} lines played in {seconds:.0f} s: {shown['Ban']} bans made, {shown['Unban']} ended by themselves. "
        "Nothing else was touched."
    )


def _explain(told: dict[str, Any], stories: dict[str, dict[str, Any]]) -> bool:
    """What the packets have said of the log of `RECORDED`; whether it is what they should have said."""
    lent = [one for one in stories[LENDER]["attempts"] if one["line"].startswith("lent: ")]
    console.print(
        f"\nThe packets of {RECORDED} were played beside its log, as its server would copy them (HEP). They have confirmed "
        f"{told['confirmed']} lines: each is one attempt, whoever told of it first."
    )
    console.print(
        f"{NAMED} is accused by lines of that log. It has sent nothing: {LENDER} has written that address into its packets, "
        f"and is charged with {len(lent)} attempts for it."
    )
    console.print(
        f"{SILENT} is accused by {told['contradicted']} lines that no server has written: it has sent nothing, and they "
        "count for nobody. Without packets both would have been banned."
    )
    innocent = not any(stories[one]["bans"] or stories[one]["attempts"] for one in (NAMED, SILENT))
    return innocent and bool(lent) and told["contradicted"] > 0


if __name__ == "__main__":
    if shutil.which("ip") is None and "nftables" in sys.argv:
        sys.exit("FIREWALL=nftables needs the program `ip` (Debian: iproute2)")
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # whoever watches has seen enough: as a shell says it of SIGINT
