"""Mail to servers of our own: content, digest, refusals, TLS and logins."""

from __future__ import annotations

import asyncio

import pytest
from mail_server import MailServer
from notices import NOW, action, ban, tell
from ports import free_port

from sipguard.actions.mail import Mail
from sipguard.actions.queue import ActionQueue, finish


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


def test_alarm(mail_server):
    """A password that may be known: who, whose, and the attempt; nothing of a ban."""
    assert tell(mail(mail_server, on=["alarm"]), ban(verb="alarm"), ban(verb="ban")) is None
    (found,) = mail_server.mails
    assert found["subject"].endswith(": a password may be known to 203.0.113.7")
    assert found.get_content().startswith("203.0.113.7: 5 failures")
    assert "rejected" not in found.get_content()


def test_mail_digest(mail_server):
    """A burst makes one mail, with the first bans in full and every address."""
    worker = mail(mail_server)

    async def run():
        worker.linger = 1.0
        lane = ActionQueue("[sip] Action mail", worker)
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
    "wrong password": ({"user": "ban", "password": "wr0ng"}, True, "rejects user and password"),
    "unknown certificate": ({"user": "ban", "password": "p4ss"}, False, "invalid certificate: "),
}


@pytest.mark.parametrize(("login", "trusted", "error"), LOGINS.values(), ids=LOGINS)
def test_mail_starttls(tls_server, certificate, login, trusted, error):
    """A login goes over TLS alone, to a server whose certificate is right."""
    server = tls_server(require_starttls=True)
    options = {"ca_file": str(certificate[1])} if trusted else {}
    found = tell(mail(server, host="127.0.0.1", tls="starttls", **login, **options), ban())
    assert found is error is None or error in found
    assert len(server.mails) == (error is None)
    assert login["password"] not in str(found)
