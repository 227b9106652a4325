"""Paths of sipguard's files: the packaged ones and the operator's configuration."""

from __future__ import annotations

import glob
import os
from pathlib import Path

CONFIG_DIR = Path("/etc/sipguard")
MAIN_FILE = CONFIG_DIR / "sipguard.toml"
JAILS_DIR = "jails.d"
FILTERS_DIR = "filters.d"

_PACKAGE = Path(__file__).resolve().parent.parent


def main_file() -> Path:
    """The configuration for whoever names none: that of SIPGUARD_CONFIG, else MAIN_FILE."""
    return Path(os.environ.get("SIPGUARD_CONFIG") or MAIN_FILE)


def packaged(kind: str) -> Path:
    """The directory of packaged `filters` or `jails`.

    Inside the package when installed (`force-include` in pyproject.toml), at the top level in a checkout.
    """
    inside = _PACKAGE / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def filter_directories(config_dir: Path) -> tuple[Path, ...]:
    """Directories searched for filters, in order: the operator's, then the packaged ones."""
    return config_dir / FILTERS_DIR, packaged("filters")


def exists(pattern: str) -> bool:
    """Whether a path exists or a pattern matches something.

    A path that contains brackets is both. Path.glob takes no absolute pattern.
    """
    return os.path.lexists(pattern) or next(glob.iglob(pattern), None) is not None  # noqa: PTH207
