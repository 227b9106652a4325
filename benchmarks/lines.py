"""`python -m benchmarks.lines OLD`: lines of `sipguard/` in another checkout and in this one, folder by folder.

What has come since is counted apart from what OLD did already. A file belongs to what has come since if a pattern below names it;
all others count as the same behaviour, also where they serve both. To repeat it for the commit that the lists are made for:

    git worktree add /tmp/old d3a3447 && .venv/bin/python -m benchmarks.lines /tmp/old
"""

from __future__ import annotations

import sys
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

HERE = Path(__file__).parents[1]
SINCE = {
    "the wire and HEP": """
        detection/sip/* sources/wire/* sources/packets/* sources/captures/* sources/hep*.py config/hep.py
        config/wire.py policy/corroboration.py policy/doubts.py policy/metering.py policy/pairing.py policy/sight.py
        policy/spans.py policy/wire.py daemon/copied_places.py daemon/corroborator.py daemon/examiner.py
        daemon/held_back.py daemon/liberal.py daemon/packets.py daemon/unproven.py daemon/wire.py firewall/meters.py
        firewall/nft_wire*.py firewall/xt_wire*.py cli/open_files.py cli/replay_captures.py cli/wire_advice.py
        netlink.py wire_model.py
    """,
    "servers' events": """
        detection/events/* sources/asterisk_events.py sources/event_*.py sources/freeswitch_events.py
        config/events.py daemon/event_reader.py policy/told_once.py
    """,
    "fleet and CrowdSec": """
        fleet/* config/crowdsec.py config/fleet.py daemon/crowdsec_runner.py daemon/fleet_runner.py
        daemon/foreign_*.py daemon/friends.py daemon/others.py daemon/surroundings.py cli/fleet.py
    """,
    "the page, top, lists of bans": """
        web/* top/* cli/ban_table.py cli/bans.py cli/history.py cli/top.py cli/web.py daemon/ban_list.py
        state/history.py counters.py geoip.py
    """,
    "enable, selftest, service, completion, man pages": """
        enable/* service/* cli/completion*.py cli/enable.py cli/man_pages.py cli/port_advice.py cli/register.py
        cli/selftest.py cli/service.py cli/websocket.py
    """,
    "logs that callers write into": """
        detection/cuts.py detection/hanging.py detection/long_fields.py detection/own_thread.py detection/packets.py
        detection/session_tail.py detection/wrappers.py policy/lag.py
    """,
    "the faster search": """
        detection/pcre2.py detection/plain*.py detection/scan.py detection/survey.py detection/translate.py
        detection/trees.py
    """,
    "alarms and advice": """
        actions/sentence.py config/log_choice.py config/notifiers.py daemon/advice.py daemon/auth_lines.py
        daemon/enforcement.py daemon/sole_owner.py firewall/bypass.py firewall/foreign_rules.py firewall/tracked.py
        troubles.py
    """,
}
"""What has come since d3a3447 → its files."""


def count(tree: Path) -> dict[str, int]:
    """File below `sipguard/` → its lines."""
    root = tree / "sipguard"
    return {str(one.relative_to(root)): len(one.read_text().splitlines()) for one in sorted(root.rglob("*.py"))}


def since(name: str) -> str:
    """What a file serves that has come since; nothing for what was there before."""
    return next((what for what, given in SINCE.items() if any(fnmatch(name, one) for one in given.split())), "")


def main() -> None:
    """Print both."""
    old, new = count(Path(sys.argv[1])), count(HERE)
    for pattern in " ".join(SINCE.values()).split():
        if not any(fnmatch(name, pattern) for name in new):
            sys.exit(f"{pattern}: no such file here any more; mend the lists in {Path(__file__).name}")
    rows: dict[str, Counter[str]] = {}
    for column, lines in (
        ("old", old),
        ("same", {name: n for name, n in new.items() if not since(name)}),
        ("now", new),
    ):
        for name, number in lines.items():
            for folder in (name.partition("/")[0] if "/" in name else "(top)", "sum"):
                rows.setdefault(folder, Counter())[column] += number
    print(f"{'folder':<12}{'there':>8}{'the same here':>15}{'all here':>10}")
    for folder in (*sorted(rows.keys() - {"sum"}), "sum"):
        row = rows[folder]
        print(f"{folder:<12}{row['old']:>8}{row['same']:>15}{row['now']:>10}")
    apart = Counter[str]()
    for name, number in new.items():
        apart[since(name)] += number
    print("\nsince then:", *(f"  {apart[what]:>6}  {what}" for what in SINCE), sep="\n")


if __name__ == "__main__":
    main()
