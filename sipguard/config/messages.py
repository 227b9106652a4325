"""Formats values and names for messages: on one line, short, and without terminal control bytes."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING

from sipguard.text import printable, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 60


def shown(value: object) -> str:
    """A value in TOML syntax, shortened to fit in a message."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, str):
        text = json.dumps(without_secrets(value), ensure_ascii=False)
    elif isinstance(value, list):
        text = f"[{', '.join(shown(item) for item in value[:20])}]"
    elif isinstance(value, dict):
        text = "{…}"
    elif isinstance(value, int) and value.bit_length() > 200:
        text = hex(value)  # Python refuses to convert integers with thousands of digits to decimal
    else:
        text = str(value)
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """`; did you mean `maxretry`?` if a known word is similar, else `otherwise`."""
    near = difflib.get_close_matches(word[:_LONGEST].lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else otherwise
