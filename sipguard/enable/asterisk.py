"""Finds Asterisk: its trunks, its ports, and a place for a manager user who reads security events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sipguard.enable.asterisk_conf import AsteriskConf, Section, is_true
from sipguard.enable.carriers import host_of
from sipguard.enable.found import ASTERISK_FOLDER, MANAGER_RELOAD, Carrier, FoundServer, ManagerUser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sipguard.enable.machine import Machine

USER = "sipguard"
"""Name of the manager user that is made."""
_REGISTER = re.compile(r"@([^@/]+?)(?:/[^/]*)?$")
_PORT = re.compile(r":(\d{1,5})$")


def find_asterisk(machine: Machine, new_password: Callable[[], str], *, asked: bool) -> FoundServer | None:
    """Asterisk on this machine; None if there is none. `asked`: the operator says that there is one."""
    processes = machine.processes("asterisk")
    evidence = [f"process {processes[0]}"] if processes else []
    evidence += ["package asterisk"] if machine.has_package("asterisk") else []
    evidence += [path for path in ("/usr/sbin/asterisk", "/usr/local/sbin/asterisk") if machine.there(path)][:1]
    if not evidence and not (asked and machine.there(ASTERISK_FOLDER)):
        return None
    found = FoundServer("asterisk", "Asterisk", evidence)
    if not machine.there(ASTERISK_FOLDER):
        found.notes.append(
            f"Asterisk: no {ASTERISK_FOLDER} here; is it in a container? Then name its log: logpath = … (docs/logs.md)"
        )
        return found
    found.evidence.append(ASTERISK_FOLDER)
    pjsip = AsteriskConf(machine, ASTERISK_FOLDER, "pjsip.conf")
    sip = AsteriskConf(machine, ASTERISK_FOLDER, "sip.conf") if _has_chan_sip(machine) else None
    found.carriers = [*_pjsip_trunks(pjsip), *(_chan_sip_trunks(sip) if sip else ())]
    found.ports = machine.listening(processes) | set(_ports(pjsip, sip))
    if sip and any(section.name != "general" for section in sip.sections):
        found.notes.append(
            "Asterisk: chan_sip is in use; the wire sees who guesses there; what its logs are worth is in docs/logs.md"
        )
    _manager(machine, found, new_password)
    return found


def _has_chan_sip(machine: Machine) -> bool:
    modules = AsteriskConf(machine, ASTERISK_FOLDER, "modules.conf")
    unloaded = {value for section in modules.named("modules") for value in section.all("noload")}
    return machine.there(f"{ASTERISK_FOLDER}/sip.conf") and not {"chan_sip", "chan_sip.so"} & unloaded


def _pjsip_trunks(conf: AsteriskConf) -> Iterator[Carrier]:
    """Whom an `identify` names, and where this server registers. A static contact may be a phone's."""
    for section in conf.of_type("identify"):
        for match in section.all("match"):
            yield Carrier(host_of(match), section.where)
    for section in conf.of_type("registration"):
        yield Carrier(host_of(section.get("server_uri")), section.where)


def _chan_sip_trunks(conf: AsteriskConf) -> Iterator[Carrier]:
    """Peers with a host of their own, and where this server registers."""
    for section in conf.sections:
        for value in section.all("register"):
            if match := _REGISTER.search(value):
                yield Carrier(host_of(match[1]), section.where)
        if section.get("type") in ("peer", "friend") and section.get("host") not in ("", "dynamic"):
            yield Carrier(host_of(section.get("host")), section.where)


def _ports(pjsip: AsteriskConf, sip: AsteriskConf | None) -> Iterator[int]:
    """What the transports are bound to; 5060 and the like are in the packaged jail."""
    for section in pjsip.of_type("transport"):
        if match := _PORT.search(section.get("bind")):
            yield int(match[1])
    for section in sip.named("general") if sip else ():
        for key in ("bindport", "udpbindaddr", "tcpbindaddr", "tlsbindaddr"):
            if match := _PORT.search(f":{section.get(key)}"):
                yield int(match[1])


def _manager(machine: Machine, found: FoundServer, new_password: Callable[[], str]) -> None:
    """Propose events over the manager interface: by the user that is there already, or a new one."""
    conf = AsteriskConf(machine, ASTERISK_FOLDER, "manager.conf")
    if not conf.files:
        found.notes.append(f"Asterisk: no {ASTERISK_FOLDER}/manager.conf, so its log is read instead of its events")
        return
    general = Section("general", "", items=[item for section in conf.named("general") for item in section.items])
    port = general.get("port", "5038")
    host = general.get("bindaddr", "0.0.0.0")  # noqa: S104 - what Asterisk takes where nothing is said
    runs = is_true(general.get("enabled", "no"))
    if not port.isdecimal() or (runs and host not in ("127.0.0.1", "0.0.0.0", "::", "localhost", "")):  # noqa: S104
        found.notes.append(f"Asterisk: its manager interface is at {host}:{port}, not on 127.0.0.1: its log is read")
        return
    if runs and host not in ("127.0.0.1", "localhost"):
        found.notes.append(
            f"Asterisk: its manager interface listens on every address; write bindaddr = 127.0.0.1 in {conf.files[0]}"
        )
    if known := conf.named(USER):
        found.password = known[-1].get("secret")
        if not found.password or not {"security", "all"} & set(known[-1].all("read")):
            found.notes.append(f"Asterisk: {known[-1].where}: user {USER} is there and may not read security events")
            found.password = ""
            return
    else:
        found.password = new_password()
        found.user = _new_user(machine, conf, found.password, switch_on=not runs)
    found.events = f"asterisk://{USER}@127.0.0.1:{port}"
    found.reload = MANAGER_RELOAD


def _new_user(machine: Machine, conf: AsteriskConf, secret: str, *, switch_on: bool) -> ManagerUser:
    """In the file that the distribution or the panel leaves alone: FreePBX rewrites manager.conf, dpkg asks about it."""
    included = {target: f"{ASTERISK_FOLDER}/{target}" for target in conf.includes}
    if "manager_custom.conf" in included:
        path = included["manager_custom.conf"]
    elif "manager.d/*.conf" in included and machine.there(f"{ASTERISK_FOLDER}/manager.d"):
        path = f"{ASTERISK_FOLDER}/manager.d/{USER}.conf"
    else:
        path = conf.files[0]
    on = "[general](+)\nenabled = yes\nbindaddr = 127.0.0.1\n\n" if switch_on else ""
    text = (
        f"; Made by `sipguard enable`; `sipguard enable --undo` takes it back.\n{on}[{USER}]\nsecret = {secret}\n"
        "read = security\ndeny = 0.0.0.0/0.0.0.0\npermit = 127.0.0.1/255.255.255.255\n"
    )
    return ManagerUser(path, text, conf.files[0])
