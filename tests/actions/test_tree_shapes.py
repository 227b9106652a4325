"""The shapes of public trees: what Fail2ban runs there, what sipguard runs, and no difference without a word in `check`.

The actions are our own, after what mail, web and PBX installers have: several commands in one action, chains of their own,
remote commands, messages that name a firewall, lists in files. For each the installed Fail2ban says what it would run.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
import stock

from sipguard.fail2ban.actions import command_action
from sipguard.fail2ban.config.actions import read_actions
from sipguard.fail2ban.config.role import role_of
from sipguard.fail2ban.config.to_settings import load_tree

REPLACED, BOTH, RUNS = "replaced", "runs, and sipguard rejects", "runs, and nobody is rejected"

OWN_CHAIN = """
actionstart = iptables -N pbx; iptables -A pbx -j RETURN
              iptables -I INPUT -p <protocol> -m multiport --dports <port> -j pbx
actionstop = iptables -D INPUT -p <protocol> -m multiport --dports <port> -j pbx
             iptables -F pbx; iptables -X pbx
actioncheck = iptables -n -L INPUT | grep -q 'pbx[ \\t]'
actionban = iptables -I pbx 1 -s <ip> -j DROP
actionunban = iptables -D pbx -s <ip> -j DROP"""
TWO_CHAINS = """
actionban = iptables -I INPUT -s <ip> -j DROP && iptables -I FORWARD -s <ip> -j DROP
actionunban = iptables -D INPUT -s <ip> -j DROP; iptables -D FORWARD -s <ip> -j DROP"""
CONDITION = """
actionban = if [ "$(iptables -L INPUT -n | grep -c '<ip> ')" -eq 0 ]; then
              /sbin/iptables -w -I INPUT -s <ip> -j REJECT
            fi
actionunban = /sbin/iptables -w -D INPUT -s <ip> -j REJECT || true"""
CLOUD = """
actionban = iptables -I INPUT -s <ip> -j DROP
            curl -s -X POST -d '{"target":"ip","value":"<ip>"}' https://cloud.example.com/firewall/rules
actionunban = iptables -D INPUT -s <ip> -j DROP"""
SET = """
actionstart = ipset -exist create blocked hash:ip
              iptables -C INPUT -m set --match-set blocked src -j DROP || iptables -I INPUT -m set --match-set blocked src -j DROP
actionban = ipset -exist add blocked <ip>
actionunban = ipset -exist del blocked <ip>"""
LIST = """
actionban = echo "<ip> # <name>" >> /srv/lists/blacklist.txt
actionunban = sed -i '/^<ip> /d' /srv/lists/blacklist.txt"""
THROTTLE = """
actionban = iptables -I INPUT -s <ip> -m hashlimit --hashlimit-above 5/sec --hashlimit-name x -j DROP
actionunban = iptables -D INPUT -s <ip> -m hashlimit --hashlimit-above 5/sec --hashlimit-name x -j DROP"""
NGINX = """
actionban = printf 'deny %%s;\\n' <ip> >> /srv/www/deny.conf; nginx -t && systemctl reload nginx
actionunban = sed -i '/^deny <ip>;$/d' /srv/www/deny.conf; nginx -t && systemctl reload nginx"""
TELEGRAM = "\nactionban = curl -s -d 'chat_id=1' -d 'text=<ip> was put into iptables (<name>)' https://api.example.com/sendMessage"
SHAPES = {
    "a chain of its own": (OWN_CHAIN, REPLACED, ("5070", "udp")),
    "two chains": (TWO_CHAINS, REPLACED, ("", "")),
    "a condition": (CONDITION, REPLACED, ("", "")),
    "sudo": ("\nactionban = sudo -n iptables -A INPUT -s <ip> -j DROP", REPLACED, ("", "")),
    "an inner shell": ("\nactionban = sh -c 'iptables -A INPUT -s <ip> -j DROP 2>/dev/null'", REPLACED, ("", "")),
    "a set of its own": (SET, REPLACED, ("", "")),
    "a set of the operator's": ("\nactionban = ipset add -exist blacklist <ip>", REPLACED, ("", "")),
    "a zone": ("\nactionban = firewall-cmd --zone=drop --add-source=<ip>", REPLACED, ("", "")),
    "by firewalld": ("\nactionban = firewall-cmd --direct --passthrough ipv4 -I INPUT -s <ip> -j DROP", REPLACED, ("", "")),
    "ufw": ("\nactionban = ufw insert 1 deny from <ip> to any", REPLACED, ("", "")),
    "csf": ("\nactionban = csf -td <ip> 600 <name>\nactionunban = csf -tr <ip>", REPLACED, ("", "")),
    "shorewall": ("\nactionban = shorewall drop <ip>\nactionunban = shorewall allow <ip>", REPLACED, ("", "")),
    "a route": ("\nactionban = ip route add blackhole <ip>\nactionunban = ip route del blackhole <ip>", REPLACED, ("", "")),
    "nft": ("\nactionban = nft add element inet filter blocked '{ <ip> }'", REPLACED, ("", "")),
    "hosts.deny": ("\nactionban = printf 'ALL: <ip>\\n' >> /etc/hosts.deny", REPLACED, ("", "")),
    "a tag that nobody gives": ("\nactionban = iptables -I INPUT -p udp --dport <nothing> -s <ip> -j DROP", REPLACED, None),
    "the firewall and the cloud": (CLOUD, BOTH, ("", "")),
    "the firewall and a message": (OWN_CHAIN + "\n              logger 'banned <ip>'", BOTH, ("5070", "udp")),
    "a script with a blocktype": ("\nactionban = /srv/bin/block <blocktype> <ip>\n[Init]\nblocktype = DROP", BOTH, ("", "")),
    "a here-document": ("\nactionban = nft -f - <<END\n  add rule ip f c ip saddr <ip> drop\n  END", BOTH, None),
    "a message that names a firewall": (TELEGRAM, RUNS, None),
    "a mail": ("\nactionban = printf 'iptables bans <ip>' | mail -s '<name>: nft' root", RUNS, None),
    "a URL with a firewall's word": ("\nactionban = curl -s https://example.com/api/route/<ip>/ufw", RUNS, None),
    "another host's firewall": ("\nactionban = ssh router.example.com pfctl -t blocked -T add <ip>", RUNS, None),
    "another host's, in quotes": ("\nactionban = ssh router.example.com 'iptables -I INPUT -s <ip> -j DROP'", RUNS, None),
    "a container": ("\nactionban = docker exec edge iptables -I INPUT -s <ip> -j DROP", RUNS, None),
    "what a proxy says": (
        "\nactionban = iptables -I DOCKER-USER -m string --algo bm --string 'X-Forwarded-For: <ip>' -j DROP", RUNS, None,
    ),
    "a list in a file": (LIST, RUNS, None),
    "the web server": (NGINX, RUNS, None),
    "a map of postfix": ("\nactionban = echo '<ip> REJECT' >> /srv/clients; postmap /srv/clients", RUNS, None),
    "slower, not shut out": (THROTTLE, RUNS, None),
    "let in": ("\nactionban = iptables -I INPUT -s <ip> -p tcp --dport 22 -j ACCEPT", RUNS, None),
    "let in by a set": ("\nactionban = ipset add allowed <ip>", RUNS, None),
    "to another port": ("\nactionban = iptables -t nat -I PREROUTING -s <ip> -p tcp -j REDIRECT --to-ports 2222", RUNS, None),
    "a question": ("\nactionban = ipset test friends <ip> || curl https://example.com/told/<ip>", RUNS, None),
    "a script": ("\nactionban = /srv/bin/ban.sh <ip> <name>", RUNS, None),
    "only a log line": ("\nactionban = iptables -I INPUT -s <ip> -j LOG --log-prefix 'bad '", RUNS, None),
    "outgoing": ("\nactionban = iptables -I OUTPUT -d <ip> -j DROP", RUNS, None),
}  # fmt: skip
OPTIONS = {"name": "sip", "port": "5070", "protocol": "udp"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree with an action file and a jail for each shape, and a jail whose regex is broken."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("action.d", "filter.d"):
        (folder / name).mkdir()
    (folder / "filter.d" / "demo.conf").write_text("[Definition]\nfailregex = ^bad <HOST>$\n")
    (folder / "log").touch()
    jails = f"[DEFAULT]\nenabled = yes\nfilter = demo\nlogpath = {folder}/log\n"
    given = ", ".join(f'{key}="{value}"' for key, value in OPTIONS.items())
    for number, (text, _, _) in enumerate(SHAPES.values()):
        (folder / "action.d" / f"own{number}.conf").write_text(f"[Definition]{text}\n")
        jails += f"[jail{number}]\naction = own{number}[{given}]\n"
    jails += "[broken]\nfailregex = ^bad (<HOST>$\n"
    (folder / "jail.conf").write_text(jails)
    (folder / "fail2ban.conf").write_text(f"[Definition]\ndbfile = {folder}/f.sqlite3\n")
    return folder


def case(tree, number):
    """One life of an action, as Fail2ban's driver and sipguard's own run it."""
    tickets = [
        {"ip": ip, "time": stock.NOW, "bantime": 600, "matches": ["a line"], "data": {}, "restored": False}
        for ip in ("203.0.113.7", "203.0.113.8")
    ]
    return {
        "file": f"own{number}",
        "options": OPTIONS,
        "tree": str(tree),
        "jail": "sip",
        "tickets": tickets,
        "failing": (),
    }


@pytest.mark.parametrize("name", SHAPES)
def test_role(name, tree):
    """Replaced only what does local firewall work alone; and as wide as the action's own rules."""
    number = list(SHAPES).index(name)
    _, expected, reach = SHAPES[name]
    (jail,) = [jail for jail in load_tree(tree).jails if jail.name == f"jail{number}"]
    (action,) = jail.actions
    role = role_of(action)
    assert (REPLACED if role.replaced else BOTH if role.rejects else RUNS) == expected, role.why
    assert jail.enforced is (expected != RUNS)
    if reach is not None:
        assert (" ".join(str(port) for port in jail.rule.ports), " ".join(jail.rule.protocols)) == reach


@pytest.mark.fail2ban
def test_what_fail2ban_runs(tree, monkeypatch):
    """Command for command the same, but for the replaced ones; and `check` has a word on each of them."""

    async def host_of(_address):
        return None

    monkeypatch.setattr(command_action, "host_of", host_of)
    cases = [case(tree, number) for number in range(len(SHAPES))]
    question = json.dumps({"host": None, "now": stock.NOW, "cases": cases})
    done = subprocess.run([stock.PYTHON, stock.DRIVER], input=question, capture_output=True, text=True, check=True)
    told = subprocess.run(
        [sys.executable, "-m", "sipguard", "check", "--json", "--fail2ban-dir", tree],
        capture_output=True,
        text=True,
        check=False,
    )
    jails = {jail["jail"]: jail for jail in json.loads(told.stdout)["jails"]}
    for number, (name, theirs) in enumerate(zip(SHAPES, json.loads(done.stdout), strict=True)):
        own = asyncio.run(stock.run(cases[number], stock.Recording()))
        (action,) = jails[f"jail{number}"]["actions"]
        assert "refused" not in theirs, name
        assert sum(map(len, theirs.values())), name
        assert action["why"], name
        if not action["replaced"]:
            assert own == theirs, name
    assert told.returncode == 2  # the broken regex, which hides none of the others
    assert "jail broken" in told.stderr


@pytest.mark.parametrize(
    ("own", "told"),
    [("", True), ("[firewall]\nbackend = 'nftables'\n", False), ("[firewall]\nhooks = ['FORWARD']\n", False)],
)
def test_forwarded_packets(own, told, tree):
    """An action that protects the hosts behind this one: two of the firewalls must be told to, which a warning says."""
    file = tree / "sipguard.toml"
    file.write_text(own)
    numbers = [number for number, (text, _, _) in enumerate(SHAPES.values()) if "FORWARD" in text]
    expected = [f"jail jail{number}: own{number}-sip rejects forwarded packets too;" for number in numbers if told]
    found = [warning for warning in load_tree(tree, file).warnings if "forwarded" in warning]
    assert [warning.partition(";")[0] + ";" for warning in found] == expected
    assert len(numbers) == 1


def test_a_broken_text_is_run(tmp_path):
    """What cannot be read to its end is not replaced: Fail2ban would run it."""
    for number, text in enumerate(
        ["iptables -I INPUT -s <ip> -j DROP '", "x=$(iptables -s <ip>", "f() { csf -d $1; }; f <ip>"]
    ):
        (tmp_path / f"a{number}.conf").write_text(f"[Definition]\nactionban = {text}\n")
        (action,) = read_actions(f"a{number}", "", "demo", {}, tmp_path)
        assert not role_of(action).replaced, text
