"""Who counts what is true: sipguard and the installed Fail2ban's own filters, on logs whose truth is known from the wire.

    python -m benchmarks.compare_sip [--fail2ban-dir DIR]... [--shared DIR]

One row per log and reader: attempts made, found, counted too often, missed; phones in normal operation that would be banned
(five failures within ten minutes), and third parties who never sent a packet and are accused all the same. Fail2ban is asked
by `fail2ban-regex`; a reader that is not installed is left out, and said so. sipguard reads with its packaged jails, but for
the log that has NOTICE lines alone: that needs `asterisk[log=all]`, and by default nothing in it counts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "fixtures" / "logs"
NEVER = "192.0.2.99"
"""Sent nothing in any of the logs."""
MAXRETRY = 5


@dataclass(frozen=True)
class Case:
    """A log, its program, and the attempts that were really made: address → number; 0 for a phone in normal operation."""

    log: Path
    program: str
    truth: dict[str, int]
    filter: str = ""
    """Instead of the packaged jail's own."""


_NET = "203.0.113."
_ATTACK = {
    "66": 41,
    "67": 10,
    "74": 15,
    "73": 10,
    "76": 5,
    "78": 5,
    "80": 5,
    "81": 10,
    "85": 5,
    "86": 5,
    "87": 5,
    "21": 2,
}
_FREESWITCH = {
    "attack": {_NET + key: made for key, made in _ATTACK.items()} | {"2001:db8:113::66": 20, _NET + "20": 0},
    "info": {_NET + key: made for key, made in {"74": 3, "212": 5, "213": 3, "217": 3, "20": 0}.items()},
    "normal": {_NET + "20": 0, _NET + "21": 1, _NET + "22": 0},
}
_ASTERISK = {"198.51.100.66": 20, "198.51.100.20": 0}
_HOSTILE = {
    "asterisk22-manager": 7,
    "asterisk22-quotes": 7,
    "asterisk22-control-bytes": 3,
    "asterisk22-dumped-packet": 0,
}


def cases(shared: Path) -> Iterator[Case]:
    """The logs of the repository, and the larger ones where they are."""
    for name in ("asterisk22-full", "asterisk22-security", "asterisk16-full"):
        yield Case(LOGS / f"{name}.log", "asterisk", _ASTERISK)
    yield Case(LOGS / "asterisk22-messages.log", "asterisk", _ASTERISK, filter="asterisk[log=all]")
    for name, made in _HOSTILE.items():
        yield Case(LOGS / f"{name}.log", "asterisk", {"198.51.100.66": made, "198.51.100.20": 0})
    for kind, truth in _FREESWITCH.items():
        for suffix in ("", "-nouuid", "-warning", "-syslog", "-syslog-rfc3339"):
            log = shared / f"{kind}{suffix}.log"
            if log.is_file():
                yield Case(log, "freeswitch", truth)


def by_sipguard(case: Case) -> Counter[str]:
    """Address → attempts."""
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "sipguard.toml"
        config.touch()
        (config.parent / "jails.d").mkdir()
        if case.filter:
            (config.parent / "jails.d" / f"{case.program}.toml").write_text(f'filter = "{case.filter}"\n')
        command = [sys.executable, "-m", "sipguard", "replay", "--json", "-c", str(config), "--jail", case.program]
        done = subprocess.run([*command, str(case.log)], capture_output=True, text=True, check=True, cwd=ROOT)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return Counter({row["address"]: row["attempts"] for row in rows if "address" in row})


def by_fail2ban(case: Case, directory: Path) -> Counter[str]:
    """Address → failures, by the filter of `directory`."""
    given = directory / "filter.d" / f"{case.program}.conf"
    command = ["fail2ban-regex", "--encoding", "utf-8", "-o", "<ip>", str(case.log), str(given)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return Counter(line.strip() for line in done.stdout.splitlines() if line.strip())


def row(case: Case, found: Counter[str]) -> list[str]:
    """The figures of one reader on one log."""
    made = sum(case.truth.values())
    right = sum(min(found[address], number) for address, number in case.truth.items())
    over = sum(max(0, found[address] - number) for address, number in case.truth.items())
    others = {address: number for address, number in found.items() if address not in case.truth}
    phones = sum(found[address] >= MAXRETRY for address, number in case.truth.items() if number <= 2)
    framed = sum(address == NEVER for address in others)
    over += sum(number for address, number in others.items() if address != NEVER)
    return [str(one) for one in (made, right, over, made - right, phones, framed)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fail2ban-dir", type=Path, action="append", help="a Fail2ban tree; again for another")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "logs" / "freeswitch")
    given = parser.parse_args()
    trees = given.fail2ban_dir or [Path("/etc/fail2ban")]
    readers = {"sipguard": by_sipguard}
    for tree in trees:
        if shutil.which("fail2ban-regex") and (tree / "filter.d" / "asterisk.conf").is_file():
            readers[f"fail2ban {tree}"] = lambda case, tree=tree: by_fail2ban(case, tree)
        else:
            print(f"{tree}: left out, no fail2ban-regex or no filters there", file=sys.stderr)
    if not given.shared.is_dir():
        print(f"{given.shared}: not there, so without the large logs of FreeSWITCH", file=sys.stderr)
    print(
        f"{'log':<32}{'reader':<26}"
        + "".join(f"{one:>9}" for one in ("made", "found", "over", "missed", "phones", "framed"))
    )
    for case in cases(given.shared):
        for name, reader in readers.items():
            figures = row(case, reader(case))
            print(f"{case.log.stem:<32}{name:<26}" + "".join(f"{figure:>9}" for figure in figures))


if __name__ == "__main__":
    main()
