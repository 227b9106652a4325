"""Webhooks against a server of our own: content, signature, retries, and what may not be shown."""

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
from notices import HOSTILE, NOW, SIP, action, ban, tell
from ports import free_port

from sipguard.actions.base import Notice
from sipguard.actions.ticket import blank
from sipguard.actions.webhook import Webhook
from sipguard.model import FOREVER


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

            def do_PUT(self):
                self.do_POST()

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
    "always broken": ([500], 4, "the server answers with status 500 after 4 tries"),
    "refused": ([403], 1, "the server answers with status 403"),
    "elsewhere": ([302], 1, "the server answers with status 302"),
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
