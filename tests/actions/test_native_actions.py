"""Webhook, mail and exec against servers of our own: content, signature, retries, digest, and what may not be shown."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from mail_server import MailServer, free_port

from sipguard.actions.base import ActionError, Notice
from sipguard.actions.command import Runner
from sipguard.actions.exec import Exec
from sipguard.actions.mail import Mail
from sipguard.actions.pool import Lane, finish
from sipguard.actions.ticket import JailFacts, Ticket, blank
from sipguard.actions.webhook import Webhook
from sipguard.config.action_tables import action_tables
from sipguard.model import FOREVER, Ban

NOW = 1_700_000_000.0
SIP = JailFacts("sip", 600.0)
HOSTILE = 'user "$(x)" \r\nBcc: ops@example.com\r\n\r\n.\r\n&ip=192.0.2.1 \x1b[31m é </p>'


def ban(address="203.0.113.7", verb="ban", until=NOW + 600):
    """Something to tell."""
    data = {"user": HOSTILE}
    return Notice(verb, Ticket(Ban(address, "sip", NOW, until, 5, reason="5 failures"), SIP, (HOSTILE, "second"), data))


def action(**table):
    """An action as the configuration reader gives it."""
    (found,) = action_tables([table])
    return found


def tell(worker, *notices):
    """Have a worker handle notices; the error's text, or None."""

    async def run():
        try:
            await worker.handle(notices)
        except ActionError as error:
            return str(error)
        finally:
            await worker.close()
        return None

    return asyncio.run(run())


class WebServer:
    """Keeps the requests that it gets, and answers as it is told: one status after the other, the last one for ever."""

    def __init__(self):
        self.requests = []
        self.answers = [200]
        self.headers = {}
        self.delay = 0.0
        keeper = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                keeper.requests.append((self.path, self.headers, body))
                time.sleep(keeper.delay)
                self.send_response(keeper.answers.pop(0) if len(keeper.answers) > 1 else keeper.answers[0])
                for name, value in keeper.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Nothing on standard error."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def web():
    server = WebServer()
    yield server
    server.stop()


def webhook(url, **options):
    """A webhook that does not wait long between tries."""
    return Webhook(action(type="webhook", url=url, **options), clock=lambda: NOW, first_pause=0.01)


def test_webhook_json(web):
    """All of the ban, as JSON."""
    assert tell(webhook(f"{web.url}/hook"), ban()) is None
    ((path, headers, body),) = web.requests
    content = json.loads(body)
    host = content.pop("host")
    assert host
    assert path == "/hook"
    assert headers["Content-Type"] == "application/json"
    assert content == {
        "event": "ban",
        "jail": "sip",
        "address": "203.0.113.7",
        "family": "inet4",
        "since": "2023-11-14T22:13:20+00:00",
        "until": "2023-11-14T22:23:20+00:00",
        "bantime": 600.0,
        "attempts": 5,
        "count": 1,
        "reason": "5 failures",
        "user": HOSTILE,
        "lines": [HOSTILE, "second"],
    }


def test_webhook_for_ever(web):
    """A ban without end has null for it: JSON knows no infinity."""
    assert tell(webhook(web.url), ban(until=FOREVER)) is None
    content = json.loads(web.requests[0][2])
    assert content["until"] is content["bantime"] is None


def test_webhook_signature(web):
    """The signature covers time and body."""
    assert tell(webhook(web.url, secret="s3cret"), ban()) is None
    ((_, headers, body),) = web.requests
    signed = hmac.new(b"s3cret", headers["X-Sipguard-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Sipguard-Signature"] == f"sha256={signed}"
    assert headers["X-Sipguard-Timestamp"] == "1700000000"


REPORTS = {
    "abuseipdb": (
        {
            "format": "form",
            "headers": {"Key": "k3y", "Accept": "application/json"},
            "fields": {"ip": "<ip>", "categories": "18,22", "comment": "<matches>"},
        },
        {"ip": ["203.0.113.7"], "categories": ["18,22"], "comment": [f"{HOSTILE}\nsecond"]},
    ),
    "blocklist.de": (
        {
            "format": "form",
            "fields": {
                "server": "ops@example.com",
                "apikey": "k3y",
                "service": "sip",
                "ip": "<ip>",
                "logs": "<matches>",
            },
        },
        {"server": ["ops@example.com"], "apikey": ["k3y"], "service": ["sip"], "ip": ["203.0.113.7"]}
        | {"logs": [f"{HOSTILE}\nsecond"]},
    ),
}


@pytest.mark.parametrize(("options", "expected"), REPORTS.values(), ids=REPORTS)
def test_webhook_report(web, options, expected):
    """Reports are settings; what an attacker wrote stays within its field."""
    assert tell(webhook(web.url, **options), ban()) is None
    ((_, headers, body),) = web.requests
    assert parse_qs(body.decode()) == expected
    assert all(headers[name] == value for name, value in options.get("headers", {}).items())


def test_webhook_nested_json(web):
    """Fields may be tables within tables."""
    fields = {"text": "<ip>: <F-USER>", "deep": {"count": 3, "why": "<failures> in <name>"}}
    assert tell(webhook(web.url, fields=fields), ban()) is None
    assert json.loads(web.requests[0][2]) == {
        "text": f"203.0.113.7: {HOSTILE}",
        "deep": {"count": 3, "why": "5 in <name>"},
    }


RETRIES = {
    "once": ([200], 1, None),
    "busy, then right": ([503, 429, 200], 3, None),
    "always broken": ([500], 4, "it answers 500 after 4 tries"),
    "refused": ([403], 1, "it answers 403"),
    "elsewhere": ([302], 1, "it answers 302"),
}


@pytest.mark.parametrize(("answers", "count", "error"), RETRIES.values(), ids=RETRIES)
def test_webhook_retries(web, answers, count, error):
    """What may pass by itself is tried again, with the same delivery; the rest is not."""
    web.answers = answers
    found = tell(webhook(f"{web.url}/t0ken", retries=3), ban())
    assert len(web.requests) == count
    assert len({headers["X-Sipguard-Delivery"] for _, headers, _ in web.requests}) == 1
    assert found is error is None or found.endswith(error)
    assert "t0ken" not in str(found)


def test_webhook_pauses_grow(web, monkeypatch):
    """Each pause is twice the one before; a server may ask for a longer one."""
    pauses = []
    sleep = asyncio.sleep

    async def noted(seconds, *_):
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr("sipguard.actions.webhook.asyncio.sleep", noted)
    web.answers = [500]
    tell(Webhook(action(type="webhook", url=web.url), clock=lambda: NOW), ban())
    web.headers = {"Retry-After": "7"}
    tell(Webhook(action(type="webhook", url=web.url, retries=1), clock=lambda: NOW), ban())
    assert [pause for pause in pauses if pause >= 1] == [1, 2, 4, 8, 16, 7]


def test_webhook_slow_and_absent(web):
    """A server that does not answer in time, or is not there, is an error on one line that does not show the address."""
    web.delay = 0.5
    found = tell(webhook(f"{web.url}/t0ken", timeout="0.1", retries=0), ban())
    assert found.startswith("ban 203.0.113.7 to 127.0.0.1")
    assert "Timeout" in found
    found = tell(webhook(f"http://127.0.0.1:{free_port()}/t0ken", retries=1), ban())
    assert "ConnectError" in found
    assert "t0ken" not in found


@pytest.mark.parametrize("verb", ["ban", "unban", "start", "stop", "flush", "check"])
def test_only_what_is_asked_for(web, verb):
    """`on` chooses."""
    notice = ban(verb=verb) if verb in ("ban", "unban") else Notice(verb, blank(SIP, NOW))
    assert tell(webhook(web.url, on=["unban", "start"]), notice) is None
    assert len(web.requests) == (verb in ("unban", "start"))


def mail(server, **options):
    """Mail to a server of ours."""
    host = options.pop("host", "127.0.0.1")
    options = {"to": "ops@example.com", "host": host, "port": server.port, "from": "ban@example.com", **options}
    return Mail(action(type="mail", **options), clock=lambda: NOW, first_pause=0.01)


def test_mail(mail_server):
    """One ban: who, how long, which lines; nothing that an attacker wrote becomes a header or ends the mail."""
    assert tell(mail(mail_server, to=["ops@example.com", "second@example.com"]), ban()) is None
    (found,) = mail_server.mails
    assert found["to"] == "ops@example.com, second@example.com"
    assert found["from"] == "ban@example.com"
    assert found["subject"].startswith("[sipguard] sip on ")
    assert found["subject"].endswith(": rejects 203.0.113.7")
    assert found["bcc"] is None
    text = found.get_content().replace("\r\n", "\n")
    assert text.startswith("203.0.113.7 is rejected for 10m since 2023-11-14T22:13:20+00:00: 5 failures\n")
    assert (
        '    user "$(x)" \\r\\nBcc: ops@example.com\\r\\n\\r\\n.\\r\\n&ip=192.0.2.1 \\x1b[31m é </p>\n    second'
        in text
    )
    (_, envelope) = mail_server.envelopes[0]
    assert envelope.rcpt_tos == ["ops@example.com", "second@example.com"]


def test_mail_digest(mail_server):
    """A burst makes one mail, with the first bans in full and every address."""
    worker = mail(mail_server)

    async def run():
        worker.linger = 1.0
        lane = Lane("[sip] Action mail", worker)
        for number in range(100):
            lane.put(ban(f"198.51.100.{number}"))
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            while lane.done < 100:
                await asyncio.sleep(0.02)
        sent = len(mail_server.mails)
        lane.put(ban("203.0.113.9"))
        await finish([lane], 60)
        return sent, lane.done

    assert asyncio.run(run()) == (1, 101)
    text = mail_server.mails[0].get_content()
    assert all(f"198.51.100.{number} is rejected" in text for number in range(100))
    assert text.count("    second") == 20
    assert mail_server.mails[0]["subject"].endswith("rejects 100 addresses")
    assert mail_server.mails[1]["subject"].endswith("rejects 203.0.113.9")


REFUSALS = {
    "for good": ("550 no such user here", 1, "550 no such user here"),
    "for now": ("451 try again", 3, "451 try again"),
}


@pytest.mark.parametrize(("answer", "tries", "error"), REFUSALS.values(), ids=REFUSALS)
def test_mail_refused(mail_server, answer, tries, error):
    """What may pass by itself is tried three times."""
    seen = []

    async def handle_data(_server, _session, _envelope):
        seen.append(1)
        return answer

    mail_server.handle_DATA = handle_data
    found = tell(mail(mail_server), ban())
    assert found == f"mail to ops@example.com through 127.0.0.1: {error}"
    assert len(seen) == tries


def test_mail_server_absent():
    """Nobody listens: an error, not an exception."""

    class Nobody:
        port = free_port()

    assert "Connection refused" in tell(mail(Nobody), ban())


@pytest.fixture
def tls_server(certificate):
    """Makes an SMTP server that wants STARTTLS and a login."""
    from aiosmtpd.smtp import AuthResult

    servers = []

    def check(_server, _session, _envelope, _mechanism, data):
        return AuthResult(success=(data.login, data.password) == (b"ban", b"p4ss"), handled=False)

    def make(**options):
        servers.append(
            MailServer(tls_context=certificate[0], authenticator=check, auth_required=True, **options).start()
        )
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


LOGINS = {
    "right": ({"user": "ban", "password": "p4ss"}, True, None),
    "wrong password": ({"user": "ban", "password": "wr0ng"}, True, "does not take user and password"),
    "unknown certificate": ({"user": "ban", "password": "p4ss"}, False, "its certificate: "),
}


@pytest.mark.parametrize(("login", "trusted", "error"), LOGINS.values(), ids=LOGINS)
def test_mail_starttls(tls_server, certificate, login, trusted, error):
    """A login goes over TLS alone, to a server whose certificate is right."""
    server = tls_server(require_starttls=True)
    options = {"ca_file": str(certificate[1])} if trusted else {}
    found = tell(mail(server, host="localhost", tls="starttls", **login, **options), ban())
    assert found is error is None or error in found
    assert len(server.mails) == (error is None)
    assert login["password"] not in str(found)


def test_exec(tmp_path):
    """The program gets the ban as JSON on its standard input, and nothing as an argument."""
    program = tmp_path / "told"
    program.write_text(f'#!/bin/sh\necho "$#" "$@" > {tmp_path}/arguments\ncat > {tmp_path}/input\n')
    program.chmod(0o755)

    async def run():
        worker = Exec(action(type="exec", command=[str(program), "-v", "a b"]), Runner())
        await worker.handle([ban()])

    asyncio.run(run())
    assert (tmp_path / "arguments").read_text() == "2 -v a b\n"
    assert json.loads((tmp_path / "input").read_text())["lines"] == [HOSTILE, "second"]


EXEC_FAILURES = {
    "fails": ("echo 'bad \x1b[31m'; exit 3", "60", "exit status 3: bad \\x1b[31m"),
    "hangs": ("sleep 100 & sleep 100", "0.3", "cut after its time limit of 0.3 s"),
    "killed": ("kill -9 $$", "60", "ended by signal 9"),
    "reads nothing": ("exit 0", "60", None),
}


@pytest.mark.parametrize(("script", "limit", "error"), EXEC_FAILURES.values(), ids=EXEC_FAILURES)
def test_exec_fails(tmp_path, script, limit, error):
    """How it ended is told."""
    program = tmp_path / "told"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)

    async def run():
        return await tells(Exec(action(type="exec", command=[str(program)], timeout=limit), Runner()))

    async def tells(worker):
        try:
            await worker.handle([ban()])
        except ActionError as failed:
            return str(failed)
        return None

    assert asyncio.run(run()) == (f"{program}: {error}" if error else None)
