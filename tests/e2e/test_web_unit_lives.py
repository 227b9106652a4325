"""The page under a real systemd, as the package installs it: closed, and working all the same."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.timeout(900)

PYTHON = "/usr/lib/sipguard/bin/python -I"
VISITOR = r"""
import http.client, json, re, sys
def ask(method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", 8470, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer, answer.read().decode()
answer, text = ask("GET", "/login")
csrf = re.search('name="csrf" value="([^"]+)"', text)[1]
form = f"csrf={csrf}&token={sys.argv[1]}"
cookie = answer.headers["set-cookie"].partition(";")[0]
here = {"Origin": "http://127.0.0.1:8470"}
answer, _ = ask("POST", "/login", form, Cookie=cookie, **here)
cookie = answer.headers["set-cookie"].partition(";")[0]
_, text = ask("GET", "/", Cookie=cookie)
csrf = re.search('name="csrf" content="([^"]*)"', text)[1]
said = json.dumps({"address": "203.0.113.7", "jail": "freeswitch", "time": "1h"})
kind = {"Content-Type": "application/json", "X-CSRF-Token": csrf}
answer, text = ask("POST", "/api/ban", said, Cookie=cookie, **here, **kind)
print("ban", answer.status)
answer, text = ask("GET", "/api/bans", Cookie=cookie)
print("bans", answer.status, [ban["address"] for ban in json.loads(text).get("bans", [])])
answer, text = ask("GET", "/api/advice", Cookie=cookie)
print("advice", answer.status)
"""


def test_the_page_lives(packages, machine):
    """It may ask when the group is named, shows alone, and bans with `--write`; exposure as the unit's file promises."""
    machine.take(*packages)
    machine.run("apt-get install -y --no-install-recommends /srv/sipguard_*.deb")
    machine.run("mkdir -p /var/log/freeswitch; touch /var/log/freeswitch/freeswitch.log")
    machine.run("echo 'enabled = true' > /etc/sipguard/jails.d/freeswitch.toml; systemctl restart sipguard")
    machine.run(f"cat > /root/visitor.py <<'END'\n{VISITOR}END\n")
    machine.run("systemctl is-active sipguard-web", status=3)
    machine.run("systemctl start sipguard-web")
    token = machine.run("sipguard web token").strip()
    visit = f"{PYTHON} /root/visitor.py {token}"
    machine.until(f"{visit} >/dev/null 2>&1")
    assert machine.run(visit).splitlines() == ["ban 403", "bans 503 []", "advice 503"]

    machine.run(
        "sed -i '1i read_socket_group = \"sipguard-web\"' /etc/sipguard/sipguard.toml; systemctl restart sipguard"
    )
    machine.run("sipguard ban 203.0.113.6 --jail freeswitch")
    assert machine.run(visit).splitlines() == ["ban 403", "bans 200 ['203.0.113.6']", "advice 200"]
    process = machine.run("cat /proc/$(systemctl show -p MainPID --value sipguard-web)/status")
    for line in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{line}:\t0000000000000000\n" in process
    assert "NoNewPrivs:\t1\n" in process
    assert "Seccomp:\t2\n" in process
    told = machine.run("systemd-analyze security sipguard-web --no-pager | tail -n 1")
    assert float(re.search(r"level for sipguard-web.service: ([\d.]+)", told)[1]) <= 1.5

    machine.run("echo 'SIPGUARD_WEB=--write' > /etc/default/sipguard-web; systemctl restart sipguard-web")
    machine.until(f"{visit} | grep -q 'ban 503'")  # the other socket is not its to use yet
    machine.run("mkdir -p /etc/systemd/system/sipguard-web.service.d")
    machine.run(
        "printf '[Service]\\nSupplementaryGroups=sipguard\\n' > /etc/systemd/system/sipguard-web.service.d/write.conf"
    )
    machine.run("systemctl daemon-reload; systemctl restart sipguard-web")
    machine.until(f"{visit} | grep -q 'ban 200'")
    assert "203.0.113.7 counter" in machine.run("nft list ruleset")
    journal = machine.run("journalctl -u sipguard-web")
    assert "the page bans 203.0.113.7" in journal
    assert "Traceback" not in journal
