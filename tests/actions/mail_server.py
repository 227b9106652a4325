"""An SMTP server of our own on loopback."""

from __future__ import annotations

import email
from email import policy

from ports import free_port


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
