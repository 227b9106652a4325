"""What starts services on this machine: commands are advised that it has."""

from __future__ import annotations

from pathlib import Path


def has_systemd() -> bool:
    """Whether systemd is the service manager (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def starting(enable: bool = False) -> str:
    """The command that starts sipguard, and with `enable` at each boot too."""
    if not has_systemd():
        return "sipguard run, in a service of its own"
    return f"systemctl {'enable --now' if enable else 'start'} sipguard"
