"""Makes the README's picture: the real program's output on a played attack, as an SVG of a terminal.

`python -m demo.picture FILE.svg`, as root, starts the daemon with nftables in a network namespace of its own, plays a bundled
attack log to it, and runs each command on a terminal of 80 columns.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from demo.__main__ import PLAYED, SAMPLES, Namespace
from demo.feeder import Track, play

COLUMNS = 80
SHOWN = (["status"], ["bans", "--limit", "6"])


def main() -> None:
    """Write the picture."""
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="sipguard-") as name, Namespace("nftables") as prefix:
        folder = Path(name)
        (folder / "jails.d").mkdir()
        tracks = []
        for jail, sample in PLAYED.items():
            log = folder / f"{jail}.log"
            log.touch()
            (folder / f"jails.d/{jail}.toml").write_text(f'enabled = true\nlogpath = "{log}"\n')
            tracks.append(Track(SAMPLES / sample, log))
        (folder / "sipguard.toml").write_text(
            f'state_dir = "{folder}/state"\nsocket = "{folder}/run.sock"\nlogtarget = "{folder}/sipguard.log"\n'
        )
        sipguard = [sys.executable, "-m", "sipguard"]
        daemon = subprocess.Popen([*prefix, *sipguard, "run", "--config", folder / "sipguard.toml"])
        try:
            while not (folder / "run.sock").exists() and daemon.poll() is None:
                time.sleep(0.05)
            play(tracks, 3.0, going_on=lambda: daemon.poll() is None)
            time.sleep(1.5)
            target.parent.mkdir(exist_ok=True)
            target.write_text(_picture([(line, _on_a_terminal([*sipguard, *line], folder)) for line in SHOWN]))
        finally:
            daemon.terminate()
            daemon.wait(30)


def _on_a_terminal(command: list[str], folder: Path) -> str:
    """What a command prints on a terminal, colours and all."""
    environment = os.environ | {
        "COLUMNS": str(COLUMNS),
        "TERM": "xterm-256color",
        "SIPGUARD_SOCKET": f"{folder}/run.sock",
    }
    environment.pop("NO_COLOR", None)
    ours, its = pty.openpty()
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment)
    os.close(its)
    said = b""
    try:
        while piece := os.read(ours, 65536):
            said += piece
    except OSError:  # EIO: it has ended (pty(7))
        pass
    process.wait()
    return said.decode().replace("\r\n", "\n").replace(str(folder), "/etc/sipguard")


def _picture(shown: list[tuple[list[str], str]]) -> str:
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: PTH123, SIM115
    for line, said in shown:
        console.print(Text.assemble(("$ ", "bold green"), (f"sipguard {' '.join(line)}", "bold")))
        console.print(Text.from_ansi(said.rstrip("\n")))
        console.print()
    return console.export_svg(title="sipguard", unique_id="sipguard")


if __name__ == "__main__":
    main()
