"""`python -m benchmarks [ROW…] [--times N]`: prints the table, writes results.json.

Rows: scan, attack, live and firewall (as root: they need network namespaces and nft), growth, wire. All of them by default.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import report
from benchmarks.command_line import command_line
from benchmarks.growth import growth
from benchmarks.scan import PYTHON, attack, scan
from benchmarks.wire import wire

RESULTS = Path(__file__).parent / "results.json"
ROWS = ("scan", "attack", "command", "live", "growth", "wire", "firewall")


def main() -> int:
    """Measure."""
    arguments = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    arguments.add_argument("rows", nargs="*", metavar="ROW", help=" ".join(ROWS))
    arguments.add_argument("--times", type=int, default=5, help="runs per value; the median counts (default 5)")
    given = arguments.parse_args()
    wanted = given.rows or ROWS
    if unknown := set(wanted) - set(ROWS):
        arguments.error(f"no such row: {' '.join(sorted(unknown))}; there are {' '.join(ROWS)}")
    if (set(wanted) != {"wire"} and not Path("/etc/fail2ban").is_dir()) or not Path(PYTHON).exists():
        sys.stderr.write("Debian's package fail2ban is needed to compare with: apt install fail2ban\n")
        return 2
    print(machine(), "\n", flush=True)
    rows: list[report.Row] = []
    for name in wanted:
        rows += run(name, given.times)
    print("\n" + report.table(rows))
    save(rows, wanted)
    return 0


def run(name: str, times: int) -> list[report.Row]:
    """The rows of one name; each is told as soon as it is known."""
    rows: list[report.Row] = []
    if name in ("live", "firewall") and os.geteuid() != 0:
        print(f"{name}: needs root for network namespaces; left out", flush=True)
        return rows
    if name == "firewall":
        from benchmarks import firewall_scale  # noqa: PLC0415 - imports the tests' helpers for namespaces

        print(firewall_scale.report(firewall_scale.measure()), flush=True)
        return rows
    with tempfile.TemporaryDirectory(prefix="sipguard-bench-") as folder:
        if name == "live":
            from benchmarks.live import live  # noqa: PLC0415 - imports the tests' helpers for namespaces

            source = live(Path(folder), times)
        else:
            named = {"scan": scan, "attack": attack, "command": command_line, "growth": growth, "wire": wire}
            source = named[name](Path(folder), times)
        for row in source:
            print("  ".join(row.cells()), row.note, flush=True)
            rows.append(row)
    return rows


def machine() -> str:
    """What it was measured on."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(": ")[2] for line in info.splitlines() if line.startswith("model name")), "unknown")
    return f"{os.cpu_count()} cores {model}, Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"


def save(rows: list[report.Row], wanted: tuple[str, ...] | list[str]) -> None:
    """Write the rows that were measured; those of other runs stay."""
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}
    new = [{**vars(row), "ratio": row.ratio} for row in rows]
    measured = {row["what"] for row in new}
    kept = [row for row in old["rows"] if row["what"] not in measured] if set(wanted) != set(ROWS) else []
    when = time.strftime("%Y-%m-%d %H:%M")
    RESULTS.write_text(json.dumps({"machine": machine(), "when": when, "rows": kept + new}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
