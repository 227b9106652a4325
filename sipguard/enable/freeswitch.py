"""Finds FreeSWITCH: its gateways, the addresses its profiles trust, its ports and its event socket."""

from __future__ import annotations

import re
import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from sipguard.config.events import OWN_FILES
from sipguard.enable.carriers import host_of
from sipguard.enable.found import Carrier, FoundServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sipguard.enable.machine import Machine

FOLDERS = [str(path.parent.parent) for path in OWN_FILES]
PROGRAMS = ("/usr/bin/freeswitch", "/usr/local/freeswitch/bin/freeswitch", "/opt/freeswitch/bin/freeswitch")
_CACHE = "/var/cache/fusionpbx/*configuration*{}*"
"""FusionPBX keeps profiles, gateways and access lists in its database; this is where it puts the XML it makes of them."""
_PROVIDERS = "providers"
"""FusionPBX's list of carriers."""
_ANYWHERE = ("::", "0.0.0.0", "127.0.0.1", "localhost")  # noqa: S104 - what is compared with, not bound to
_PORTS = ("sip-port", "tls-sip-port", "ws-binding", "wss-binding")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_DECLARATION = re.compile(r"<\?xml.*?\?>|<!DOCTYPE[^>]*>", re.DOTALL)
_VARIABLE = re.compile(r"\$\$\{([^}]+)\}")


class _Files:
    """The XML of one FreeSWITCH, with the variables of vars.xml put in."""

    def __init__(self, machine: Machine, folder: str) -> None:
        self._machine, self._folder = machine, folder
        self.broken: list[str] = []
        self._variables: dict[str, str] = {}
        for _, one in self.elements("vars.xml"):
            for tag in one.iter("X-PRE-PROCESS"):
                name, _, value = tag.get("data", "").partition("=")
                if tag.get("cmd") == "set":
                    self._variables[name.strip()] = value.strip()

    def elements(self, *patterns: str) -> Iterator[tuple[str, ElementTree.Element]]:
        """The files that match, each below one root; those that are no XML go to `broken`."""
        for pattern in patterns:
            for path in self._machine.files(pattern if pattern.startswith("/") else f"{self._folder}/{pattern}"):
                text = _DECLARATION.sub("", _COMMENT.sub("", self._machine.text(path)))
                try:
                    # Fragments have several roots, and FreeSWITCH reads them as they are.
                    yield path, ElementTree.fromstring(f"<all>{text}</all>")  # noqa: S314 - root's own, without DTD
                except ElementTree.ParseError:
                    self.broken.append(path)

    def value(self, text: str) -> str:
        """With its `$${variables}`; those that FreeSWITCH alone knows stay as they are."""
        for _ in range(5):
            text = _VARIABLE.sub(lambda match: self._variables.get(match[1], match[0]), text)
        return text

    def params(self, element: ElementTree.Element) -> dict[str, str]:
        """The `<param name value>` below an element."""
        return {one.get("name", ""): self.value(one.get("value", "")) for one in element.iter("param")}


def find_freeswitch(machine: Machine, *, asked: bool) -> FoundServer | None:
    """FreeSWITCH on this machine; None if there is none. `asked`: the operator says that there is one."""
    processes = machine.processes("freeswitch")
    evidence = [f"process {processes[0]}"] if processes else []
    evidence += ["package freeswitch"] if machine.has_package("freeswitch") else []
    evidence += [path for path in PROGRAMS if machine.there(path)][:1]
    folder = next((one for one in FOLDERS if machine.there(f"{one}/freeswitch.xml")), "")
    if not evidence and not (asked and folder):
        return None
    found = FoundServer("freeswitch", "FreeSWITCH", evidence)
    if not folder:
        found.notes.append(
            "FreeSWITCH: no freeswitch.xml where it is usually; in a container? Then name its log: logpath = … (docs/logs.md)"
        )
        return found
    found.evidence.append(folder)
    files = _Files(machine, folder)
    found.carriers = [*_gateways(files), *_trusted(files)]
    found.ports = machine.listening(processes) | set(_sip_ports(files))
    _events(machine, folder, files, found)
    found.notes += [f"FreeSWITCH: {path} cannot be read as XML; its trunks are not known" for path in files.broken]
    return found


def _profiles(files: _Files) -> Iterator[tuple[str, ElementTree.Element]]:
    yield from files.elements("sip_profiles/*.xml", "sip_profiles/*/*.xml", _CACHE.format("sofia.conf"))


def _gateways(files: _Files) -> Iterator[Carrier]:
    for path, root in _profiles(files):
        for gateway in root.iter("gateway"):
            params = files.params(gateway)
            # A gateway without realm is its own name's; `proxy` is where its calls come from.
            for key in ("proxy", "outbound-proxy", "register-proxy"):
                if params.get(key):
                    yield Carrier(host_of(params[key]), path)
            if not params.get("proxy"):
                yield Carrier(host_of(params.get("realm") or files.value(gateway.get("name", ""))), path)


def _trusted(files: _Files) -> Iterator[Carrier]:
    """The addresses in the access lists that profiles apply: those may call without a password."""
    applied = {_PROVIDERS}
    for _, root in _profiles(files):
        for one in root.iter("param"):
            if one.get("name", "") in ("apply-inbound-acl", "apply-proxy-acl"):
                applied.add(files.value(one.get("value", "")))
    for path, root in files.elements("autoload_configs/acl.conf.xml", _CACHE.format("acl.conf")):
        for listed in root.iter("list"):
            if listed.get("name") in applied and listed.get("default") == "deny":
                for node in listed.iter("node"):
                    if node.get("type") == "allow" and node.get("cidr"):
                        yield Carrier(host_of(files.value(node.get("cidr", ""))), path)


def _sip_ports(files: _Files) -> Iterator[int]:
    """Of every profile: one file may hold several, as that of FusionPBX's cache does."""
    for _, root in _profiles(files):
        for one in root.iter("param"):
            port = files.value(one.get("value", "")).rpartition(":")[2]
            if one.get("name") in _PORTS and port.isdecimal() and 0 < int(port) < 65536:
                yield int(port)


def _events(machine: Machine, folder: str, files: _Files, found: FoundServer) -> None:
    """Propose the event socket, with FreeSWITCH's own file for the password where that is for nobody else."""
    path = f"{folder}/autoload_configs/event_socket.conf.xml"
    params = next((files.params(root) for _, root in files.elements(path)), {})
    loaded = {
        one.get("module")
        for _, root in files.elements("autoload_configs/modules.conf.xml")
        for one in root.iter("load")
    }
    host, port, password = params.get("listen-ip", "::"), params.get("listen-port", "8021"), params.get("password", "")
    if "mod_event_socket" not in loaded or not password:
        found.notes.append("FreeSWITCH: mod_event_socket is not loaded or has no password: its log is read instead")
        return
    if host not in (*_ANYWHERE, "::1") or not port.isdecimal() or "$" in password:
        found.notes.append(
            f"FreeSWITCH: its event socket is at {host}:{port}, not on 127.0.0.1: its log is read instead"
        )
        return
    if password == "ClueCon":  # noqa: S105 - the one that everybody knows
        found.notes.append(f"FreeSWITCH: {path} has the password that everybody knows, ClueCon: write one of your own")
    found.events = f"freeswitch://{'[::1]' if host == '::1' else '127.0.0.1'}:{port}"
    mode = stat.S_IMODE(machine.at(path).stat().st_mode)
    if mode & 0o007 or _first(machine) != path:
        found.password = password
        found.notes += [f"FreeSWITCH: {path} can be read by everybody: chmod o= it"] if mode & 0o007 else []


def _first(machine: Machine) -> str:
    """The file in which sipguard would look for the password by itself."""
    return next((str(PurePosixPath(path)) for path in OWN_FILES if machine.there(str(path))), "")
