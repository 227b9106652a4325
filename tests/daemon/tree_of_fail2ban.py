"""A tree of Fail2ban's for a daemon: one jail, and filters in Fail2ban's manner, which say nothing to sipguard."""

from __future__ import annotations

FREESWITCH = r"""
[Definition]
_of = for \[<F-USER>[^@]*</F-USER>@.*\]
failregex = ^\s*\S*\s*\[WARNING\] sofia_reg\.c:\d+ SIP auth failure \(REGISTER\) on sofia profile '\S+' %(_of)s from ip <HOST>$
            ^\s*\S*\s*\[WARNING\] mod_event_socket\.c:\d+ IP <HOST> Rejected by acl
"""


def write_tree(folder, log, *, name="freeswitch", maxretry=5):
    """Make the tree; gives the daemon's arguments for it. Its own log is where `RunningDaemon` looks for it."""
    tree = folder / "f2b"
    for below in ("filter.d", "action.d"):
        (tree / below).mkdir(parents=True)
    (tree / "jail.conf").write_text(
        f"[DEFAULT]\n[{name}]\nenabled = true\nbackend = auto\nlogpath = {log}\nport = 5060\nmaxretry = {maxretry}\n"
        "findtime = 600\nbantime = 600\nfilter = freeswitch\n"
    )
    (tree / "fail2ban.conf").write_text(
        f"[Definition]\nloglevel = INFO\nsocket = {folder}/f2b.sock\npidfile = none\ndbfile = none\n"
        f"logtarget = {folder}/sipguard.log\n"
    )
    (tree / "filter.d" / "freeswitch.conf").write_text(FREESWITCH)
    return ["--fail2ban-dir", str(tree)]
