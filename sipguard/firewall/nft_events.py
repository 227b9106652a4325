"""What other programs take away from nf_tables, as the kernel tells it (linux/netfilter/nf_tables.h, NFNLGRP_NFTABLES).

Every transaction ends in a message with the name and the number of the process that made it: so the log can say who it was.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import NamedTuple

from sipguard import netlink
from sipguard.text import printable

_GROUP = 1 << (7 - 1)
"""NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h."""
_SUBSYSTEM = 10 << 8
_DELETIONS = {
    _SUBSYSTEM | 2: "table",
    _SUBSYSTEM | 5: "chain",
    _SUBSYSTEM | 8: "rule",
    _SUBSYSTEM | 11: "set",
    _SUBSYSTEM | 14: "element",
}
_NEW_TABLE = _SUBSYSTEM | 0
"""Comes too when a table is put to sleep (`flags dormant`)."""
_NEW_RULE = _SUBSYSTEM | 6
_INTRUSIONS = {_NEW_TABLE: "table", _NEW_RULE: "rule"}
_NEW_GENERATION = _SUBSYSTEM | 15
_GENERATION_PID, _GENERATION_NAME = 2, 3
_TABLE = 1
"""The table's name is the first attribute of all of these."""
_BUFFER = 1 << 18
_ROOM = 4 << 20
"""Bytes that may wait in the kernel: a start with 100,000 bans is told in as many elements."""


class Change(NamedTuple):
    """One transaction in which something was deleted, a rule made, or a table changed."""

    what: frozenset[str]
    """`table`, `chain`, `rule`, `set`, `element` of a table of ours (bans, feeds, wire); `xtables` for one that iptables uses."""
    pid: int
    who: str
    """The name of the process; empty when the kernel does not tell."""


class NftEvents:
    """A socket that hears of changes in this namespace. Raises `OSError` where the kernel has no nf_tables, or not for us."""

    def __init__(self, table: str = "sipguard") -> None:
        self._tables = {f"{table}{part}".encode() for part in ("", "_feeds", "_wire")}
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, netlink.NETLINK_NETFILTER
        )
        try:
            # SO_RCVBUFFORCE, beyond the host's limit: CAP_NET_ADMIN may.
            self._socket.setsockopt(socket.SOL_SOCKET, 33, _ROOM)
            self._socket.bind((0, _GROUP))
        except OSError:
            self._socket.close()
            raise
        self._what: set[str] = set()

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def read(self) -> list[Change]:
        """What has been told by now. When more was told than the kernel could keep, that is one change of everything."""
        changes: list[Change] = []
        while True:
            try:
                data = self._socket.recv(_BUFFER)
            except BlockingIOError:
                return changes
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                changes.append(Change(frozenset(_DELETIONS.values()), 0, ""))
                continue
            for message in netlink.messages(data):
                if change := self._take(message):
                    changes.append(change)

    def _take(self, message: netlink.Message) -> Change | None:
        if message.kind == _NEW_GENERATION:
            what, self._what = frozenset(self._what), set()
            if not what:
                return None
            (pid,) = struct.unpack(">I", netlink.first(message.body, _GENERATION_PID) or b"\0\0\0\0")
            name = netlink.first(message.body, _GENERATION_NAME).rstrip(b"\0").decode("utf-8", "replace")
            return Change(what, pid, printable(name))
        kind = _DELETIONS.get(message.kind) or _INTRUSIONS.get(message.kind)
        if not kind:
            return None
        table = netlink.first(message.body, _TABLE).rstrip(b"\0")
        inet = message.family == 1  # NFPROTO_INET
        if inet and table in self._tables:
            self._what.add(kind)
        elif not inet and table == b"filter":
            self._what.add("xtables")
        return None
