"""What was found of one server, and what is proposed for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

ASTERISK_FOLDER = "/etc/asterisk"
MANAGER_RELOAD = ("asterisk", "-rx", "manager reload")
"""What makes a running Asterisk read its manager users again."""


class Carrier(NamedTuple):
    """A host that a server's configuration names as a trunk."""

    host: str
    """Address, network or host name."""
    where: str
    """The file that names it."""


@dataclass(slots=True)
class ManagerUser:
    """The user that is to be made in Asterisk's manager interface, and the file for it."""

    path: str
    text: str
    """What is added; the secret is in it."""
    like: str
    """The file whose owner the new one gets."""


@dataclass(slots=True)
class FoundServer:
    """One server. What it listens on and whom it knows comes from its configuration and its sockets."""

    name: str
    """The packaged jail: freeswitch, asterisk, kamailio or opensips."""
    title: str
    """As its makers write it."""
    evidence: list[str] = field(default_factory=list)
    """Why it is thought to be here."""
    ports: set[int] = field(default_factory=set)
    carriers: list[Carrier] = field(default_factory=list)
    events: str = ""
    """As a jail's `events`; empty where it cannot be listened to."""
    password: str = ""
    """For the file of `events_password_file`; empty where the server's own file serves."""
    user: ManagerUser | None = None
    reload: tuple[str, ...] = ()
    """The command that makes the server read what was written into its configuration."""
    notes: list[str] = field(default_factory=list)
    """What the operator should know or do; one line each."""
