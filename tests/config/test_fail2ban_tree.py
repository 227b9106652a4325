"""A small Fail2ban tree: what it means, and that one bad jail leaves the others standing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sipguard.config.plain import plain
from sipguard.errors import ConfigError
from sipguard.fail2ban.config.actions import commands_for, read_actions
from sipguard.fail2ban.config.role import role_of
from sipguard.fail2ban.config.tree import read_tree
from sipguard.model import FOREVER, BanGrowth, IgnoreCache, LogPath, PortRange

FILES = {
    "jail.conf": """[DEFAULT]
maxretry = 5
bantime = 10m
filter = %(__name__)s
port = 0:65535
protocol = tcp
banaction = block
action = %(banaction)s[port="%(port)s", protocol="%(protocol)s"]
[demo]
enabled = true
port = 5060,5061
logpath = /var/log/demo/*.log tail
          /var/log/demo.log
[other]
filter = demo
""",
    "filter.d/demo.conf": "[Definition]\nfailregex = ^failed 5%% <HOST>$\n",
    "action.d/block.conf": """[Definition]
actionban = <tool> add <ip> <port> <protocol> <blocktype><br><family> <name>
[Init]
tool = block4
blocktype = REJECT
[Init?family=inet6]
tool = block6
""",
}


@pytest.fixture
def tree(tmp_path):
    """The directory of a small tree."""
    for name, text in FILES.items():
        put(tmp_path, name, text)
    return tmp_path


def put(directory: Path, name: str, text: str) -> None:
    """One file of the tree."""
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_jail(tree):
    """One enabled jail, in full."""
    (jail,) = read_tree(tree).jails
    assert jail.filter.failregex == ("^failed 5% <HOST>$",)
    assert jail.logpath == (LogPath("/var/log/demo/*.log", tail=True), LogPath("/var/log/demo.log"))
    assert (jail.maxretry, jail.bantime, jail.findtime, jail.usedns) == (5, 600.0, 600.0, "warn")
    assert jail.rule.ports == (PortRange(5060, 5061),)
    assert (jail.rule.jail, jail.rule.protocols, jail.rule.verdict) == ("demo", ("tcp",), "reject")
    assert jail.origin == f"{tree}/jail.conf:10"
    assert tuple(map(str, jail.as_jail().logpath)) == ("/var/log/demo/*.log tail", "/var/log/demo.log")


def test_action_for_each_family(tree):
    """A tag with a condition is resolved for the family, the ban's own tags are left."""
    (action,) = read_tree(tree).jails[0].actions
    assert action.name == "block"
    assert commands_for(action, "inet4") == {"actionban": "block4 add <ip> 5060,5061 tcp REJECT\ninet4 demo"}
    assert commands_for(action, "inet6") == {"actionban": "block6 add <ip> 5060,5061 tcp REJECT\ninet6 demo"}


def test_known_of_the_filter(tree):
    """A jail may build on its filter's regex, even where that has a percent sign."""
    put(tree, "jail.local", "[demo]\nfailregex = %(known/failregex)s\n  ^more <HOST>$\n")
    assert read_tree(tree).jails[0].filter.failregex == ("^failed 5% <HOST>$", "^more <HOST>$")


def test_growth_and_cache(tree):
    """`bantime.*` and `ignorecache` as values."""
    text = """[demo]
bantime = -1
bantime.increment = yes
bantime.factor = 2*3
bantime.multipliers = 1 2 4
bantime.maxtime = 1d
ignorecache = key="<ip>", max-count=7, max-time=1m
"""
    put(tree, "jail.local", text)
    (jail,) = read_tree(tree).jails
    assert jail.bantime == FOREVER
    assert jail.growth == BanGrowth(increment=True, factor=6.0, multipliers=(1, 2, 4), maxtime=86_400.0)
    assert jail.ignorecache == IgnoreCache("<ip>", 7, 60.0)
    assert json.loads(json.dumps(plain(jail)))["bantime"] == -1


RULES = [
    pytest.param("block-allports[port=22]", (22,), (), "reject", id="its command counts, not its name"),
    pytest.param("block[port=22, protocol=udp]", (22,), ("udp",), "reject", id="given port"),
    pytest.param(
        "block[port=22, protocol=tcp]\n block[name=b, port=24, protocol='tcp,udp']",
        (22, 24),
        ("tcp", "udp"),
        "reject",
        id="two",
    ),
    pytest.param("block[port=22, protocol=all, blocktype=DROP]", (22,), (), "drop", id="all protocols, drop"),
    pytest.param("block[port=nonesuch-service]", (), ("tcp",), "reject", id="unknown port is all ports"),
]


@pytest.mark.parametrize(("action", "ports", "protocols", "verdict"), RULES)
def test_rule(tree, action, ports, protocols, verdict):
    """What sipguard's own firewall rejects in place of the jail's actions."""
    put(tree, "action.d/block-allports.conf", FILES["action.d/block.conf"])
    put(tree, "jail.local", f"[demo]\naction = {action}\n")
    rule = read_tree(tree).jails[0].rule
    assert rule.ports == tuple(PortRange(port, port) for port in ports)
    if ports:
        assert rule.protocols == protocols
    assert rule.verdict == verdict


BAD = [
    pytest.param("filter = demmo", "there is no filter 'demmo'", "jail.local:3", id="unknown filter"),
    pytest.param("filter = demo[mode", "expected key=value", "jail.local:3", id="broken reference"),
    pytest.param("action = nonesuch", "there is no action 'nonesuch'", "jail.local:3", id="unknown action"),
    pytest.param("action = block\n  block", "two actions are named 'block'", "jail.local:3", id="action twice"),
    pytest.param("maxretry = many", "maxretry: 'many' is not a whole number", "jail.local:3", id="number"),
    pytest.param("findtime = soon", "findtime: ", "jail.local:3", id="time"),
    pytest.param("bantime.factor = x", "bantime.factor: ", "jail.local:3", id="factor"),
    pytest.param("usedns = perhaps", "usedns: ", "jail.local:3", id="usedns"),
    pytest.param("logpath = /var/log/a b", "head or tail", "jail.local:3", id="logpath"),
    pytest.param("ignorecache = max-count=1", "needs key=", "jail.local:3", id="ignorecache"),
    pytest.param("logpath = %(nothing)s", "%(nothing)s", "jail.local:3", id="interpolation"),
    pytest.param("enabled = %(nothing)s", "%(nothing)s", "jail.local:3", id="interpolation in enabled"),
]


@pytest.mark.parametrize(("line", "what", "where"), BAD)
def test_a_bad_jail_leaves_the_others(tree, line, what, where):
    """One error with its place, and the other jail is there."""
    text = f"[bad]\nfilter = demo\n{line}\n" if "filter" not in line else f"[bad]\n\n{line}\n"
    put(tree, "jail.local", text if "enabled" in line else f"{text}enabled = true\n")
    whole = read_tree(tree)
    assert [jail.name for jail in whole.jails] == ["demo"]
    (error,) = whole.errors
    assert str(error).startswith(f"{tree}/{where}: jail bad: ")
    assert what in error.what
    assert "\n" not in str(error)


def test_missing_includes_are_notes(tree):
    """Fail2ban passes over a missing include; so does the tree, and says so."""
    put(tree, "filter.d/demo.conf", "[INCLUDES]\nbefore = gone.conf\n[Definition]\nfailregex = <HOST>\n")
    (note,) = read_tree(tree).jails[0].notes
    assert "gone.conf, which does not exist" in note
    assert f"{tree}/filter.d/demo.conf:2" in note


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        pytest.param("jail.local", "[a]\n[a]\n", "occurs twice", id="jail.local cannot be parsed"),
        pytest.param("fail2ban.conf", "[Definition]\ndbpurgeage = soon\n", "dbpurgeage", id="fail2ban.conf"),
    ],
)
def test_errors_of_the_whole(tree, name, text, what):
    """What concerns all jails is raised."""
    put(tree, name, text)
    with pytest.raises(ConfigError, match=what):
        read_tree(tree)


def test_no_tree(tmp_path):
    """An empty directory is no tree."""
    with pytest.raises(ConfigError, match=r"no jail\.conf"):
        read_tree(tmp_path)


FIREWALLS = [
    "iptables-multiport",
    "iptables-ipset-proto6",
    "nftables-allports",
    "firewallcmd-rich-rules",
    "ufw",
    "shorewall",
    "route",
]
OTHERS = ["sendmail-whois-lines", "abuseipdb", "dummy", "cloudflare", "dshield", "mail-whois"]


@pytest.mark.fail2ban
@pytest.mark.parametrize("name", FIREWALLS + OTHERS)
def test_replaced(name):
    """Which of the package's actions sipguard's own firewall stands in for."""
    (action,) = read_actions(name, "", "demo", {}, Path("/etc/fail2ban/action.d"))
    assert role_of(action).replaced is (name in FIREWALLS)
