"""Packets in, attempts out: who failed to authenticate, and what proves that it was this address.

Judge first, then record the nonces of the answer. ACK and To tags prove nothing: they can be computed by strangers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.detection.sip import messages
from sipguard.detection.sip.blind_times import BlindTimes
from sipguard.detection.sip.generations import Generations
from sipguard.detection.sip.nonces import LIFETIME as NONCE_LIFETIME
from sipguard.detection.sip.nonces import Nonces
from sipguard.detection.sip.proof import weigh
from sipguard.detection.sip.relays import Relays
from sipguard.detection.sip.replies import Held, Reply, reply_of
from sipguard.detection.sip.transactions import Pending, Transactions
from sipguard.wire_model import Attempt, Blindness, Packet

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from sipguard.detection.sip.messages import Answer
    from sipguard.detection.sip.proof import Weighed
    from sipguard.wire_model import AttemptVerdict, Evidence

_ACCEPTED_LIFETIME = 7200.0
_ACCEPTED_MOST = 100_000
_CALLS_LIFETIME = 64.0
"""Seconds in which an answer may be repeated: timer H (RFC 3261, 17.2.1), doubled."""
_CALLS_MOST = 50_000
_DOUBTS_MOST = 20_000
_SERVERS_MOST = 10_000
_TO_NOWHERE = frozenset({403, 404, 410, 480, 484, 485, 604})
"""Answers to calls without credentials that a scan of numbers gets."""
_JUDGED = frozenset({"REGISTER", "INVITE", "SUBSCRIBE", "MESSAGE", "PUBLISH"})


class Tracker:
    """SIP of one place of observation. Feed it packets in the order in which they were seen.

    `own` are the machine's addresses: packets between them count for nothing, and they are never accused. Where they are
    not known (another machine's capture), `servers` collects who has answered credentials. `proxies` are never accused, and
    prove nobody. `spoilt`: servers that have shown predictable nonces before. `patience`: seconds that an answer to unknown
    nonces waits for its challenge, where packets may come out of order. `ordered`: answers come in the order in which they were
    sent, so that a nonce that is not known was not sent; and no guesser gains by answers that wait.
    """

    def __init__(
        self,
        *,
        own: Container[str] = (),
        proxies: Container[str] = (),
        spoilt: Iterable[str] = (),
        trusted: bool = True,
        patience: float = 0.0,
        ordered: bool = False,
    ) -> None:
        self.own = own
        self.proxies = proxies
        self.trusted = trusted
        """False: whoever sends these packets may have made them up, so they are a report and no proof."""
        self.nonces = Nonces(spoilt)
        self.servers: dict[str, int] = {}
        """Who has answered requests with credentials that were sent to it, and how often."""
        self._transactions = Transactions()
        self._ordered = ordered
        self._held = Held(patience, 1) if ordered else Held(patience)
        self._accepted: Generations[int, bool] = Generations(_ACCEPTED_LIFETIME, _ACCEPTED_MOST)
        self._calls: Generations[int, bool] = Generations(_CALLS_LIFETIME, _CALLS_MOST)
        self._doubts: Generations[str, bool] = Generations(NONCE_LIFETIME, _DOUBTS_MOST)
        """Addresses with an unproven failure."""
        self.relays = Relays()
        self.blind_times = BlindTimes()
        self.messages = 0
        self.unpaired = 0
        """Refused registrations whose request was not seen: packets are missing."""

    def feed(self, packet: Packet) -> list[Attempt]:
        """What this packet completes: usually nothing. Raises nothing, whatever the payload is."""
        self.messages += 1
        payload = packet.payload
        if payload.startswith((b"ACK ", b"SIP/2.0 1")):
            return []  # an ACK is never answered, a provisional answer is none
        if payload.startswith(b"SIP/2.0 ") or messages.is_answer(payload):
            if packet.inbound is True or packet.destination in self.own:
                return []
            answer = messages.answer(payload)
            return [] if answer is None else self._answer(packet, answer)
        if packet.inbound is False or packet.source in self.own or not messages.may_carry_credentials(payload):
            return []
        request = messages.request(payload)
        if request is None or request.method == "ACK" or packet.source in self.proxies:
            return []
        return [self._unanswered(one) for one in self._transactions.add(packet, request)]

    def expire(self, now: float) -> list[Attempt]:
        """The requests that nobody has answered within 32 s, as attempts without verdict (`seen`)."""
        found = self._judge_held(now) if self._held else []
        return found + [self._unanswered(one) for one in self._transactions.expire(now)]

    def blind(self, since: float, until: float, reason: str, address: str = "") -> None:
        """Packets may have gone unseen between these times, so what is missing then proves nothing.

        `address`: those of this one alone (IPv6: of its /64); empty: of all.
        """
        self.blind_times.add(Blindness(since, until, reason), address)

    def blindness(self, since: float, until: float, address: str = "") -> str:
        """Why packets between these times, of this address or of any, may have gone unseen; "" when all were seen."""
        if reason := self.blind_times.reason(since, until, address):
            return reason
        lost = max(self.nonces.lost_until, self._transactions.lost_until)
        return "a table was full" if lost and since <= lost else ""

    def open_requests(self, address: str) -> list[Attempt]:
        """What this address has sent with credentials and nobody has answered yet, with the evidence of its nonces alone."""
        return [self._open(one) for one in self._transactions.open(address)]

    def _open(self, pending: Pending) -> Attempt:
        asked = pending.packet
        server = self._server(asked.destination)
        sent = [one for nonce in pending.request.nonces if (one := self.nonces.sent(server, nonce)) is not None]
        mine = any(one.owner == asked.source and self.nonces.proves(one) for one in sent)
        evidence: Evidence | None = "proven" if mine and self.trusted else None
        return self._attempt(pending, asked.time, 0, "seen", evidence)

    def _answer(self, packet: Packet, answer: Answer) -> list[Attempt]:
        status = answer.status
        ours = packet.inbound is False or packet.source in self.own
        pending, known = self._transactions.answered(packet, answer, ours=ours)
        found = self._judge_held(packet.time) if self._held else []
        if pending is not None:
            found += self._judge(pending, packet, status)
        elif not known and status == 403 and messages.method_of(packet.payload) == "REGISTER":
            self.unpaired += 1
        elif not known and status in _TO_NOWHERE and packet.destination not in self.proxies:
            found += self._scan(packet, answer)
        if status in {401, 407}:
            self._record(packet, pending.request.nonces if pending is not None else ())
            if self._held:
                nonces, _ = messages.nonces_in(messages.challenge(packet.payload))
                found += self._judge_again(self._held.with_nonces(nonces))
        return found

    def _judge(self, pending: Pending, packet: Packet, status: int) -> list[Attempt]:
        self._learn_server(pending.packet, packet)
        return self._weigh(pending, reply_of(packet, status), wait=True)

    def _weigh(self, pending: Pending, reply: Reply, *, wait: bool) -> list[Attempt]:
        """Judge this answer, or let it wait. Packets may arrive out of order: the challenge that it answers, or the answer that
        has accepted its nonce before, may still come."""
        weighed = weigh(pending, reply.packet, self._server(reply.packet.source), self.nonces)
        if wait:
            late = not (weighed.known or self._ordered)
            late = late or (reply.status in {401, 407} and self._transactions.waits_with_nonce_of(pending))
            if late and self._held.keep(pending, reply):
                return []
        pending.judged = True
        found = self._decide(pending, reply, weighed)
        if not self._held:
            return found
        found += self._judge_again(self._held.of(pending.packet.source, pending.request.nonces))
        if self._ordered:
            for one in self._held.all_of(pending.packet.source):
                found += self._weigh(*one, wait=False)
        return found

    def _judge_held(self, now: float) -> list[Attempt]:
        """Judge what has waited long enough."""
        due = self._held.due(now)
        return [attempt for one in due for attempt in self._weigh(*one, wait=False)]

    def _judge_again(self, held: list[tuple[Pending, Reply]]) -> list[Attempt]:
        """Look again at what has waited: what it waits for may have come."""
        return [attempt for one in held for attempt in self._weigh(*one, wait=True)]

    def _decide(self, pending: Pending, reply: Reply, weighed: Weighed) -> list[Attempt]:
        verdict = self._verdict(pending, reply, weighed)
        if verdict is None:
            return []
        alarm, time = False, reply.packet.time
        if weighed.evidence == "unproven" and verdict == "stale":
            # An invented nonce: a guess, though this server may not have judged its password.
            verdict = "failure"
            alarm = self._doubts.get(pending.packet.source) is True and reply.of_asterisk
        elif weighed.evidence == "unproven" and verdict == "failure":
            self._doubts.put(pending.packet.source, True, time)
        attempt = self._attempt(pending, time, reply.status, verdict, weighed.evidence)
        if weighed.evidence == "unproven":
            # What is limited of one address is its requests. Its proof is in answers, which have a limit of their own.
            attempt = attempt._replace(blind=self.blindness(time - NONCE_LIFETIME, time), alarm=alarm)
        elif verdict == "success" and weighed.evidence == "proven":
            self.relays.login(attempt.address, attempt.user, reply.packet.payload)
        elif verdict == "failure" and weighed.address:
            attempt = attempt._replace(address=weighed.address)
        return self._released(attempt)

    def _verdict(self, pending: Pending, reply: Reply, weighed: Weighed) -> AttemptVerdict | None:
        """What servers mean by this answer to credentials; None for what tells nothing of them."""
        if reply.status in {401, 407}:
            if reply.stale:
                return "stale"
            return "again" if self._was_accepted(pending) else "failure"
        if reply.status == 403:
            return None if reply.call_failed else "failure"
        method = pending.request.method
        if reply.status < 300 and weighed.challenged == method and method in _JUDGED:
            self._accept(pending, reply.packet.time)
            return "success" if method == "REGISTER" else None
        return None

    def _released(self, attempt: Attempt) -> list[Attempt]:
        """The attempt, unless it accuses one of ours; as a report where the packets may be anybody's."""
        if attempt.address in self.own or attempt.address in self.proxies:
            return []
        if not self.trusted and attempt.evidence == "proven":
            attempt = attempt._replace(evidence="reported")
        elif not self.trusted and attempt.evidence == "lent":
            # Who made up the packets has chosen the owner too.
            attempt = attempt._replace(evidence="unproven", address=attempt.source)
        return [attempt]

    def _scan(self, packet: Packet, answer: Answer) -> list[Attempt]:
        """A call to nowhere. Over UDP nothing proves the address."""
        if messages.method_of(packet.payload) != "INVITE":
            return []
        headers = messages.headers(packet.payload)
        key = hash((packet.destination, answer.branches, headers.calls, headers.cseqs))
        if self._calls.get(key):
            return []
        self._calls.put(key, True, packet.time)
        return self._released(
            Attempt(
                time=packet.time,
                address=packet.destination,
                source=packet.destination,
                port=packet.destination_port,
                server=packet.source,
                server_port=packet.source_port,
                transport=packet.transport,
                method="INVITE",
                user=headers.to_user,
                account=headers.to_user,
                agent="",
                status=answer.status,
                verdict="scan",
                evidence="unproven" if packet.transport == "udp" else "proven",
            )
        )

    def _record(self, packet: Packet, carried: tuple[int, ...]) -> None:
        """Remember whom the nonces of a challenge were sent to; `carried` are those of the request that it answers."""
        if packet.destination in self.servers:
            return
        owner = "" if packet.destination in self.proxies else packet.destination
        self.nonces.record(
            self._server(packet.source),
            packet.source_port,
            messages.method_of(packet.payload),
            owner,
            messages.challenge(packet.payload),
            packet.time,
            carried,
        )

    def _server(self, address: str) -> str:
        """All addresses of this machine are one server: a nonce fetched at one serves at the other."""
        return "" if address in self.own else address

    def _learn_server(self, request: Packet, answer: Packet) -> None:
        """Who answers credentials that were sent to it is a server; nobody can make himself one."""
        server = answer.source
        if server != request.destination or answer.destination != request.source:
            return
        if server in self.servers or len(self.servers) < _SERVERS_MOST:
            self.servers[server] = self.servers.get(server, 0) + 1

    def _accept(self, pending: Pending, now: float) -> None:
        for nonce in pending.request.nonces:
            self._accepted.put(self._acceptance(pending, nonce), True, now)

    def _was_accepted(self, pending: Pending) -> bool:
        """Whether the server has taken these credentials' nonce before: a phone tries it again, and once only."""
        for nonce in pending.request.nonces:
            key = self._acceptance(pending, nonce)
            if self._accepted.get(key):
                self._accepted.put(key, False, pending.packet.time)
                return True
        return False

    def _acceptance(self, pending: Pending, nonce: int) -> int:
        return hash((pending.packet.source, pending.request.user, nonce))

    def _unanswered(self, pending: Pending) -> Attempt:
        return self._attempt(pending, pending.packet.time, 0, "seen")

    def _attempt(
        self, pending: Pending, time: float, status: int, verdict: AttemptVerdict, evidence: Evidence | None = None
    ) -> Attempt:
        packet, request = pending.packet, pending.request
        headers = request.headers
        target = headers.to_user
        # By position: twice as fast.
        return Attempt(
            time,
            packet.source,
            packet.source,
            packet.source_port,
            packet.destination,
            packet.destination_port,
            packet.transport,
            request.method,
            request.user,
            target if request.method == "REGISTER" else headers.from_user,
            headers.agent,
            status,
            verdict,
            evidence,
            False,
            "",
            target,
        )
