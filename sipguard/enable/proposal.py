"""What `enable` would write for the servers that it has found, file by file, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipguard.config import paths
from sipguard.config.kind import items
from sipguard.config.toml_file import parse
from sipguard.config.toml_file import read as read_toml
from sipguard.config.values import ports as port_ranges
from sipguard.enable.asterisk import find_asterisk
from sipguard.enable.carriers import proposed
from sipguard.enable.found import Carrier, FoundServer
from sipguard.enable.freeswitch import find_freeswitch
from sipguard.enable.proxies import find_proxy
from sipguard.enable.toml_edit import with_ignored, with_keys, with_wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipguard.enable.machine import Machine

SERVERS = ("freeswitch", "asterisk", "kamailio", "opensips")
WIRE_JAIL = "sip"
MAIN = str(paths.MAIN_FILE)
_PASSWORD_FILES = {"asterisk": "manager-password", "freeswitch": "event-socket-password"}
_HEAD = "# By `sipguard enable`; `--undo` takes it back. Keys: docs/configuration.md\n"


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file as it would be."""

    path: str
    text: str
    mode: int | None = None
    """None: as the file has it, or 0644."""
    like: str = ""
    """The file whose owner a new one gets; empty: root."""


@dataclass(slots=True)
class Proposal:
    """All that would be written, and what the operator should know."""

    servers: list[FoundServer] = field(default_factory=list)
    changes: list[FileChange] = field(default_factory=list)
    ignored: dict[str, Carrier] = field(default_factory=dict)
    """What goes into `ignoreip`, with who names it."""
    refused: list[str] = field(default_factory=list)
    """Hosts that do not, with the reason."""
    notes: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    """What must not be shown."""


def propose(machine: Machine, server: str, new_password: Callable[[], str], *, wire: bool) -> Proposal:
    """Look at the machine. `server`: one of `SERVERS`, or empty for all that are there. Raises ConfigError.

    `wire`: whether the SIP packets of the machine shall be watched.
    """
    made = Proposal(servers=[found for name in SERVERS if (found := _wanted(machine, name, server, new_password))])
    for found in made.servers:
        made.secrets += [found.password] if found.password else []
        _jail(machine, found, made, asked=bool(server))
        made.notes += found.notes
    _main(machine, made, wire=wire and bool(made.servers) and _wire_jail(machine, made))
    if made.servers and machine.processes("fail2ban-server"):
        made.notes.append("Fail2ban runs here too: `sipguard adopt` takes over its jails and its bans")
    return made


def _wanted(machine: Machine, name: str, server: str, new_password: Callable[[], str]) -> FoundServer | None:
    return None if server and name != server else find(machine, name, new_password, asked=name == server)


def find(
    machine: Machine, name: str, new_password: Callable[[], str] = str, *, asked: bool = False
) -> FoundServer | None:
    """The server of this name (one of `SERVERS`) on this machine; None if there is none. `asked`: its folder is enough."""
    if name == "freeswitch":
        return find_freeswitch(machine, asked=asked)
    if name == "asterisk":
        return find_asterisk(machine, new_password, asked=asked)
    return find_proxy(machine, name, asked=asked)


def _jail(machine: Machine, found: FoundServer, made: Proposal, *, asked: bool) -> None:
    """The jail's file with what is missing in it, then the files that it needs."""
    path = str(paths.CONFIG_DIR / paths.JAILS_DIR / f"{found.name}.toml")
    before = machine.text(path)
    given = parse(before, Path(path)).data
    if given.get("enabled") is False and not asked:
        made.notes.append(f"{found.title}: {path} disables it; `sipguard enable {found.name}` enables it")
        return
    keys: dict[str, Any] = {} if given.get("enabled") is True else {"enabled": True}
    if "port" not in given and (more := uncovered(found)):
        keys["port"] = [*_packaged_ports(found.name), *map(str, more)]
    if found.events and "events" not in given:
        keys["events"] = found.events
        if found.password and "events_password_file" not in given:
            password_file = str(paths.CONFIG_DIR / _PASSWORD_FILES[found.name])
            keys["events_password_file"] = password_file
            _add(machine, made, FileChange(password_file, f"{found.password}\n", 0o600))
        if found.user:
            text = machine.text(found.user.path)
            joint = "" if not text else "\n" if text.endswith("\n") else "\n\n"
            _add(machine, made, FileChange(found.user.path, text + joint + found.user.text, 0o600, found.user.like))
    if keys:
        _add(machine, made, FileChange(path, with_keys(before or _HEAD, keys, path)))
    if "ignoreip" in given:
        made.notes.append(f"{path}: its own ignoreip stands instead of [defaults]; add your carriers there yourself")


def _packaged_ports(name: str) -> list[str]:
    port = read_toml(paths.packaged("jails") / f"{name}.toml").data["port"]
    return [port] if isinstance(port, str) else list(port)


def uncovered(found: FoundServer) -> list[int]:
    """The server's ports that the packaged jail does not have."""
    known = port_ranges(_packaged_ports(found.name))
    return sorted(port for port in found.ports if not any(one.first <= port <= one.last for one in known))


def _wire_jail(machine: Machine, made: Proposal) -> bool:
    """Enable the jail of the wire; whether it is wanted: not where the operator has switched it off."""
    path = str(paths.CONFIG_DIR / paths.JAILS_DIR / f"{WIRE_JAIL}.toml")
    before = machine.text(path)
    given = parse(before, Path(path)).data
    if given.get("enabled") is False:
        return False
    keys: dict[str, Any] = {} if given else {"enabled": True}
    more = {port for found in made.servers for port in uncovered(found)}
    if more and "port" not in given:
        keys["port"] = [*_packaged_ports(WIRE_JAIL), *map(str, sorted(more))]
    if keys:
        _add(machine, made, FileChange(path, with_keys(before or _HEAD, keys, path)))
    return True


def _main(machine: Machine, made: Proposal, *, wire: bool) -> None:
    """sipguard.toml: the wire, and in `[defaults]` the carriers of all servers: no jail and no feed rejects them then."""
    good, made.refused = proposed(carrier for found in made.servers for carrier in found.carriers)
    before = machine.text(MAIN)
    data = parse(before, Path(MAIN)).data
    known = set(items(data.get("defaults", {}).get("ignoreip", [])))
    made.ignored = {host: carrier for host, carrier in good.items() if host not in known}
    text = with_ignored(before or _HEAD, list(made.ignored), MAIN) if made.ignored else before
    if wire and "enabled" not in data.get("wire", {}):
        text = with_wire(text or _HEAD, MAIN)
        made.notes.append(
            "SIP packets are watched too: an address is banned for what it has sent (docs/wire.md); or --no-wire"
        )
    _add(machine, made, FileChange(MAIN, text))


def _add(machine: Machine, made: Proposal, change: FileChange) -> None:
    if machine.text(change.path) != change.text:
        made.changes.append(change)
