"""What a webhook or a mail would send, for people: `sipguard test-action`. What is secret is `***`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from sipguard.secret import SECRET_NAME, Secret, hide
from sipguard.text import printable, shown_url

if TYPE_CHECKING:
    from sipguard.actions.base import Notice
    from sipguard.actions.mail import Mail
    from sipguard.actions.webhook import Webhook
    from sipguard.model import NativeAction

_GIVEN = "X-Sipguard-Signature"


def request_text(worker: Webhook, action: NativeAction, notice: Notice) -> Iterator[str]:
    """Method and address, headers, body."""
    options = action.options
    body = worker.body(notice)
    secrets = [text for text in _secrets(options) if text]
    yield f"{options['method']} {shown_url(options['url'].reveal())}"
    for name, value in worker.headers(body, "(a new one for each)").items():
        hidden = name in options["headers"] or name == _GIVEN
        yield f"{name}: {'***' if hidden else printable(value)}"
    yield ""
    if options["format"] == "form":
        for name, value in parse_qsl(body.decode(), keep_blank_values=True):
            yield printable(hide(f"{name} = {'***' if SECRET_NAME.search(name) else value}", secrets))
        return
    for line in json.dumps(_hidden(json.loads(body)), indent=2, ensure_ascii=True).split("\n"):
        yield printable(hide(line, secrets))


def mail_text(worker: Mail, action: NativeAction, notice: Notice) -> Iterator[str]:
    """The head that people see, and the text."""
    message = worker.message([notice])
    options = action.options
    yield f"by {options['host']}, port {worker.port}{', logged in' if 'user' in options else ''}"
    for name in ("From", "To", "Subject"):
        yield f"{name}: {printable(str(message[name]))}"
    yield ""
    for line in message.get_content().rstrip("\n").split("\n"):
        yield printable(line)


def _hidden(value: Any, name: str = "") -> Any:
    """The same body without the values of fields that are named like secrets."""
    if isinstance(value, dict):
        return {key: _hidden(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [_hidden(one, name) for one in value]
    return "***" if isinstance(value, str) and SECRET_NAME.search(name) else value


def _secrets(options: Any) -> Iterator[str]:
    for value in options.values():
        if isinstance(value, Secret):
            yield value.reveal()
        elif isinstance(value, dict):
            yield from _secrets(value)
