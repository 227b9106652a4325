"""The filter table of iptables-nft without iptables, for a user who has CAP_NET_ADMIN alone.

There iptables cannot even list a rule that looks into a set: to learn the set's name its match `set` opens a raw socket,
which takes CAP_NET_RAW. ipset's netlink tells the name as well. What is made here is what iptables would have made, and is
read, changed and removed by it as its own. For our rules alone: see `xt_rules`.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sipguard.errors import FirewallError
from sipguard.firewall import xt_rules
from sipguard.netlink import NLM_F_ACK, NLM_F_REQUEST, Conversation, attribute, first, message

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator, Sequence

    from sipguard.firewall.nft_names import Family

_PATIENCE = 10.0
"""Seconds in which it is tried again when other programs change the tables all the time; iptables-legacy's lock waits so long."""
_PAUSE = 0.005
_CREATE, _APPEND = 0x400, 0x800  # NLM_F_…
_BATCH_BEGIN, _BATCH_END, _NFTABLES = 0x10, 0x11, 10
_BATCH_GENERATION = 1
_NEW_TABLE, _NEW_CHAIN, _GET_CHAIN, _DELETE_CHAIN, _NEW_RULE, _GET_RULE, _DELETE_RULE, _GET_GENERATION = (
    _NFTABLES << 8 | number for number in (0, 3, 4, 5, 6, 7, 8, 16)
)  # NFT_MSG_…
_TABLE_NAME = _CHAIN_TABLE = _RULE_TABLE = _GENERATION = 1
_CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 3, 4, 5, 7
_RULE_CHAIN, _RULE_HANDLE, _RULE_POSITION = 2, 3, 6
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_BUILT_IN, _ACCEPT = {"INPUT": 1, "FORWARD": 2, "OUTPUT": 3}, 1
"""Built-in chains with their hooks (enum nf_inet_hooks), and the policy that they begin with."""
_FILTER = b"filter\0"

_LIST_SETS = 6 << 8 | 7  # NFNL_SUBSYS_IPSET, IPSET_CMD_LIST
_SET_PROTOCOL, _SET_NAME, _SET_FLAGS, _SET_INDEX = 1, 2, 6, 11
_PROTOCOL = b"\7"
"""That tells a set's index: Linux 5.0 and later."""
_HEADERS_ONLY = 4
_NET_ORDER = 0x4000
_SET_ERRORS = 4096
"""IPSET_ERR_PRIVATE: from here on errors are ipset's own."""

T = TypeVar("T")
_Change = tuple[int, int, bytes]
"""Kind, flags and attributes of a message, but for the table's name."""


class _Rule(NamedTuple):
    chain: str
    text: str
    handle: bytes


class _State(NamedTuple):
    """The table as it was at one generation of the rule set."""

    generation: bytes
    chains: list[str]
    rules: list[_Rule]
    sets: dict[str, int]


class NetlinkFilter:
    """The filter table of one family; same methods as `ProgramFilter`. `pids` is given this thread when it changes it."""

    def __init__(self, family: Family, pids: deque[int]) -> None:
        self._family = family
        self._number = socket.AF_INET if family == "4" else socket.AF_INET6
        self._pids = pids

    def read(self) -> list[str]:
        """Give chains (`-N`) and rules (`-A`) as iptables -S does. Raises `FirewallError`."""
        state = self._try(self._read)
        return [f"-N {name}" for name in state.chains] + [f"-A {rule.chain} {rule.text}" for rule in state.rules]

    def restore(self, lines: Sequence[str]) -> None:
        """Do these lines of an iptables-restore script, all or none, and leave the rest. Raises `FirewallError`.

        One `-I` per chain: the place of a second would be counted without the first.
        """
        # The thread: that is what the kernel tells as the number of the process when it tells of a change.
        self._pids.append(threading.get_native_id())
        self._try(lambda kernel: self._change(kernel, lines))

    def _try(self, work: Callable[[Conversation], T]) -> T:
        """Work on one state of the table: when another program was faster, try again."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                with Conversation() as kernel:
                    return work(kernel)
            except OSError as error:
                if error.errno != errno.ERESTART or time.monotonic() > end:
                    raise FirewallError(f"iptables without CAP_NET_RAW: {_explained(error)}") from None
            time.sleep(_PAUSE)

    def _read(self, kernel: Conversation) -> _State:
        state = self._load(kernel)
        if _generation(kernel) != state.generation:
            raise OSError(errno.ERESTART, "changed meanwhile")
        return state

    def _load(self, kernel: Conversation) -> _State:
        sets = _sets(kernel)
        generation = _generation(kernel)
        chains = list(kernel.dump(_GET_CHAIN, self._number))
        rules = list(kernel.dump(_GET_RULE, self._number, attribute(_RULE_TABLE, _FILTER)))
        names = {index: name for name, index in sets.items()}
        return _State(
            generation,
            [_text(body, _CHAIN_NAME) for _, _, body in chains if first(body, _CHAIN_TABLE) == _FILTER],
            [
                _Rule(_text(body, _RULE_CHAIN), xt_rules.decode(body, self._family, names), first(body, _RULE_HANDLE))
                for _, _, body in rules
                if first(body, _RULE_TABLE) == _FILTER  # an old kernel gives those of all tables
            ],
            sets,
        )

    def _change(self, kernel: Conversation, lines: Sequence[str]) -> None:
        state = self._load(kernel)
        begin = attribute(_BATCH_GENERATION, state.generation)
        made = list(self._foundation(state, [line.split()[1] for line in lines]))
        try:
            for line in lines:
                made += self._translated(line, state)
        except KeyError as name:
            raise FirewallError(f"set {name} is gone: another program removed it") from None
        script = [message(_BATCH_BEGIN, NLM_F_REQUEST, 0, begin, resource=_NFTABLES)]
        for number, (kind, how, body) in enumerate(made, 1):
            flags = how | NLM_F_REQUEST | (NLM_F_ACK if number == len(made) else 0)
            script.append(message(kind, flags, self._number, attribute(_TABLE_NAME, _FILTER) + body, number))
        script.append(message(_BATCH_END, NLM_F_REQUEST, 0, resource=_NFTABLES))
        kernel.tell(b"".join(script))

    def _foundation(self, state: _State, named: Sequence[str]) -> Iterator[_Change]:
        """The table, and built-in chains with their hooks, where nobody has used iptables yet."""
        yield _NEW_TABLE, _CREATE, b""
        for name in _BUILT_IN.keys() & set(named) - set(state.chains):
            hook = attribute(_HOOK_NUMBER, _u32(_BUILT_IN[name])) + attribute(_HOOK_PRIORITY, _u32(0))
            yield (
                _NEW_CHAIN,
                _CREATE,
                _named(_CHAIN_NAME, name)
                + attribute(_CHAIN_HOOK, hook, nested=True)
                + attribute(_CHAIN_POLICY, _u32(_ACCEPT))
                + attribute(_CHAIN_TYPE, _FILTER),
            )

    def _translated(self, line: str, state: _State) -> Iterator[_Change]:
        """Turn a line into messages; rules that it inserts or removes are so in `state` too."""
        verb, chain, *rest = line.split(" ", 2)
        if verb.startswith(":"):  # makes the chain, and empties it if it is there
            chain = verb[1:]
            yield _NEW_CHAIN, _CREATE, _named(_CHAIN_NAME, chain)
            verb = "-F" if chain in state.chains else ""
        in_chain = _named(_RULE_CHAIN, chain)
        if verb == "-F":
            yield _DELETE_RULE, 0, in_chain
        elif verb == "-X":
            yield _DELETE_CHAIN, 0, _named(_CHAIN_NAME, chain)
        elif verb == "-A":
            yield _NEW_RULE, _CREATE | _APPEND, in_chain + xt_rules.encode(rest[0], self._family, state.sets)
        elif verb == "-D":
            found = [rule for rule in state.rules if (rule.chain, rule.text) == (chain, rest[0])]
            for rule in found[:1]:  # none: somebody else has removed it by now
                state.rules.remove(rule)
                yield _DELETE_RULE, 0, in_chain + attribute(_RULE_HANDLE, rule.handle)
        elif verb == "-I":
            place, _, text = rest[0].partition(" ")
            new = in_chain + xt_rules.encode(text, self._family, state.sets)
            behind = [one.handle for one in state.rules if one.chain == chain][int(place) - 1 :]
            if behind:
                yield _NEW_RULE, _CREATE, new + attribute(_RULE_POSITION, behind[0])
            else:
                yield _NEW_RULE, _CREATE | _APPEND, new


def _generation(kernel: Conversation) -> bytes:
    return first(kernel.ask(_GET_GENERATION, socket.AF_UNSPEC).body, _GENERATION)


def _sets(kernel: Conversation) -> dict[str, int]:
    """Name → index of every ipset."""
    asked = attribute(_SET_PROTOCOL, _PROTOCOL) + attribute(_SET_FLAGS | _NET_ORDER, _u32(_HEADERS_ONLY))
    return {
        _text(body, _SET_NAME): int.from_bytes(first(body, _SET_INDEX), "big")
        for _, _, body in kernel.dump(_LIST_SETS, socket.AF_INET, asked)
    }


def _text(body: bytes, kind: int) -> str:
    return first(body, kind).rstrip(b"\0").decode("ascii", "replace")


def _named(kind: int, name: str) -> bytes:
    return attribute(kind, name.encode("ascii") + b"\0")


def _u32(number: int) -> bytes:
    return struct.pack(">I", number)


def _explained(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return "run as root or with CAP_NET_ADMIN"
    if error.errno == errno.ERESTART:
        return f"other programs changed the tables all the time, for {_PATIENCE:g} s"
    if (error.errno or 0) >= _SET_ERRORS:
        return "this kernel's ipset does not tell a set's number (Linux 5.0 does): give CAP_NET_RAW as well"
    return f"the kernel refused: {error.strerror}"
