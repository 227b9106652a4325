"""Servers of our own, on loopback, for actions that speak to one."""

from __future__ import annotations

import email
import socket
import ssl
import subprocess
from email import policy

import pytest


def free_port():
    """A TCP port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class MailServer:
    """An SMTP server that keeps what it gets; `mails` are parsed."""

    def __init__(self, **options):
        from aiosmtpd.controller import Controller

        self.mails = []
        self.envelopes = []
        self.refuse = ""
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port(), **options)

    async def handle_DATA(self, _server, session, envelope):  # noqa: N802 - aiosmtpd's name
        """aiosmtpd's callback for a whole mail."""
        if self.refuse:
            return self.refuse
        self.envelopes.append((session, envelope))
        self.mails.append(email.message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"

    def start(self):
        """Listen on a free port."""
        self._controller.start()
        return self

    @property
    def port(self):
        return self._controller.port

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def stop(self):
        self._controller.stop()


@pytest.fixture
def mail_server():
    """A plain SMTP server."""
    server = MailServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A key and a self-signed certificate for localhost, made by openssl."""
    folder = tmp_path_factory.mktemp("certificate")
    key, chain = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *[
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ],
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", chain),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context, chain
