"""Where sipguard's own files are: what is packaged with it, and the operator's configuration."""

from __future__ import annotations

import glob
import os
from pathlib import Path

CONFIG_DIR = Path("/etc/sipguard")
"""The operator's configuration when no other is named."""

CONFIG_FILE = "sipguard.toml"
JAILS_DIR = "jails.d"
FILTERS_DIR = "filters.d"

_PACKAGE = Path(__file__).resolve().parent.parent


def packaged(kind: str) -> Path:
    """The folder of packaged `filters` or `jails`.

    An installed sipguard has them inside the package (`force-include` in pyproject.toml), a checkout at its top level.
    """
    inside = _PACKAGE / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def filter_directories(config_dir: Path) -> tuple[Path, ...]:
    """Where filters are looked for, the first that has one wins: the operator's over the packaged."""
    return config_dir / FILTERS_DIR, packaged("filters")


def exists(pattern: str) -> bool:
    """Whether a path or a pattern names something that is there.

    A path with brackets in its name is both. Path.glob takes no absolute pattern.
    """
    return os.path.lexists(pattern) or next(glob.iglob(pattern), None) is not None  # noqa: PTH207
