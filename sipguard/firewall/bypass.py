"""Why a ban does not work: by which way an address reaches the server that the kernel should reject.

What is known: how many of its packets the kernel rejected since the ban, the flows that it has begun all the same
(connection tracking), and rules of others that translate addresses or offload flows. Nothing is changed here.
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from sipguard.firewall.foreign_rules import ForeignRule, ForeignRules, read_foreign_rules
from sipguard.firewall.tracked import Tracked, Tracking

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sipguard.model import Rule

Cause = Literal["proxy", "port", "translation", "legacy", "forward", "offload", "established", "unknown"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
_MOST_NAMED = 3


class Bypass(NamedTuple):
    """One way past a ban."""

    cause: Cause
    why: str
    """For people: what was seen, and how to mend it."""
    ours: bool = False
    """Whether sipguard mends it itself."""


class Seen(NamedTuple):
    """What is known of one banned address."""

    rule: Rule
    """What its ban rejects, as the kernel has it."""
    packets: int | None
    """How many of its packets were rejected; None where nobody counts them."""
    flows: Sequence[Tracked] | None
    """Those that it began, or answers and are offloaded; None where nothing is tracked."""
    heard: Sequence[Tracked] = ()
    """Flows of others."""
    foreign: ForeignRules = ForeignRules()
    problems: Sequence[str] = ()
    """What others have changed of ours."""
    before_translation: bool = True
    """Whether our rules see packets as they came: before address translation, and forwarded ones too."""
    forwarded: frozenset[str] = frozenset()
    """Servers of these flows that are behind this machine."""


class BypassSearch:
    """What this machine's rules and connection tracking say, each read when it is needed and at most once.

    To be used in the thread that may ask the kernel, for one look. `before_translation`, `problems`: as in `Seen`.
    """

    def __init__(
        self, *, before_translation: bool, problems: Sequence[str] = (), tracking: Tracking | None = None
    ) -> None:
        self._before_translation = before_translation
        self._problems = problems
        self._tracking = tracking or Tracking()

    @cached_property
    def _foreign(self) -> ForeignRules:
        return read_foreign_rules()

    @cached_property
    def _heard(self) -> list[Tracked]:
        return self._tracking.heard()

    def look(self, address: str, rule: Rule, packets: int | None) -> Bypass:
        """Find out about one banned address."""
        flows = self._tracking.of([address])
        return find(
            Seen(
                rule,
                packets,
                flows,
                heard=self._heard if flows == [] and not packets else (),
                foreign=self._foreign if flows else ForeignRules(),
                problems=self._problems,
                before_translation=self._before_translation,
                forwarded=frozenset(flow.server for flow in flows or () if not _is_local(flow.server)),
            )
        )


def _is_local(address: str) -> bool:
    """Whether an address is this machine's: others cannot be bound to (ip(7), but for `ip_nonlocal_bind`)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


def find(seen: Seen) -> Bypass:
    """The cause, by what is known; the surest sign first."""
    flows = list(seen.flows or ())
    if offloaded := [flow for flow in flows if flow.offloaded]:
        return _offloaded(offloaded[0], seen.foreign.offload)
    if seen.before_translation:
        others = [flow for flow in flows if not _rejects(seen.rule, flow)]
    else:
        others = [flow for flow in flows if not _rejects(seen.rule, flow._replace(port=flow.server_port))]
    if others:
        flow = next((one for one in others if one.translated), others[0])
        return _translated(seen.rule, flow, seen.foreign) if flow.translated else _other_port(seen.rule, flow)
    if flows and not seen.before_translation:
        return _past_our_chain(flows[0], seen)
    if flows:
        return Bypass(
            "established",
            f"{_named(flows[0])} goes on from before the ban"
            f"{_by(seen.problems)}; it is ended in connection tracking, and meets our rule again",
            ours=True,
        )
    return _without_flow(seen)


def _rejects(rule: Rule, flow: Tracked) -> bool:
    """Whether the rule is about this flow."""
    if rule.protocols and flow.protocol not in rule.protocols:
        return False
    return not rule.ports or any(one.first <= flow.port <= one.last for one in rule.ports)


def _named(flow: Tracked) -> str:
    return f"its flow over {flow.protocol.upper()} to {flow.target}, port {flow.port},"


def _ports(rule: Rule) -> str:
    return ", ".join(map(str, rule.ports))


def _by(problems: Sequence[str]) -> str:
    return f" ({'; '.join(problems[:_MOST_NAMED])})" if problems else ""


def _offloaded(flow: Tracked, rules: Sequence[ForeignRule]) -> Bypass:
    by = f" by {rules[0].where}" if rules else ""
    # Whoever began it: an answer offloads a flow as well. Not `th sport`, `th dport`: nft 1.0.6 makes one comparison of two `!=`.
    others = (
        f"meta l4proto {{ tcp, udp }} ct original proto-dst != {flow.port} ct original proto-src != {flow.server_port}"
    )
    return Bypass(
        "offload",
        f"{_named(flow)} is offloaded (flowtable){by}: no rule sees its packets. sipguard ends the flow, which old kernels "
        f"refuse and the server's packets bring back: offload no flow of port {flow.server_port} ({others} before `flow add`)",
        ours=True,
    )


def _translated(rule: Rule, flow: Tracked, foreign: ForeignRules) -> Bypass:
    """The kernel sees a port that the ban does not name, and the server another."""
    to = f"{flow.server}, port {flow.server_port}"
    remedy = (
        f"the jail rejects {_ports(rule) or 'other protocols'}: add {flow.port} to its ports, or set all_ports = true"
    )
    nft = _most_likely(foreign.translate, flow.port)
    legacy = _most_likely(foreign.legacy, flow.port)
    if nft and (not legacy or nft.names_port(flow.port)):
        return Bypass("translation", f"{_named(flow)} is translated to {to} by {nft.where}; {remedy}")
    if legacy:
        where = f"{legacy.where}, beside nf_tables"
        return Bypass("legacy", f"{_named(flow)} is translated to {to} by {where}; {remedy}")
    if foreign.hidden:
        hidden = f"a rule that sipguard may not read: {'; '.join(foreign.hidden)}"
        return Bypass("legacy", f"{_named(flow)} is translated to {to} by {hidden}; {remedy}")
    return Bypass("translation", f"{_named(flow)} is translated to {to}; {remedy}")


def _most_likely(rules: Iterable[ForeignRule], port: int) -> ForeignRule | None:
    """The rule that names the port, else any."""
    rules = list(rules)
    return next((rule for rule in rules if rule.names_port(port)), rules[0] if rules else None)


def _other_port(rule: Rule, flow: Tracked) -> Bypass:
    rejects = _ports(rule) or ", ".join(rule.protocols)
    return Bypass(
        "port",
        f"{_named(flow)} is let through: the jail rejects {rejects} alone; add {flow.port} to its ports, "
        "or set all_ports = true",
    )


def _past_our_chain(flow: Tracked, seen: Seen) -> Bypass:
    """Chains of iptables see a packet after translation, and only on the way that they are in."""
    if flow.server in seen.forwarded:
        by = _most_likely([*seen.foreign.translate, *seen.foreign.legacy], flow.port) if flow.translated else None
        where = f" by {by.where}" if by else ""
        return Bypass(
            "forward",
            f"{_named(flow)} is sent on to {flow.server}, port {flow.server_port}{where}, past INPUT; our chain is "
            'jumped to from FORWARD as well now (for good: hooks = "FORWARD" in [firewall])',
            ours=True,
        )
    return Bypass(
        "established",
        f"{_named(flow)} is let through by a rule before ours{_by(seen.problems)}; our chain is put first again, and the "
        "flow is ended in connection tracking",
        ours=True,
    )


def _without_flow(seen: Seen) -> Bypass:
    """It has begun no flow that is tracked."""
    ports = _ports(seen.rule)
    if seen.packets:
        other = (
            f"to a port that the jail does not name (it rejects {ports}: try all_ports)" if ports else "by another way"
        )
        return Bypass(
            "port" if ports else "unknown",
            f"{seen.packets} of its packets were rejected, and others reach the server: {other}",
        )
    counted = "none of its packets has met the rule" if seen.packets == 0 else "lines of it go on"
    speakers = Counter(
        flow.source
        for flow in seen.heard
        if seen.rule.ports and _rejects(seen.rule, flow._replace(port=flow.server_port))
    )
    if speakers:
        named = ", ".join(source for source, _ in speakers.most_common(_MOST_NAMED))
        by = f"a proxy or an address translation in front of the server: {named} speaks to its ports"
    else:
        by = "a proxy or an address translation in front of this machine"
    other = (
        f", or to a port that the jail does not name (it rejects {ports}: try all_ports)"
        if ports and not speakers
        else ""
    )
    if seen.flows is not None:
        other = ""  # it would be tracked
    return Bypass(
        "proxy",
        f"the server goes on hearing it, and {counted}: they come from another address ({by}: ban there){other}",
    )
