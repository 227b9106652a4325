"""Converts dataclasses of the configuration to JSON-compatible data, for dumps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from sipguard.model import Action
from sipguard.secret import Secret, without_secrets


def plain(value: Any) -> Any:
    """Convert `value` to dicts, lists, numbers and text. An endless time becomes -1, as in the files, a secret `***`."""
    if isinstance(value, Secret):
        return repr(value)
    if isinstance(value, Action):
        value = without_secrets(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, PurePath):
        return str(value)
    return -1 if isinstance(value, float) and math.isinf(value) else value
