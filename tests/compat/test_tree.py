"""A tree read by sipguard is what the installed Fail2ban's client would send to its server (`fail2ban-client -d`)."""

from __future__ import annotations

import ast
import glob
import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from reference import CLIENT, ETC, run, version

from sipguard.config.plain import plain
from sipguard.fail2ban.config.actions import commands_for
from sipguard.fail2ban.config.tree import read_tree

if TYPE_CHECKING:
    from sipguard.fail2ban.config.tree_model import Fail2banJail
    from sipguard.model import Action

pytestmark = pytest.mark.fail2ban

ALL_ENABLED = {"jail.local": "[DEFAULT]\nenabled = true\n"}

# What operators do to a tree: overrides in every layer, known values, growing bans, other actions, a jail of their own.
CHANGED = {
    "jail.local": """
[DEFAULT]
enabled = true
bantime = 1d 12h
bantime.increment = true
bantime.factor = 2
bantime.multipliers = 1 2 4 8
bantime.maxtime = 5w
ignoreip = 127.0.0.1/8 ::1, 192.0.2.0/24
destemail = ops@example.com
action = %(action_mwl)s
banaction = nftables-multiport
[sshd]
mode = aggressive
maxretry = 3
port = 22,2222
failregex = %(known/failregex)s
            ^my own <HOST>$
ignoreregex = ^never
[apache-auth]
action = %(action_)s
         smtp.py[host="mail.example.com", dest=ops@example.com, actname=mail]
         dummy
         dummy[name=%(__name__)s-two, init="a, b"]
[postfix]
filter = postfix[mode=aggressive, __date_ambit="x"]
maxlines = 7
usedns = no
datepattern = %%Y-%%m
journalmatch = _SYSTEMD_UNIT=a.service + _COMM=b
    _SYSTEMD_UNIT=c.service
ignorecommand = /bin/true <ip>
ignorecache = key="<F-USER>@<ip-host>", max-count=10, max-time=1m
logtimezone = UTC+0200
""",
    "jail.d/10-own.conf": """
[own]
filter = own[what='odd, even', extra=%(port)s]
backend = systemd[journalflags=1]
banaction = iptables-ipset-proto6
port = 5060:5061
logpath = /dev/null
[own-two]
filter = own
logpath = %(sshd_log)s tail
chain = FORWARD
protocol = udp
banaction = %(banaction_allports)s
blocktype = DROP
action = %(banaction)s[blocktype="<known/blocktype> --x", port="%(port)s"]
  own-act[what="p<known/what>"]
[off]
enabled = false
filter = nonesuch
""",
    "jail.d/20.local": "[own]\nmaxretry = 9\n[sshd]\nfindtime = 1h\n",
    "filter.d/own.conf": """
[INCLUDES]
before = common.conf
[Definition]
_daemon = own
prefregex = ^%(__prefix_line)s<F-CONTENT>.+</F-CONTENT>$
failregex = ^<what> <HOST> %%d <extra>$
            <more-<what>>^plain <ADDR>$
more-odd, even = ^special <HOST>$
journalmatch = "_SYSTEMD_UNIT=own.service"
other = %(_daemon)s
[Init]
what = any
extra = none
maxlines = 2
more-any =
""",
    "filter.d/own.local": """
[Definition]
failregex = %(known/failregex)s
    ^local <HOST> <other>$
[Init]
extra = <known/what>
""",
    "action.d/own-act.conf": """
[Definition]
actionban = run <name> <ip> <bantime> <timeout> <matches> <known/what> <F-USER> <lead>
norestored = yes
actname = no
lead = <what>-<bantime>
[Init]
timeout = 5m
bantime = 3
what = x<bantime>
matches = y
""",
    "action.d/iptables.local": "[Init]\nblocktype = DROP\n[Init?family=inet6]\nblocktype = REJECT\nlockingopt = -w 5\n",
    "fail2ban.local": "[DEFAULT]\ndbpurgeage = 2d\n[Definition]\nloglevel = NOTICE\n[Thread]\nstacksize = 128\n",
}


@pytest.fixture(params=[ALL_ENABLED, CHANGED], ids=["all jails enabled", "changed in every layer"])
def tree_directory(request, tmp_path) -> Path:
    """A copy of the stock tree with own files over it and with its logs in a place of its own."""
    directory = tmp_path / "fail2ban"
    shutil.copytree(ETC, directory, ignore=shutil.ignore_patterns("*.local", "ignorecommands"))
    for path in directory.rglob("*.conf"):
        text = path.read_text(encoding="utf-8").replace("/var/log/", f"{tmp_path}/log/")
        path.write_text(text, encoding="utf-8")
    for name, text in request.param.items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory


def make_logs(jails: tuple[Fail2banJail, ...], below: Path) -> None:
    """Two files for each pattern of each jail, so that globs have something to find."""
    for pattern in {path.pattern for jail in jails for path in jail.logpath}:
        for star in ("", "one-"):
            path = Path(pattern.replace("*", star).replace("[0-9]", "1").replace("?", "x"))
            if path.is_relative_to(below):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()


def empty_jail() -> dict[str, Any]:
    """What a jail has before anything is sent."""
    lists = ("addfailregex", "addignoreregex", "addjournalmatch", "addignoreip", "addlogpath")
    return {"set": {}, "actions": {}, **{name: [] for name in lists}}


def theirs(output: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The client's dump → general settings and jails."""
    general: dict[str, Any] = {}
    jails: dict[str, Any] = {}
    for command in map(ast.literal_eval, output.splitlines()):
        match command:
            case ["set", key, value]:
                general[key] = value
            case ["add", name, backend]:
                jails[name] = {**empty_jail(), "backend": backend}
            case ["set" | "multi-set" as how, name, key, *values]:
                take(jails[name], how, key, values)
            case _:
                assert command[0] == "start", f"a command that this test does not know: {command}"
    return general, jails


def take(jail: dict[str, Any], how: str, key: str, values: list[Any]) -> None:
    """One setting of the dump into its jail."""
    if key == "addaction":
        jail["actions"][values[0]] = {"python": values[1:]}
    elif key == "action":
        jail["actions"][values[0]] |= dict(values[1] if how == "multi-set" else [values[1:]])
    elif key == "addlogpath":
        jail[key].append(tuple(values))
    elif key == "addjournalmatch":
        jail[key].append(values)
    elif key in jail:
        jail[key] += values[0] if how == "multi-set" else values
    else:
        (jail["set"][key],) = values


def ours(jail: Fail2banJail) -> dict[str, Any]:
    """One of sipguard's jails in the same shape."""
    found = jail.filter
    of_filter = {
        "prefregex": found.prefregex,
        "datepattern": found.datepattern,
        "usedns": jail.usedns,
        "maxlines": found.maxlines,
    }
    paths = [(path, "tail" if one.tail else "head") for one in jail.logpath for path in glob.glob(one.pattern)]  # noqa: PTH207  any pattern
    options = ",".join(f"{key}={value}" for key, value in jail.backend_options.items())
    return {
        "backend": f"{jail.backend}[{options}]" if options else jail.backend,
        "set": {**of_filter, **jail.sent},
        "actions": {action.name: our_action(action) for action in jail.actions},
        "addfailregex": list(found.failregex),
        "addignoreregex": list(found.ignoreregex),
        "addjournalmatch": [shlex.split(line) for line in found.journalmatch],
        "addignoreip": list(jail.ignoreip),
        "addlogpath": paths,
    }


def our_action(action: Action) -> dict[str, Any]:
    """One of sipguard's actions in the shape of the dump."""
    if action.python:
        return {"python": [action.python, json.dumps(dict(action.properties))]}
    return {"python": [], **action.commands, **action.flags, **action.properties}


def differences(mine: Any, other: Any, path: str = "") -> list[str]:
    """Every place where two nested values differ."""
    if isinstance(mine, dict) and isinstance(other, dict):
        keys = mine.keys() | other.keys()
        return [line for key in keys for line in differences(mine.get(key), other.get(key), f"{path}/{key}")]
    return [] if mine == other else [f"{path}: sipguard {mine!r}, Fail2ban {other!r}"]


def with_defaults(jail: dict[str, Any]) -> dict[str, Any]:
    """What the client leaves unsaid is the server's default."""
    settings = {"usedns": "warn", "maxlines": 1, "prefregex": None, "datepattern": None, **jail["set"]}
    plain = {key: None if value == "" and key.endswith("regex") else value for key, value in settings.items()}
    return {**jail, "set": plain}


def run_client(directory: Path) -> str:
    """`fail2ban-client -d` on this tree."""
    done = run(CLIENT, "-c", directory, "-d")
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_every_jail_means_the_same(tree_directory, tmp_path):
    """Each jail's settings, regexes, log files and actions are those of the installed client: no difference at all."""
    tree = read_tree(tree_directory, version=version())
    assert [str(error) for error in tree.errors] == []
    make_logs(tree.jails, tmp_path)
    _general, jails = theirs(run_client(tree_directory))
    assert [jail.name for jail in tree.jails] == list(jails)
    assert len(jails) > 80
    found = [
        line for jail in tree.jails for line in differences(ours(jail), with_defaults(jails[jail.name]), jail.name)
    ]
    assert found == []


def test_settings_mean_the_same(tree_directory):
    """fail2ban.conf as the client reads it."""
    general, _jails = theirs(run_client(tree_directory))
    mine = plain(read_tree(tree_directory).settings)
    assert general.pop("dbpurgeage") in ("1d", "2d")
    assert mine["dbpurgeage"] in (86_400.0, 172_800.0)
    if "thread" in general:
        assert mine["stacksize"] == general.pop("thread")["stacksize"]
    assert {key: mine[key] for key in general} == general


def test_every_action_resolves_for_both_families(tree_directory):
    """The commands of all stock actions can be made for IPv4 and IPv6, and no condition is left in them."""
    tree = read_tree(tree_directory)
    actions = [action for jail in tree.jails for action in jail.actions if not action.python]
    assert actions
    for action in actions:
        four, six = commands_for(action, "inet4"), commands_for(action, "inet6")
        assert "<iptables>" not in "".join((*four.values(), *six.values()))
        assert ("ip6tables" in "".join(six.values())) == ("iptables " in "".join(four.values()))


def test_plain_jails_are_json(tree_directory):
    """The jails of a real tree, as plain data, survive JSON."""
    whole = [plain(jail) for jail in read_tree(tree_directory).jails]
    assert json.loads(json.dumps(whole)) == whole
