"""Gives asyncio its TLS back, for what needs it: the daemon imports asyncio without (see cli/lean.py)."""

from __future__ import annotations

import asyncio
import importlib
import ssl
import sys
from asyncio import sslproto
from typing import Any


def restore() -> None:
    """From now on, asyncio can connect over TLS. Does nothing where it could before."""
    of_asyncio: Any = sslproto
    if of_asyncio.ssl is not None:
        return
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{asyncio.__name__}.") and getattr(module, "ssl", ssl) is None:
            module.ssl = ssl  # type: ignore[attr-defined]
    importlib.reload(sslproto)  # its classes are made by what `ssl` has
