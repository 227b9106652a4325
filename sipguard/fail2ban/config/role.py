"""Decides whether sipguard's own firewall can replace an action of a Fail2ban tree.

Nothing that an action does may be lost. It is replaced only if every command is understood and concerns this host's firewall.
Any other action runs as written; if it also rejects addresses, sipguard's firewall rejects them too.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from sipguard.fail2ban.config.actions import commands_for
from sipguard.fail2ban.config.shell_words import SimpleCommand, UnclearError, simple_commands
from sipguard.model import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FIREWALLS = _words(
    "iptables ip6tables iptables-legacy ip6tables-legacy iptables-nft ip6tables-nft nft ipset firewall-cmd ufw csf shorewall "
    "shorewall6 pfctl ipfw ipf npfctl apf afctl route conntrack"
)
# Programs that change nothing: they print, compare or wait.
_HARMLESS = _words(
    "echo printf true false test [ [[ : grep egrep fgrep awk sed cut tr cat head tail wc sort uniq sleep exit return read id "
    "basename dirname expr seq date hostname break continue set shift wait local export unset which type"
)
_NO_FILE = frozenset({"/dev/null", "/dev/stderr", "/dev/stdout"})
_FIREWALL_FILE = re.compile(r"/etc/hosts\.deny|/proc/net/(?:xt|ipt)_recent/.*")
_PASSES = _words("ACCEPT RETURN LOG NFLOG MARK CONNMARK CLASSIFY REDIRECT DNAT TEE TRACE")
_LOGS = frozenset({"LOG", "NFLOG"})
# Words that let an address in: in ufw, shorewall, csf, firewall-cmd, and in names of sets.
_WELCOMES = re.compile(r"(?:.*[-_=])?(?:allow|accept|white|trust)\w*|.*\baccept\b.*", re.IGNORECASE | re.DOTALL)
_ASKS = re.compile(r"-[LSC]|--(?:list|check|query|get|state).*")
_ASKING = frozenset({"list", "test", "show", "status", "save", "app", "get", "info"})
# iptables matches with which a rule still covers every packet of an address.
_PLAIN_MATCHES = _words("set tcp udp sctp dccp multiport comment conntrack state recent addrtype iprange")
_TAG = re.compile(r"<([A-Za-z][^ <>]*)>")
_ADDRESS = "ADDRESS_OF_THE_BAN"
_ADDRESS_TAGS = frozenset({"ip", "fid", "F-ID"})
# For a text that cannot be parsed.
_BLOCKS = re.compile(r"(?:-j|--jump)\s+(?:DROP|REJECT)|\b(?:drop|reject)\b")

_Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Role:
    """How sipguard handles one action."""

    replaced: bool
    """Not run: sipguard's own firewall does its work."""
    rejects: bool
    """It rejects addresses on this host; sipguard's firewall then does so too, whether the action runs or not."""
    why: str
    """What the action does, for messages."""

    def told(self, action: Action) -> str:
        """One line for the operator: whether an action runs, and why."""
        if self.replaced:
            return f"{action.name}: replaced by sipguard's firewall; {self.why}"
        beside = ", beside sipguard's firewall" if self.rejects else ""
        return f"{action.name}: runs as written{beside}; {self.why}"


def role_of(action: Action) -> Role:
    """Find the role of an action. Raises `ConfigError` if one of its tags refers to itself."""
    if action.python:
        return Role(replaced=False, rejects=False, why="it is a Python action")
    parts = (action.commands, action.properties, action.flags)
    return _role(action.origin, *(tuple(part.items()) for part in parts))


@lru_cache(maxsize=1024)  # a jail's actions are asked about at every reload, by several
def _role(origin: str, commands: _Pairs, properties: _Pairs, flags: tuple[tuple[str, bool], ...]) -> Role:
    return _find_role(Action("", "", dict(commands), dict(flags), dict(properties), origin=origin))


def _find_role(action: Action) -> Role:
    texts = [(verb, text) for family in ("inet4", "inet6") for verb, text in commands_for(action, family).items()]
    try:
        commands = [(verb, one) for verb, text in texts for one in simple_commands(_TAG.sub(_placeholder, text))]
    except UnclearError as error:
        blocks = any(_BLOCKS.search(text) for verb, text in texts if verb in ("actionstart", "actionban"))
        return Role(replaced=False, rejects=blocks, why=f"its commands hold {error}")
    others = _names(one for _, one in commands if not _is_local(one) and not _is_harmless(one))
    local = _names(one for _, one in commands if _is_local(one))
    making = [one for verb, one in commands if verb in ("actionstart", "actionban") and _is_local(one)]
    banning = [one for verb, one in commands if verb == "actionban"]
    special = next(filter(None, map(_more_than_an_address, making)), "")
    if special:
        return Role(replaced=False, rejects=False, why=f"its rules look at more than the address ({special})")
    names_it = any(_ADDRESS in word for one in banning for word in one.words)
    # A custom script that is given a `blocktype` rejects addresses as well.
    rejects = (names_it and any(map(_rejects, banning))) or bool(others and "blocktype" in action.properties)
    if rejects and not others:
        return Role(replaced=True, rejects=True, why=f"it does firewall work alone ({local})")
    if rejects:
        return Role(replaced=False, rejects=True, why=f"it does more than firewall work ({others})")
    what = ", ".join(filter(None, (others, local)))
    return Role(replaced=False, rejects=False, why=f"it rejects nobody on this host ({what or 'no command'})")


def _placeholder(match: re.Match[str]) -> str:
    return _ADDRESS if match[1] in _ADDRESS_TAGS else "TAG_OF_THE_BAN"


def _is_local(command: SimpleCommand) -> bool:
    """Whether the command changes this host's firewall and does nothing else."""
    if not set(command.files) <= _NO_FILE:
        return all(_FIREWALL_FILE.fullmatch(file) for file in command.files) and command.program in _HARMLESS
    words = command.words
    if command.program == "ip":
        return next((word for word in words[1:] if not word.startswith("-")), "") in ("route", "rule")
    if command.program == "ss":
        return "-K" in words
    if command.program == "sed":
        return _in_place(words) and bool(_FIREWALL_FILE.fullmatch(words[-1]))
    return command.program in _FIREWALLS


def _is_harmless(command: SimpleCommand) -> bool:
    if not set(command.files) <= _NO_FILE or _in_place(command.words):
        return False
    if command.program in ("awk", "sed") and any("system" in word or "/e" in word for word in command.words):
        return False
    return not command.words or command.program in _HARMLESS


def _in_place(words: Sequence[str]) -> bool:
    return words[:1] == ["sed"] and any(word.startswith(("-i", "--in-place")) for word in words)


def _rejects(command: SimpleCommand) -> bool:
    """Whether the command rejects an address: it changes the firewall, is not a query, and does not let it pass."""
    words = command.words
    if not _is_local(command) or command.program in ("conntrack", "ss"):
        return False
    first = next((word for word in words[1:] if not word.startswith("-")), "")
    if first in _ASKING or any(_ASKS.fullmatch(word) for word in words):
        return False
    if command.program == "csf" and {"-a", "-ta"} & set(words):
        return False
    if any(_WELCOMES.fullmatch(word) for word in words[1:]) or _PASSES & set(_targets(words)):
        return False
    outgoing = any(
        before in ("-d", "--destination", "--dst", "daddr") and _ADDRESS in word for before, word in _pairs(words)
    )
    return not outgoing


def _more_than_an_address(command: SimpleCommand) -> str:
    """What a rule matches beside address, protocol and ports; usually empty."""
    words = command.words
    matches = [word for before, word in _pairs(words) if before in ("-m", "--match") and word not in _PLAIN_MATCHES]
    if matches and not _LOGS & set(_targets(words)):
        return " ".join(matches)
    return "limit" if command.program == "nft" and "limit" in words else ""


def _targets(words: Sequence[str]) -> list[str]:
    return [word for before, word in _pairs(words) if before in ("-j", "-g", "--jump", "--goto")]


def _pairs(words: Sequence[str]) -> Iterable[tuple[str, str]]:
    return itertools.pairwise(words)


def _names(commands: Iterable[SimpleCommand]) -> str:
    """The programs and the files written, each once."""
    found = set()
    for command in commands:
        files = [file for file in command.files if file not in _NO_FILE]
        found.add(f"writes {' '.join(files)}" if files else command.program)
    return ", ".join(sorted(found))
