"""What the firewall of this namespace holds that is not sipguard's: to be compared before and after, byte for byte.

Left out are sipguard's own chains, tables and sets, counters, times of day and times that run down, and the built-in
chains of iptables while they are empty (iptables makes all of them with the first).
"""

from __future__ import annotations

import re
import shutil
import subprocess

SAVES = ("iptables-save", "ip6tables-save", "iptables-legacy-save", "ip6tables-legacy-save")
_OURS = re.compile(r"^:sipguard|^-A sipguard|-j sipguard")
_EMPTY = re.compile(r"^:\S+ ACCEPT|^\*|^COMMIT|^#")
_COUNTERS = re.compile(r"\[\d+:\d+\]|packets \d+ bytes \d+|expires \w+")


def dump() -> dict[str, list[str]]:
    """Program → its lines."""
    found = {
        name: [
            _COUNTERS.sub("", line)
            for line in _run(name).splitlines()
            if not _OURS.search(line) and not _EMPTY.search(line)
        ]
        for name in SAVES
        if shutil.which(name)
    }
    found["nft"] = list(_native(_run("nft", "list", "ruleset")))
    found["ipset"] = [
        re.sub(r"timeout [1-9]\d*", "timeout", line)
        for line in _run("ipset", "save").splitlines()
        if not re.match(r"\w+ sg_", line)
    ]
    return found


def _native(rules: str):
    """The tables of nft that iptables does not print better, and not ours."""
    for table in re.split(r"(?m)^(?=table )", rules):
        name = table.split(" {")[0].removeprefix("table ").strip()
        xtables = name.partition(" ")[2] in ("filter", "nat", "mangle", "raw") and not name.startswith("inet ")
        if name and not xtables and not name.startswith(("inet sipguard", "inet sipguard_feeds")):
            yield _COUNTERS.sub("", table).rstrip()


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
