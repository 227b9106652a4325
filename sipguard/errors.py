"""What may go wrong in a way that a person can mend: one line each, never a traceback."""

import sys
from pathlib import Path


def pip_install(extra: str) -> str:
    """The command that installs what an extra needs, by the pip of the venv that sipguard runs in; else by any.

    It asks no registry for sipguard itself, which is installed already.
    """
    pip = Path(sys.prefix, "bin", "pip") if sys.prefix != sys.base_prefix else "pip"
    return f"{pip} install 'sipguard[{extra}]'"


class SipguardError(Exception):
    """An error for the operator. Its text is one line: what is wrong, where, and how to mend it."""

    exit_status = 2


class ConfigError(SipguardError):
    """The configuration is wrong at one place.

    `where` names the file, and the line when it is known: `/etc/sipguard/jails.d/asterisk.toml:3`. `jail` is the jail that cannot
    run by what the configuration says, where it is one.
    """

    def __init__(self, what: str, where: str = "", *, jail: str = "") -> None:
        self.what = what
        self.where = where
        self.jail = jail
        super().__init__(f"{where}: {what}" if where else what)


def of_jail(name: str, error: ConfigError) -> ConfigError:
    """The error as one that keeps this jail from running, with the jail's name in front."""
    prefix = f"jail {name}: "
    return ConfigError(prefix + error.what.removeprefix(prefix), error.where, jail=name)


class FirewallError(SipguardError):
    """The kernel, or the tool that talks to it, refused; the change was not made."""


class FullError(FirewallError):
    """A set has no room for all bans of a call. Without transactions (ipset) the first of them may be in."""


class StateError(SipguardError):
    """The state directory or its database cannot be used."""


class StateLostError(StateError):
    """What the database held cannot be read any more, or is gone: it has to be begun anew."""


class StateBusyError(StateError):
    """Another daemon runs on the same state directory."""


class FleetError(SipguardError):
    """Other nodes, or CrowdSec, cannot be reached or asked; what is known of them stays."""


class FeedError(SipguardError):
    """A list of addresses could not be had, or is not fit to be used; the last good one stays."""
