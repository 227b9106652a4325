"""A real Asterisk tells its events, to a user made as docs/events.md says: each guess counts, and nobody else is accused."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import threading
import time
import tomllib
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab.lab import ATTACKER, EXTENSION, PBX, SUITES, Lab, LabUnavailableError
from limits import within
from needs import needs
from running import ROOT, running

pytestmark = pytest.mark.timeout(900)

VICTIM = "192.0.2.99"
DOCS = (ROOT / "docs/events.md").read_text().split("## Asterisk")[1].split("## What counts")[0]
MANAGER = re.search(r"```ini\n(.*?)```", DOCS, re.S)[1]
JAIL = tomllib.loads(re.search(r"```toml\n(.*?)```", DOCS, re.S)[1])
SECRET = re.search(r"^secret = (.*)$", MANAGER, re.M)[1]
OTHER_USERS = """
[blind]
secret = a long random text
read = system
[shut]
secret = a long random text
read = security
deny = 0.0.0.0/0.0.0.0
"""
CLIENT = r"""
import json, re, socket, sys
for port, first, second in json.load(sys.stdin):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(4)
        sock.connect((sys.argv[1], port))
        sock.send(first.replace("PORT", str(sock.getsockname()[1])).encode("latin-1"))
        answer = sock.recv(65535).decode("latin-1")
        if second:
            nonce = re.search('nonce="([^"]*)"', answer)[1]
            text = second.replace("NONCE", nonce).replace("PORT", str(sock.getsockname()[1]))
            sock.send(text.encode("latin-1"))
            answer = sock.recv(65535).decode("latin-1")
        print(answer.split()[1])
"""


@pytest.fixture(scope="module", params=list(SUITES))
@needs("root", "lab")
def pbx(request):
    """One Asterisk of each suite with the manager interface of the docs."""
    try:
        with Lab(request.param, files={"manager.conf": MANAGER + OTHER_USERS}) as lab:
            yield lab
    except LabUnavailableError as reason:
        pytest.skip(str(reason))


@contextmanager
def listening(lab, folder, user="sipguard", **more):
    """sipguard at the PBX, with the jail of the docs."""
    password = folder / "password"
    password.write_text(SECRET + "\n")
    password.chmod(0o600)
    jail = {**JAIL, "events_password_file": str(password), "maxretry": 10_000, **more}
    jail["events"] = jail["events"].replace("sipguard@", f"{user}@")
    with running(folder, {"asterisk": jail}, prefix=lab.command("pbx")) as daemon:
        if user == "sipguard":
            daemon.wait_for(lambda: daemon.status("asterisk")["events"]["speaks"], "events")
        yield daemon


def send(lab, *packets, host="atk"):
    """Each packet, or pair of packets, by a socket of its own; gives the status codes of the last answers."""
    rows = [(5060, one, "") if isinstance(one, str) else one for one in packets]
    command = lab.command(host, sys.executable, "-c", CLIENT, PBX)
    done = subprocess.run(command, input=json.dumps(rows), capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.split()


def packet(user=EXTENSION, call_id="", method="REGISTER", via="", nonce="1/a", response="", credentials=True):
    """A request; with credentials on a nonce of one's own, which Asterisk judges (docs/wire.md)."""
    digest = (
        f'Authorization: Digest username="{EXTENSION}", realm="asterisk", nonce="{nonce}", uri="sip:{PBX}", '
        f'response="{response or secrets.token_hex(16)}"\r\n'
    )
    to = user if method == "REGISTER" else "900"
    return (
        f"{method} sip:{PBX} SIP/2.0\r\nVia: SIP/2.0/UDP {ATTACKER}:PORT;rport;branch=z9hG4bK{secrets.token_hex(6)}{via}\r\n"
        f"From: <sip:{user}@{PBX}>;tag=a\r\nTo: <sip:{to}@{PBX}>\r\nCall-ID: {call_id or secrets.token_hex(8)}\r\n"
        f"CSeq: 1 {method}\r\nContact: <sip:a@{ATTACKER}:PORT>\r\nMax-Forwards: 70\r\n{digest if credentials else ''}"
        "Content-Length: 0\r\n\r\n"
    )


def found(daemon):
    """Address → attempts that count."""
    return Counter(re.findall(r"Found (\S+) - ", daemon.logged()))


def counted(daemon, expected, before=None):
    """Wait until so many more attempts are counted, all of the attacker's."""
    before = before or Counter()
    daemon.wait_for(lambda: found(daemon)[ATTACKER] - before[ATTACKER] >= expected, f"{expected} attempts")
    time.sleep(1)
    assert found(daemon) - before == Counter({ATTACKER: expected} if expected else {}), daemon.logged()[-3000:]


def escaped(text):
    """As the user of a URI (RFC 3261, 25.1)."""
    return "".join(f"%{ord(one):02x}" for one in text)


def test_guesses_and_successes_are_seen(pbx, tmp_path):
    """REGISTER and INVITE, of known and unknown accounts; the phone's registrations are successes."""
    with listening(pbx, tmp_path) as daemon:
        assert pbx.guess(5) == ["401"] * 5
        assert pbx.guess(3, user="nobody") == ["401"] * 3
        assert send(pbx, *[packet(method="INVITE") for _ in range(6)]) == ["401"] * 6
        counted(daemon, 14)
        assert pbx.register() == "200"
        daemon.wait_for(lambda: daemon.status("asterisk")["totals"]["successes"] >= 1)
        assert daemon.status("asterisk")["events"]["tampered"] == 0
        assert SECRET not in daemon.logged() + daemon.sipguard("status", "asterisk", "--json").stdout


FORGED = f"RemoteAddress: IPV4/UDP/{VICTIM}/1"
EVENT = (
    "Event: ChallengeResponseFailed\r\nPrivilege: security,all\r\nEventTV: 2026-11-28T07:58:21.836+0000\r\n"
    "Severity: Error\r\nService: PJSIP\r\nEventVersion: 1\r\nAccountID: 1000\r\nSessionID: a\r\n"
    f"LocalAddress: IPV4/UDP/{PBX}/5060\r\n{FORGED}\r\nChallenge: a\r\nResponse: b\r\nExpectedResponse: \r\n\r\n"
)
TEXTS = [
    f"a\r\n{FORGED}", f"a\r\n\r\n{FORGED}", f"a\r\n\r\n{EVENT}", "1000\r\n\r\n", "a\r\n", "a\r\n\r\nb\r\n\r\nc", f"a\r{FORGED}",
    f"a\n{FORGED}", f'a"{FORGED}"', f"a'{FORGED}", f"\x1b[2J{FORGED}", "x" * 8000, "Response: Error\r\n\r\n", "a\r\r\n\n\r\nb",
]  # fmt: skip


def test_nothing_that_a_caller_writes_accuses_another_or_hides_a_guess(pbx, tmp_path):
    """Hostile names and Call-IDs, each behind a guess and before one: every guess counts, and nobody else's."""
    odd = [f'a"{FORGED}', f"\x1b[2J{FORGED}", escaped(f"a\r\n\r\n{EVENT}"), f"a'{FORGED}", "c" * 8000]
    hostile = [
        *[packet(escaped(text), method=method) for text in TEXTS for method in ("REGISTER", "INVITE")],
        *[packet(call_id=text, method=method) for text in odd for method in ("REGISTER", "INVITE")],
        packet(nonce=f"a\r{FORGED}"), packet(nonce=escaped(EVENT)), packet(response="y" * 3000),
        packet(call_id=f"\x1b{FORGED}", nonce=f"\x1b{FORGED}", response=f"\x1b{FORGED}"),
    ]  # fmt: skip
    with listening(pbx, tmp_path) as daemon:
        assert send(pbx, *[one for two in hostile for one in (two, packet())]) == ["401"] * (2 * len(hostile))
        counted(daemon, 2 * len(hostile))
        names = [packet(escaped(text), credentials=False) for text in TEXTS]
        assert send(pbx, *[one for two in names for one in (two, packet())]) == ["401"] * (2 * len(names))
        daemon.wait_for(lambda: found(daemon)[ATTACKER] >= 2 * len(hostile) + len(names))
        time.sleep(1)
        assert set(found(daemon)) == {ATTACKER}
        assert daemon.status("asterisk")["events"]["tampered"] > 0


@pytest.mark.parametrize(("user", "said"), [("blind", "write read = security"), ("shut", "an ACL of manager.conf")])
def test_who_may_not_listen_is_told_so(pbx, tmp_path, user, said):
    """A user without the right, and one whose ACL refuses this host: one line, and the log speaks."""
    with listening(pbx, tmp_path, user, logpath=str(pbx.log("security"))) as daemon:
        daemon.wait_for(lambda: said in (daemon.status("asterisk")["events"]["problem"] or ""), said)
        assert said in daemon.sipguard("status", "asterisk").stdout
        before = found(daemon)  # what other tests have left in the log
        pbx.guess(3)
        counted(daemon, 3, before)
        assert SECRET not in daemon.logged()


@pytest.mark.timed
def test_killed_and_back_under_load(pbx, tmp_path):
    """Asterisk dies and comes back while guesses arrive: connected within 5 s, the gap is told, nothing counts twice."""
    with listening(pbx, tmp_path) as daemon:
        answers, stop = [], threading.Event()

        def load():
            while not stop.is_set():
                answers.extend(pbx.guess(1))

        thread = threading.Thread(target=load)
        thread.start()
        time.sleep(2)
        pbx.kill()
        daemon.wait_for(lambda: not daemon.status("asterisk")["events"]["speaks"], "the end")
        pbx.start_again()
        begun = time.monotonic()
        daemon.wait_for(lambda: daemon.status("asterisk")["events"]["speaks"], "events")
        assert time.monotonic() - begun < within(5)
        time.sleep(2)
        stop.set()
        thread.join()
        pbx.guess(3)
        time.sleep(1)
        assert "they were gone for" in daemon.logged()
        total = found(daemon)[ATTACKER]
        told = answers.count("401") + 3
        assert 3 < total <= told, (total, answers)


def guess_of_chan_sip(via, method="REGISTER"):
    """One wrong password for chan_sip's account, on the nonce that it has sent."""
    first = packet("2000", call_id=(call := secrets.token_hex(8)), method=method, via=via, credentials=False)
    second = packet("2000", call_id=call, method=method, via=via, nonce="NONCE").replace("CSeq: 1", "CSeq: 2")
    return (5062, first, second.replace(f'username="{EXTENSION}"', 'username="2000"'))


@pytest.mark.parametrize("with_log", [False, True])
def test_chan_sip_is_believed_in_the_log_alone(pbx, tmp_path, with_log):
    """Its events name whom the caller's Via names, even where the challenge reached the caller: they count for nothing.

    The log's lines of REGISTER name the packet's source: with `channels=sip` each counts. INVITE's name no address at all.
    """
    if pbx.suite != "bullseye":
        pytest.skip("Asterisk 22 has no chan_sip")
    log = {"filter": "asterisk[channels=sip]", "logpath": str(pbx.log("messages"))} if with_log else {}
    with listening(pbx, tmp_path, **log) as daemon:
        time.sleep(2)
        before_log = found(daemon)
        before = daemon.status("asterisk")["events"]["events"]
        guesses = [guess_of_chan_sip(via) for _ in range(4) for via in ("", f";maddr={VICTIM}")]
        calls = [guess_of_chan_sip(via, "INVITE") for via in ("", f";maddr={VICTIM}")]
        assert send(pbx, *guesses, *calls) == ["403"] * (len(guesses) + len(calls))
        daemon.wait_for(lambda: daemon.status("asterisk")["events"]["events"] >= before + 2 * len(guesses))
        assert VICTIM in told_by_events(pbx), "nothing was forged"
        counted(daemon, len(guesses) if with_log else 0, before_log)


def told_by_events(lab):
    """The log of security events has the same fields as the events."""
    lab.settle()
    return Path(lab.log("security")).read_text(errors="replace")
