"""The firewall that the settings ask for."""

from __future__ import annotations

from sipguard.config.settings import Settings
from sipguard.firewall.base import Firewall
from sipguard.firewall.choose import open_firewall
from sipguard.firewall.options import Options
from sipguard.model import Clock


def firewall_of(settings: Settings, *, clock: Clock) -> Firewall:
    """Construct it; nothing is changed in the kernel yet. Raises `FirewallError`."""
    options = Options(settings.chain, settings.reject_with, settings.all_ports, settings.set_size, settings.hooks)
    return open_firewall(settings.firewall, clock=clock, options=options)
