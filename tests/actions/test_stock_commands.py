"""Every action file of Debian's package runs the commands that the installed Fail2ban would run."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess

import pytest
import stock

from sipguard.fail2ban.actions import command_action as fail2ban_action

pytestmark = pytest.mark.fail2ban

PARAMETERS = {
    "plain": {},
    "jail": {"name": "sip", "port": "5060,5061", "protocol": "udp,tcp", "chain": "INPUT", "bantime": "600"},
    "other": {
        "name": "sip-two",
        "port": "5060:5080",
        "protocol": "udp",
        "blocktype": "DROP",
        "dest": "ops@example.com",
        "sender": "ban@example.com",
        "logpath": "/var/log/a.log\n/var/log/b.log",
        "timeout": "30",
    },
    "types": {"type": "allports", "actname": "own", "lockingopt": "", "add": "prepend", "norestored": "0"},
}
# The 0th command fails, the 1st, both, and so on: each way through check, repair and start is gone by some action.
FAILING = {
    "all work": (),
    "0": (0,),
    "1": (1,),
    "2": (2,),
    "1 2": (1, 2),
    "0 1": (0, 1),
    "3": (3,),
    "2 3 4": (2, 3, 4),
    "4": (4,),
    "1 2 3": (1, 2, 3),
    "5 6": (5, 6),
    "2 4": (2, 4),
    "1 3 5 7": (1, 3, 5, 7),
    "3 4 5 6 7 8": (3, 4, 5, 6, 7, 8),
}


def tickets(kind):
    """Two bans, of both families."""
    lines = stock.hostile("PWNED") if kind == "hostile" else ["Jan 1 plain text of 203.0.113.7", "second, line: 1=2"]
    data = {"user": lines[0] if kind == "hostile" else "1000"}
    restored = kind == "restored"
    rest = {"matches": lines, "data": data, "restored": restored}
    return [
        {"ip": "203.0.113.7", "time": stock.NOW, "bantime": 600, **rest},
        {"ip": "2001:db8::7", "time": stock.NOW + 1.5, "bantime": -1 if kind == "for ever" else 3600, **rest},
    ]


OWN = """[Definition]
actionstart = start <family> <name> <ip> <bantime> <failures> <unknown> <F-USER><br>second
actionstop = stop <family>
actioncheck = check <family>
actionrepair = <repair>
actionban = echo "<ip>" "<family>" "<ip-rev>" "<ip-host>" "<fid>" "<bantime>" "<bancount>" "<failures>" "<ipfailures>"
            "<ipjailfailures>" "<time>" "<restored>" "<fq-hostname>" "<sh-hostname>" "<F-USER>" "<F-NONE>" "<F-*>"
            "<raw-ticket>" "<matches>" "<ipmatches>" "<ipjailmatches>" "<F-matches>" < <STDIN> <matches> <sp>end <block>
actionunban = unban <ip> <matches>
actionprolong = prolong <ip>
%s
[Init]
repair = %s
block = four
%s
"""
SIX = "[Init?family=inet6]\nblock = six"
OWN_FILES = {
    "own-plain": OWN % ("", "", ""),
    "own-repair": OWN % ("actionflush = flush <family>", "repair <family>", ""),
    "own-family": OWN % ("", "", SIX),
    "own-at-once": OWN % ("actionstart_on_demand = no", "", SIX),
    "own-on-demand": OWN % ("actionstart_on_demand = yes\nactionrepair_on_unban = yes\nnorestored = 1", "", ""),
}
"""Files of our own, for what no stock action does."""


def cases(tree):
    """Each action with each set of parameters, each kind of ban, and each way to fail."""
    runs = [*itertools.product(PARAMETERS, ("plain", "hostile", "restored", "for ever"), ["all work"])]
    runs += [("jail", "plain", failing) for failing in FAILING if failing != "all work"]
    for file, (parameters, kind, failing) in itertools.product(FILES, runs):
        name = f"{file} {parameters} {kind} {failing}"
        yield (
            name,
            {
                "file": file,
                "options": PARAMETERS[parameters],
                "tree": str(tree if file in OWN_FILES else stock.ETC),
                "jail": "sip",
                "tickets": tickets(kind),
                "failing": FAILING[failing],
            },
        )


FILES = [*OWN_FILES, *([] if stock.fail2ban_missing() else stock.action_files())]


# Where no command depends on the family, Fail2ban leaves the tag in `actioncheck`, and a shell would read a file of that
# name. Here it is nothing, as Fail2ban itself has it in `actionstart`.
LEFT = "check <family>"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder with action files of our own."""
    folder = tmp_path_factory.mktemp("tree")
    (folder / "action.d").mkdir()
    for name, text in OWN_FILES.items():
        (folder / "action.d" / f"{name}.conf").write_text(text)
    return folder


@pytest.fixture(scope="module")
def answers(tree):
    """What the installed Fail2ban says to all cases, asked once."""
    every = dict(cases(tree))
    question = json.dumps({"host": stock.HOST, "now": stock.NOW, "cases": list(every.values())})
    done = subprocess.run(
        [stock.PYTHON, stock.DRIVER], input=question, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr[-300:]
    return dict(zip(every, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("file", FILES)
def test_commands(file, tree, answers, monkeypatch):
    """Start, bans, unban and stop, for both families: command for command, variable for variable."""

    async def host_of(_address):
        return stock.HOST

    monkeypatch.setattr(fail2ban_action, "host_of", host_of)
    compared = 0
    for name, case in cases(tree):
        if case["file"] != file:
            continue
        theirs = answers[name]
        assert "refused" not in theirs, theirs
        own = asyncio.run(stock.run(case, stock.Recording(case["failing"])))
        assert own.keys() == theirs.keys()
        for step in own:
            expected = [[script.replace(LEFT, "check "), used] for script, used in theirs[step]]
            assert own[step] == expected, f"{name}: {step}:\n{own[step]}\n{theirs[step]}"
            compared += len(theirs[step])
    assert compared
