"""Finds Kamailio and OpenSIPS: their ports, the hosts they send calls to, and whether their script logs failures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sipguard.enable.carriers import host_of
from sipguard.enable.found import Carrier, FoundServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sipguard.enable.machine import Machine

_TITLES = {"kamailio": "Kamailio", "opensips": "OpenSIPS"}
_COMMENT = re.compile(r"/\*.*?\*/|#(?!!).*?$", re.DOTALL | re.MULTILINE)
_LISTEN = re.compile(r"^\s*(?:listen|socket)\s*=\s*\S*:(\d{1,5})(?=\s|$)|^\s*port\s*=\s*(\d{1,5})\b", re.MULTILINE)
_LOOPBACK = re.compile(r"^\s*(?:listen|socket)\s*=\s*(?:\w+:)?(?:127\.\d|\[::1\]|hep)", re.MULTILINE)


def find_proxy(machine: Machine, name: str, *, asked: bool) -> FoundServer | None:
    """`kamailio` or `opensips` on this machine; None if it is not. `asked`: the operator says that it is."""
    title = _TITLES[name]
    processes = machine.processes(name)
    evidence = [f"process {processes[0]}"] if processes else []
    evidence += [f"package {name}"] if machine.has_package(name) else []
    evidence += [path for path in (f"/usr/sbin/{name}", f"/usr/local/sbin/{name}") if machine.there(path)][:1]
    folder = next((one for one in (f"/etc/{name}", f"/usr/local/etc/{name}") if machine.there(f"{one}/{name}.cfg")), "")
    if not evidence and not (asked and folder):
        return None
    found = FoundServer(name, title, evidence)
    found.evidence += [folder] if folder else []
    script = (
        "\n".join(_COMMENT.sub("", machine.text(path)) for path in machine.files(f"{folder}/*.cfg")) if folder else ""
    )
    found.ports = machine.listening(processes) | machine.receiving(processes) | set(_ports(script))
    found.carriers = list(_destinations(machine, folder))
    if "sipguard: auth-failed" not in script:
        found.notes.append(
            f"{title}: its script logs nothing of failed passwords; put the lines of docs/{name}.md into it, or nobody is banned"
        )
    return found


def _ports(script: str) -> Iterator[int]:
    for match in _LISTEN.finditer(script):
        if not _LOOPBACK.match(match[0]):
            yield int(match[1] or match[2])


def _destinations(machine: Machine, folder: str) -> Iterator[Carrier]:
    """The gateways of the module dispatcher, where they are in a file: `1 sip:192.0.2.5:5060 …`."""
    path = f"{folder}/dispatcher.list"
    for line in machine.text(path).splitlines() if folder else ():
        words = line.split("#")[0].split()
        if len(words) > 1:
            yield Carrier(host_of(words[1]), path)
