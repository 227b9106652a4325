"""Where most actions import `ActionBase` from."""

from __future__ import annotations

from .action import ActionBase, CallingMap

__all__ = ["ActionBase", "CallingMap"]
