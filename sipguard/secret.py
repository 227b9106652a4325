"""A text that must not be shown: a password, a key, an address that holds one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from sipguard.model import Action

SHORTEST = 4
"""Characters of a secret that is looked for in a text."""


class Secret:
    """Holds a text; printing, logging or dumping it shows `***`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


SECRET_NAME = re.compile(r"pass|secret|token|key|credential", re.IGNORECASE)
"""Names of an action's parameters whose values are not to be shown."""


def without_secrets(action: Action) -> Action:
    """An action.d action fit to be shown: parameters that are named like secrets are `***`, in its commands too."""
    secrets = {key: text for key, text in action.properties.items() if SECRET_NAME.search(key) and text}
    return replace(
        action,
        properties={key: "***" if key in secrets else text for key, text in action.properties.items()},
        commands={verb: hide(text, secrets.values()) for verb, text in action.commands.items()},
    )


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text with these secrets in it made `***`; one of a few characters would be found everywhere, and stays."""
    for secret in secrets:
        if len(secret) >= SHORTEST:
            text = text.replace(secret, "***")
    return text
