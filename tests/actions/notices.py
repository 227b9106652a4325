"""What the tests of webhook, mail and exec tell them, and how."""

from __future__ import annotations

import asyncio

from sipguard.actions.base import ActionError, Notice
from sipguard.actions.ticket import JailFacts, Ticket
from sipguard.config.action_tables import action_tables
from sipguard.model import Ban

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
