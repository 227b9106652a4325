"""The nouns that the stages share: frozen, without behaviour that touches the outside.

Times are POSIX seconds (float). Spans are seconds. Addresses are canonical text as `ipaddress` prints it: `203.0.113.5`,
`2001:db8::5`, or a network with its prefix, `2001:db8::/64`; an IPv4-mapped IPv6 address is written as IPv4.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from sipguard.failure import NO_REGEX as NO_REGEX  # noqa: PLC0414 - as the next
from sipguard.failure import NO_TAGS
from sipguard.failure import Failure as Failure  # noqa: PLC0414 - one of the nouns
from sipguard.wire_model import Evidence

Clock = Callable[[], float]
"""Gives the time now in POSIX seconds. Injected, so that tests and replays have their own."""

BY_HAND = "by-hand"
"""The jail of bans by hand that name no other: it reads nothing."""

FOREVER = math.inf  # the end of a ban that does not end by itself

Verdict = Literal["reject", "drop"]  # what the firewall does with a banned address's packets

RejectWith = Literal["port-unreachable", "host-unreachable", "admin-prohibited"]
"""What the sender of a rejected packet is told by ICMP; TCP is reset."""

UseDns = Literal["yes", "warn", "no", "raw"]
"""jail.conf(5) `usedns`: whether a host name in the log may be resolved to the address to ban."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log has been read: stored together with what the lines before it have caused.

    A file is recognised by `head`, a hash of its first `head_size` bytes, and by device and inode.
    """

    path: str
    device: int
    inode: int
    head: str
    head_size: int
    offset: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of one log, each ended by LF, or what the last line of a file has that was rotated away within it."""

    path: str
    data: bytes
    position: Position
    oversize: int = 0
    """Lines left out before or within this chunk because they were longer than the limit."""
    records: tuple[tuple[float, str], ...] = ()
    """Of the journal instead of `data`: when each was logged, and its text, which may hold LF."""
    live: bool = False  # written since the end of this file was last read: each line was read as it was written
    ended: bool = False  # the end of this log was read before, whichever file it was in then
    before: bytes = b""
    """Whole lines that stand before the first chunk of a file that was read in part by an earlier run."""
    idle: float = 0.0
    """Seconds for which the log has had nothing new, of a chunk without lines: what that has shown to be whole is to be told."""


@dataclass(frozen=True, slots=True)
class LogPath:
    """A log to follow, or a pattern of such: one entry of `logpath`, jail.conf(5)."""

    pattern: str
    """A path or a glob."""
    tail: bool = False
    """Start at the end of the file where no position is stored."""

    @classmethod
    def parse(cls, text: str) -> LogPath:
        """From `/var/log/x`, `/var/log/x head` or `/var/log/x tail`."""
        pattern = text.removesuffix(" tail").removesuffix(" head").rstrip()
        return cls(pattern, text.endswith(" tail"))

    def __str__(self) -> str:
        return f"{self.pattern} tail" if self.tail else self.pattern

    def matches(self, path: str) -> bool:
        """Whether it stands for this path; a pattern that matches no file stands for itself."""
        return path == self.pattern or fnmatch.fnmatchcase(path, self.pattern)


@dataclass(frozen=True, slots=True)
class Filter:
    """What to look for in a log: a filter.d file with everything resolved but the `<HOST>` family of tags."""

    name: str
    failregex: tuple[str, ...]
    ignoreregex: tuple[str, ...] = ()
    prefregex: str | None = None
    datepattern: str | None = None
    """As written in the file (may hold several lines); None leaves it to the date detector."""
    maxlines: int = 1
    journalmatch: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    """Every other key of `[Definition]`, resolved: what Fail2ban ignores and sipguard may use (`successregex` and others)."""
    origin: str = ""
    """The file, for messages."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Key of `[Definition]` → its line in `origin`, for messages."""
    places: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Key that the jail itself sets or adds to → `file:line` there, for messages."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """What each failregex finds, in words: the key `reasons`; none where it has not as many lines as failregex."""
        names = tuple(name for line in self.options.get("reasons", "").split("\n") if (name := line.strip()))
        return names if len(names) == len(self.failregex) else ()

    def reason(self, regex: int | None) -> str | None:
        """What the failregex of this index finds; None where the filter does not say."""
        names = self.reasons
        return names[regex] if regex is not None and 0 <= regex < len(names) else None


class Success(NamedTuple):
    """A login that a filter's `successregex` recognised, in a log that no attacker can write whole lines into."""

    host: str
    time: float | None
    user: str | None = None
    tags: Mapping[str, str] = NO_TAGS


class Challenge(NamedTuple):
    """A server asked for credentials (`challengeregex`) or was answered (`answerregex`); neither is a failure."""

    host: str
    time: float | None
    user: str | None = None
    answered: bool = False
    tags: Mapping[str, str] = NO_TAGS


LogEvent = Failure | Success | Challenge
"""What a detector finds in a log."""


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a ban of one jail rejects."""

    jail: str
    ports: tuple[PortRange, ...] = ()
    """Destination ports; none means all."""
    protocols: tuple[str, ...] = ()
    """`tcp`, `udp`, `sctp`, `dccp`; none means every protocol."""
    verdict: Verdict = "reject"


@dataclass(frozen=True, slots=True)
class Ban:
    """An address that a jail rejects until a given time."""

    address: str
    jail: str
    since: float
    until: float
    attempts: int = 0
    """Counted failures that led here; 0 for a ban by hand."""
    count: int = 1
    """1 for this address's first ban in this jail."""
    reason: str = ""
    """For people: `5 failures in 3 s, users 1000 1001`, or what the operator gave."""
    evidence: Evidence | None = None
    """What it rests on, where it is known; one that rests on nothing proven (`unproven`) never grows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One element of sipguard's own sets, as the kernel lists it."""

    address: str
    jail: str
    until: float


@dataclass(frozen=True, slots=True)
class Action:
    """What a jail does on a ban beside the firewall: one use of an action.d file, with the parameters it was given."""

    name: str
    """Unique within its jail."""
    file: str
    """Name of the file in action.d: `iptables-multiport`, `smtp.py`."""
    commands: Mapping[str, str] = field(default_factory=dict)
    """`actionstart`, `actionban` … → shell text; the tags that only a ban knows (`<ip>`), or with a condition, are left."""
    flags: Mapping[str, bool] = field(default_factory=dict)
    """`norestored`, `actionstart_on_demand`, `actionrepair_on_unban`, where the file sets them."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """Every other tag of the commands as written: `[Init]`, the parameters; `timeout`, `blocktype?family=inet6`."""
    python: str = ""
    """Path of the Python file, for an action that is one; such have no commands."""
    origin: str = ""
    """The file, for messages."""


@dataclass(frozen=True, slots=True)
class NativeAction:
    """What a jail does on a ban beside the firewall: one entry of `actions` in sipguard's own configuration."""

    name: str
    """Unique within its jail."""
    type: Literal["webhook", "mail", "exec"]
    on: tuple[str, ...] = ("ban",)
    """What it is told of: `ban`, `unban`, `start`, `stop`, `alarm`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The settings of its type; what must not be shown is a `Secret`."""


@dataclass(frozen=True, slots=True)
class BanGrowth:
    """jail.conf(5) `bantime.*`: how the ban of an address grows with each one it had before."""

    increment: bool = False
    factor: float = 1.0
    formula: str | None = None
    """A Python expression over `ban.Time`, `ban.Count` and `banFactor`; None is Fail2ban's own doubling up to 2**20."""
    multipliers: tuple[int, ...] = ()
    """Taken instead of the formula when there are any; the last one counts for all further bans."""
    maxtime: float | None = None
    """Seconds."""
    rndtime: float | None = None
    """Seconds; up to so many are added at random."""
    overalljails: bool = False
    """Count the bans of every jail, not of this one alone."""


@dataclass(frozen=True, slots=True)
class IgnoreCache:
    """jail.conf(5) `ignorecache`: how long an answer of the ignore rules holds."""

    key: str
    max_count: int = 100
    max_time: float = 300.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Jail:
    """One service to protect: where its log is, what counts, how often is too often, and for how long."""

    name: str
    filter: Filter
    logpath: tuple[LogPath, ...] = ()
    log_places: tuple[LogPath, ...] = ()
    """Where the log may be, the best place first; `logpath` has the one that was chosen. Empty where there was no choice."""
    log_choice: str = ""
    """Why that one, for the operator."""
    rule: Rule = Rule(jail="")
    maxretry: int = 5
    findtime: float = 600.0
    bantime: float = 600.0
    ignoreip: tuple[str, ...] = ()
    """Addresses, networks and host names, as written."""
    ignoreself: bool = True
    usedns: UseDns = "no"
    polling: bool = False
    """Look at the log every second instead of asking the kernel to tell: for network file systems."""
    encoding: str = "utf-8"
    ipv6prefix: int = 128
    """Length of the network that IPv6 addresses are counted and banned by; 128 is each for itself."""
    maxusers: int = 0
    """From an address that has logged in, failures of fewer users than this are a phone with an old password; 0: a guess."""
    timezone: str | None = None
    """The zone of dates without one: `UTC`, `UTC+0200`, `Europe/Zurich`; None is the machine's own."""
    origin: str = ""
    """The file that defines it, for messages."""
    growth: BanGrowth = BanGrowth()
    ignorecommand: str = ""
    """A shell command with tags (`<ip>`) whose exit status 0 means: never ban this one."""
    ignorecache: IgnoreCache | None = None
    maxmatches: int | None = None
    """Lines kept of an address for `<matches>`; None is as many as maxretry."""
    journal: bool = False
    """Read the journal of systemd by `filter.journalmatch` instead of `logpath`."""
    journal_options: Mapping[str, str] = field(default_factory=dict)
    """`journalpath`, `journalfiles`, `journalflags`, `namespace`: jail.conf(5), `systemd` of `backend`."""
    actions: tuple[Action | NativeAction, ...] = ()
    """What a ban does beside the firewall."""
    source: Literal["logs", "wire"] = "logs"
    """What it reads: logs, or the SIP messages of the wire (docs/wire.md), which need no filter."""
    mode: Literal["attempts", "scan"] = "attempts"
    """Of a jail of the wire: whether it counts calls to nowhere too."""
    corroborate: bool = False
    """Whether lines and events count as far as the wire confirms them, where it is watched (docs/evidence.md)."""
    liberal: Filter | None = None
    """How such a jail reads its logs too where the wire proves who fails: what is found so alone counts with its word only."""
    events: str = ""
    """Where the server tells its events: `freeswitch://127.0.0.1:8021`, `asterisk://USER@127.0.0.1:5038`; none: nowhere."""
    events_password_file: str = ""
    """The file that holds the password for `events`; of FreeSWITCH none: its own event_socket.conf.xml."""
    idle: bool = False
    """Follow no log for now: Fail2ban's `set JAIL idle on`."""
    enforced: bool = True
    """Whether sipguard's firewall rejects who is banned; else a ban is stored, logged and given to the actions alone."""
    lag: Literal["learn", "now"] = "learn"  # what to make of lines that are old when they are written: see `policy.lag`


@dataclass(frozen=True, slots=True)
class Fleet:
    """Other nodes to share bans with, over Redis or Valkey (docs/fleet.md)."""

    url: str = field(repr=False)
    """`redis://…`, `rediss://…` (TLS) or `unix://…`; may hold a user and a password."""
    name: str
    """Of this node, unique in the fleet."""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    """Certificates to trust instead of the system's."""
    share: tuple[str, ...] = ("proven",)
    """Classes of evidence of the bans that the others are told of."""
    accept: tuple[str, ...] = ("proven",)
    """Classes of the others' bans that are rejected here."""
    max_time: float = 86_400.0
    """Seconds that a ban of others lasts here at most."""
    unban_from: tuple[str, ...] = ()
    """Nodes whose fleet-wide unbans are carried out here."""
    max_bans: int = 50_000
    """Bans that are taken from one node at most."""
    verdict: Verdict = "reject"


@dataclass(frozen=True, slots=True)
class Crowdsec:
    """CrowdSec's local API (docs/fleet.md): as a bouncer where there is a `key`, as a machine where there is a `login`."""

    url: str
    key: str = field(default="", repr=False)
    login: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    share: tuple[str, ...] = ("proven",)
    """Classes of evidence of the bans that CrowdSec is told of."""
    interval: float = 10.0
    """Seconds between two questions for decisions."""
    verdict: Verdict = "reject"


@dataclass(frozen=True, slots=True)
class Feed:
    """A list of addresses that others publish, to be rejected before they knock. APIBAN is the one with a `key`."""

    name: str
    url: str = ""
    """Where it is; of APIBAN the base, without key. It may hold a token, so it is shown without its query."""
    file: str = ""
    """Where it is when it is a file of this machine; then there is no `url`."""
    key: str = field(default="", repr=False)
    """APIBAN's key: a secret."""
    format: str = "auto"
    interval: float = 3600.0
    """Seconds between two fetches."""
    expiry: float = 7 * 86_400.0
    """Seconds after which an entry ends that was not listed again."""
    priority: int = 100
    """Feeds of a lower number come first: fetched, applied and named before the others."""
    max_growth: float = 3.0
    """Growth at once beyond this factor holds the feed."""
    max_size: int = 32 << 20
    """Bytes of one answer or file."""
    start: str = "100"
    """APIBAN's ID to begin with: 100 is the full list."""
    dataset: str = ""
    """APIBAN's: `sip`, `http`, `all`; none is the older interface, which has one."""
    ca_file: str = ""
    """Certificates to trust instead of the system's."""
    verdict: Verdict = "reject"
