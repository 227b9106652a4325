"""Random trees: each jail comes out as Fail2ban's own reader makes it, or is an error in both."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from effort import effort
from reference import ask, version
from test_tree import differences, empty_jail, ours, take, with_defaults

from sipguard.fail2ban.config.tree import read_tree

if TYPE_CHECKING:
    from pathlib import Path

TREES = effort(40, 1000)
pytestmark = pytest.mark.fail2ban

# For each tree: jail → what the client would send, None if it is not enabled, "error".
ORACLE = r"""
import json, logging, sys
logging.disable(logging.CRITICAL)
from fail2ban.client.jailreader import JailReader
from fail2ban.client.jailsreader import JailsReader

def jail(name, directory, share):
    try:
        reader = JailReader(name, basedir=directory, share_config=share)
        reader.read()
        if not reader.getOptions():
            return "error"
        if not reader.isEnabled():
            return None
        stream = reader.convert(allow_no_files=True)
        return "error" if any(command[0] == "config-error" for command in stream) else stream
    except Exception:
        return "error"

def tree(directory):
    share = {}
    reader = JailsReader(basedir=directory, share_config=share)
    reader.read()
    return {name: jail(name, directory, share) for name in reader.sections() if name != "INCLUDES"}

json.dump([tree(directory) for directory in json.load(sys.stdin)], sys.stdout)
"""

VALUES: dict[str, tuple[str, ...]] = {
    "bantime": ("10m", "1d12h30m", "-1", "1y 6mo", "600", "60*60", "2w", "%(bt)s", "3600 "),
    "findtime": ("10m", "1d", "%(bantime)s", "600s"),
    "maxretry": ("3", "7", " 5 ; c", "%(mr)s"),
    "maxmatches": ("3", "5"),
    "ignoreip": (
        "127.0.0.1/8 ::1",
        "192.0.2.1, 192.0.2.0/24,,x",
        "192.0.2.1\n  198.51.100.0/24 ; c\n  example.com",
        "",
    ),
    "backend": ("auto", "polling", "systemd", "systemd[journalflags=1]", "pyinotify", "%(be)s"),
    "usedns": ("no", "yes", "warn", "raw"),
    "port": ("ssh", "5060:5061,22", "0:65535", "%(port2)s"),
    "protocol": ("tcp", "udp", "tcp,udp", "all"),
    "chain": ("INPUT", "<known/chain>", "FORWARD"),
    "mode": ("normal", "aggressive", "extra"),
    "failregex": (
        "^own <HOST>$",
        "%(known/failregex)s\n   ^more <HOST> %%d",
        "^a %(fx)s <HOST>",
        "^<mode> <HOST>",
        "%(known/failregex)s",
    ),
    "ignoreregex": ("", "^ign", "%(known/ignoreregex)s\n  ^i2"),
    "prefregex": ("^p <F-CONTENT>.+</F-CONTENT>$", "%(known/prefregex)s"),
    "datepattern": ("%%Y-%%m", "{^LN-BEG}%%b %%d", "%(known/datepattern)s\n  EPOCH", "{NONE}"),
    "journalmatch": ("_SYSTEMD_UNIT=a.service + _COMM=b", "A=b\n  C=d", ""),
    "maxlines": ("2", "10", "1"),
    "logencoding": ("utf-8", "auto", "latin-1"),
    "logtimezone": ("UTC", "UTC+0200", "CET"),
    "ignorecommand": ("/bin/true <ip>", "%(ignorecommands_dir)s/x <ip>", ""),
    "ignoreself": ("true", "no", "off", "1"),
    "ignorecache": ('key="<ip>", max-count=10, max-time=1m',),
    "bantime.increment": ("true", "false", "yes"),
    "bantime.factor": ("1", "2"),
    "bantime.formula": ("ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor",),
    "bantime.multipliers": ("1 2 4", "1 5 30 60"),
    "bantime.maxtime": ("5w", "2w"),
    "bantime.rndtime": ("10m", "0"),
    "bantime.overalljails": ("true", "false"),
    "banaction": ("aa", "ab[x=1]", "aa[type=allports]", 'aa[y="%(port)s"]'),
    "action": (
        "%(action_)s",
        "%(action_)s\n  ab",
        'aa[name=%(__name__)s, port="%(port)s", protocol="%(protocol)s"]',
        'aa\n ab[actname=z, x="a,b"]\n  ab[actname=q]',
        "aa[x=<y>, y=2]",
        "",
        "%(banaction)s[name=n, bantime=5]",
        'aa[actname=%(__name__)s-two, port="%(port)s"] ab[x="[1]"]',
        "ab[x='%(known/action)s']",
        "p.py[a=1, actname=pp]",
    ),
    "skip_if_nologs": ("true", "false"),
    "destemail": ("root@localhost", "a@example.com"),
}
FILTERS = (
    *("fa", "fa[mode=aggressive]", 'fa[mode=aggressive, x="d,e"]', 'fa[mode="%(mode)s"]', "fb", "%(__name__)s"),
    *(
        "fb[x='a b',y=c][z=\"q]\"]",
        "fa[logtype=journal]",
        'fa[mode=%(mode)s, x="<mode>"]',
        "fa[ mode=extra ,x=1]",
        "none",
    ),
)
LOGS = (
    *("{logs}/a.log", "{logs}/a.log\n {logs}/b.log tail", "{logs}/*.log head", "{logs}/a.log tail\n\n  {logs}/b.log"),
    "%(lp)s\n  {logs}/b.log",
)
JAIL = """[DEFAULT]
bt = 1h
bantime = 20m
mr = 4
be = auto
lp = {logs}/a.log
port = ssh
port2 = 22
protocol = tcp
chain = <known/chain>
mode = normal
fx = x%%y
ignorecommands_dir = /etc/ic
filter = %(__name__)s
enabled = false
usedns = warn
backend = auto
destemail = root@localhost
banaction = aa
ignoreip =
action_ = %(banaction)s[port="%(port)s", protocol="%(protocol)s", chain="%(chain)s"]
action = %(action_)s
"""
FILES = {
    "fail2ban.conf": "[Definition]\n",
    "action.d/p.py": "",
    "filter.d/fa.conf": r"""[INCLUDES]
before = com.conf
[Definition]
_d = fa
prefregex = ^%(pre)s<F-CONTENT>.+</F-CONTENT>$
re-normal = ^n <HOST> <x>$
re-aggressive = %(re-normal)s
        ^agg <ADDR> %(_d)s$
re-extra = ^e <HOST> <lt_<logtype>/p>$
failregex = <re-<mode>>
      ^all <HOST>
ignoreregex = ^x <x>
datepattern = {^LN-BEG}
mode = normal
journalmatch = _U=fa
[Init]
x = 1
""",
    "filter.d/com.conf": r"""[DEFAULT]
pre = \s*
[lt_file]
p = file
[lt_journal]
p = journal
[Definition]
_d = com
x = zero
""",
    "filter.d/fb.conf": """[Definition]
failregex = ^%(y)s <x> <HOST> <z>
y = yy
ignoreregex =
[Init]
maxlines = 3
x = <y>-<mode>
z = Z
mode = fbm
[Init?family=inet6]
x = six
""",
    "action.d/aa.conf": """[INCLUDES]
before = acom.conf
[Definition]
actionstart = start <name> <chain> <port> <type>
    second <x>
actionstop = <actionflush>
      stop
actionflush = flush <chain>
actioncheck =
actionban = ban <ip> <bantime> <x> <known/x> <iptables> <matches>
actionunban = unban <ip> <y>
norestored = yes
[Init]
x = %(y)s
y = why
type = multiport
[Init?family=inet6]
y = why6
""",
    "action.d/acom.conf": """[Definition]
actionreload = reload <x>
[Init]
chain = INPUT
port = any
protocol = tcp
iptables = ipt <lock>
lock = -w
[Init?family=inet6]
iptables = ip6t <lock>
""",
    "action.d/ab.conf": """[Definition]
actionban = ab <x> <ip> <F-USER> <name> <actname>
x = <z>
z = zz
timeout = 9
actionstart_on_demand = <demand>
demand = false
""",
}
LOCAL = {
    "filter.d/fa.local": (
        "[Definition]\nfailregex = %(known/failregex)s\n   ^loc <HOST> <known/x>\n",
        "[Init]\nx = lx\n",
        "[Definition]\nmode = aggressive\n",
    ),
    "filter.d/com.local": ("[Definition]\n_d = comlocal\n", "[DEFAULT]\npre = PRE\n"),
    "action.d/aa.local": (
        "[Init]\nx = localx\n",
        "[Init]\nx = %(known/x)s!\n[Init?family=inet6]\nx = l6\n",
        "[Definition]\nactionban = %(known/actionban)s\n    extra\n",
    ),
    "filter.d/fb.local": ("[Init]\nmode = loc\n",),
}
JAILS = (*(f"j{number}" for number in range(8)), "fa", "fb")
LAYERS = ("jail.local", "jail.d/10.conf", "jail.d/20.conf", "jail.d/x.local")


def section(pick: random.Random, name: str, most: int) -> str:
    """Some keys of a jail."""
    keys = pick.sample(sorted(VALUES), pick.randint(0, most))
    return f"[{name}]\n" + "".join(f"{key} = {pick.choice(VALUES[key])}\n" for key in keys)


def write_tree(pick: random.Random, directory: Path, logs: Path) -> str:
    """A tree with ten jails, most of them enabled, and some layers over it."""
    texts = dict(FILES)
    texts |= {path: pick.choice(some) for path, some in LOCAL.items() if pick.random() < 0.3}
    base = JAIL.replace("{logs}", str(logs))
    for name in JAILS:
        base += section(pick, name, 7) + f"enabled = {pick.choice(('true', '1', 'yes', 'on', 'false'))}\n"
        base += f"logpath = {pick.choice(LOGS).replace('{logs}', str(logs))}\n"
        base += f"filter = {pick.choice(FILTERS)}\n" if name.startswith("j") else ""
    texts["jail.conf"] = base
    for path in LAYERS:
        if pick.random() < 0.5:
            text = section(pick, "DEFAULT", 3) if pick.random() < 0.4 else ""
            text += "".join(section(pick, name, 4) for name in pick.sample(JAILS, 3))
            if pick.random() < 0.3:
                text = f"[INCLUDES]\n{pick.choice(('before', 'after'))} = inc.inc\n{text}"
                folder = path.rpartition("/")[0]
                included = section(pick, "DEFAULT", 2) + section(pick, pick.choice(JAILS), 3)
                texts[f"{folder}/inc.inc" if folder else "inc.inc"] = included
            texts[path] = text
    for path, text in texts.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    return str(directory)


def shaped(stream: list[list[Any]]) -> dict[str, Any]:
    """The client's commands for one jail."""
    jail = empty_jail()
    for command in stream:
        match command:
            case ["add", _name, backend]:
                jail["backend"] = backend
            case ["set" | "multi-set" as how, _name, key, *values]:
                take(jail, how, key, values)
    return json.loads(json.dumps(with_defaults(jail)))


def compare(name: str, mine: Any, theirs: Any) -> list[str]:
    """How one jail differs; either side may have an error or nothing in its place."""
    if not isinstance(theirs, list) or mine is None:
        wanted = mine is None
        found = theirs is None or theirs == "error"
        return [] if wanted == found else [f"{name}: sipguard has {mine and 'a jail'}, Fail2ban {str(theirs)[:80]}"]
    found = differences(json.loads(json.dumps(ours(mine))), shaped(theirs), name)
    # Since 1.1.1 an option of the jail goes before `[Init?condition]`; sipguard does as Debian's stable versions do.
    return [line for line in found if not (version() >= "1.1.1" and "?family" in line)]


@pytest.mark.fuzz
@pytest.mark.timeout(effort(300, 3000))
def test_random_trees_mean_the_same(tmp_path):
    """Layers, includes, options in brackets, known values, tags: the same settings for every jail, or an error."""
    pick = random.Random(2026)
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("a.log", "b.log", "c d.log", "e[1].log"):
        (logs / name).touch()
    trees = [write_tree(pick, tmp_path / str(number), logs) for number in range(TREES)]
    found: list[str] = []
    compared = errors = 0
    for directory, theirs in zip(trees, ask(ORACLE, trees), strict=True):
        tree = read_tree(tmp_path / directory, version=version())
        mine = {jail.name: jail for jail in tree.jails}
        assert len(tree.errors) == sum(answer == "error" for answer in theirs.values()), directory
        for name, answer in theirs.items():
            compared += isinstance(answer, list)
            errors += answer == "error"
            found += [f"{directory}: {line}" for line in compare(name, mine.get(name), answer)]
    assert not found, "\n".join(found)
    print(f"{TREES} trees, {compared} jails alike, {errors} wrong in both")
    assert compared > 5 * TREES
    assert errors > TREES / 2
