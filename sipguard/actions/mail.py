"""Reports bans by e-mail. All bans within `digest` seconds of the first one share one mail.

smtplib sends the mail in a thread, so a slow server delays only its own queue.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

from sipguard.actions.base import ActionError, Notice, Worker
from sipguard.actions.record import moment
from sipguard.actions.tags import host_name
from sipguard.config.values import format_duration
from sipguard.model import Clock, NativeAction
from sipguard.text import in_words, printable

MOST_TOLD = 500
"""Most notices in one mail; further ones go into another mail."""
MOST_IN_FULL = 20
"""Bans reported with their log lines; the others get one line each."""
FIRST_PAUSE = 2.0
TRIES = 3
_LOCAL = ("localhost", "127.0.0.1", "::1")
_PORTS = {"no": 25, "starttls": 587, "tls": 465}


class Mail(Worker):
    """One `type = "mail"` action of a jail."""

    def __init__(self, action: NativeAction, *, clock: Clock, first_pause: float = FIRST_PAUSE) -> None:
        options = action.options
        self._on = action.on
        self._options = options
        self._clock = clock
        self._first_pause = first_pause
        self._host: str = options["host"]
        self._tls: str = options.get("tls") or ("no" if self._host in _LOCAL else "starttls")
        self.port: int = options.get("port") or _PORTS[self._tls]
        self.linger = options["digest"]
        self.batch = MOST_TOLD if self.linger else 1
        self.longest = TRIES * (4 * options["timeout"] + 4 * first_pause) + self.linger

    async def handle(self, notices: Sequence[Notice]) -> None:
        """Send one mail about all notices. Raises `ActionError`."""
        told = [notice for notice in notices if notice.verb in self._on]
        if not told:
            return
        message = self.message(told)
        for number in range(1, TRIES + 1):
            problem, again = await asyncio.to_thread(self._send, message)
            if not problem:
                return
            if not again or number == TRIES:
                break
            await asyncio.sleep(self._first_pause * 2 ** (number - 1))
        raise ActionError(f"mail to {self._options['to'][0]} through {self._host}: {problem}")

    def message(self, notices: Sequence[Notice]) -> EmailMessage:
        """Build the mail. Text written by an attacker is only in the body, without terminal control bytes."""
        message = EmailMessage()
        message["Subject"] = _subject(notices)
        message["From"] = self._options["from"]
        message["To"] = ", ".join(self._options["to"])
        message["Date"] = formatdate(self._clock(), localtime=True)
        message["Message-ID"] = make_msgid(domain="sipguard.invalid")
        message["Auto-Submitted"] = "auto-generated"
        message.set_content("\n".join(_paragraphs(notices)) + "\n", cte="quoted-printable")
        return message

    def _send(self, message: EmailMessage) -> tuple[str, bool]:
        """Send the mail, in a thread. Returns the problem, and whether a retry may help."""
        try:
            with self._connect() as server:
                if self._tls == "starttls":
                    server.starttls(context=self._context())
                if "user" in self._options:
                    server.login(self._options["user"], self._options["password"].reveal())
                server.send_message(message)
        except (smtplib.SMTPException, OSError) as error:
            text, again = _explain(error)
            return printable(text, 200), again
        return "", False

    def _connect(self) -> smtplib.SMTP:
        arguments: dict[str, Any] = {"host": self._host, "port": self.port, "timeout": self._options["timeout"]}
        if self._tls == "tls":
            return smtplib.SMTP_SSL(**arguments, context=self._context())
        return smtplib.SMTP(**arguments)

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._options.get("ca_file"))


def _explain(error: smtplib.SMTPException | OSError) -> tuple[str, bool]:
    """An error text for the operator, and whether the error may be temporary."""
    match error:
        case smtplib.SMTPAuthenticationError():
            found = f"the server rejects user and password ({error.smtp_code})", False
        case smtplib.SMTPRecipientsRefused():
            codes = [code for code, _ in error.recipients.values()]
            found = (
                f"the server accepts no recipient ({', '.join(map(str, codes))})",
                any(400 <= code < 500 for code in codes),
            )
        case smtplib.SMTPResponseException():
            text = error.smtp_error
            text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
            found = f"{error.smtp_code} {text}", 400 <= error.smtp_code < 500
        case ssl.SSLCertVerificationError():
            found = f"invalid certificate: {error.verify_message}", False
        case smtplib.SMTPNotSupportedError():
            found = f"{error}; set tls", False
        case _:
            found = str(error) or type(error).__name__, True
    return found


def _subject(notices: Sequence[Notice]) -> str:
    jail = notices[0].ticket.jail.name
    bans = [notice.ticket.ban.address for notice in notices if notice.verb == "ban"]
    if len(notices) == 1:
        what = {"ban": "rejects", "unban": "lets through", "alarm": "a password may be known to"}.get(
            notices[0].verb, notices[0].verb
        )
        text = f"{what} {notices[0].ticket.ban.address}".strip()
    else:
        text = f"rejects {len(bans)} addresses" if bans else f"{len(notices)} notices"
    return printable(f"[sipguard] {jail} on {host_name(True)}: {text}", 200)


def _paragraphs(notices: Sequence[Notice]) -> list[str]:
    found: list[str] = []
    for number, notice in enumerate(notices):
        ban = notice.ticket.ban
        match notice.verb:
            case "ban":
                length = "for good" if notice.ticket.bantime < 0 else f"for {format_duration(ban.until - ban.since)}"
                found.append(
                    f"{ban.address} is rejected {length} since {moment(ban.since)}: {printable(in_words(ban.reason), 200)}"
                )
                if number < MOST_IN_FULL:
                    found += [f"    {printable(line, 500)}" for line in notice.ticket.matches]
            case "unban":
                found.append(f"{ban.address} is let through again")
            case "alarm":
                found.append(f"{ban.address}: {printable(ban.reason, 200)}")
                found += [f"    {printable(line, 500)}" for line in notice.ticket.lines]
            case verb:
                found.append(f"{notice.ticket.jail.name}: {verb}")
    return found
