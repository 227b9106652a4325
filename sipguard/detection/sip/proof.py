"""What proves that a request came from the address it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sipguard.detection.sip.nonces import Nonces, Sent
    from sipguard.detection.sip.transactions import Pending
    from sipguard.wire_model import Evidence, Packet


class Weighed(NamedTuple):
    """The evidence of one request."""

    evidence: Evidence
    address: str = ""
    """Whom it is charged to where that is not its source: the one to whom the nonce was sent."""
    challenged: str = ""
    """The method of the request that brought this nonce, at the port that answers now: only what is asked for credentials
    proves something by accepting them."""
    known: bool = True
    """Whether the server is known to have sent one of the nonces, to anybody; or that does not matter."""


def weigh(pending: Pending, answer: Packet, server: str, nonces: Nonces) -> Weighed:
    """The evidence that this answered request came from its source.

    TCP, TLS, WS and WSS: that the server has sent this answer on the request's own connection, since a stranger cannot
    finish the handshake of another's. UDP: the nonces of its credentials.
    """
    request = pending.packet
    carried = pending.request.nonces
    if len(carried) == 1:  # nearly always, and most are proven
        sent = nonces.sent(server, carried[0])
        if sent is not None and sent.owner == request.source and nonces.proves(sent):
            return Weighed("proven", "", _challenged([sent], answer))
        found = [] if sent is None else [sent]
    else:
        found = [sent for nonce in carried if (sent := nonces.sent(server, nonce)) is not None]
    mine = [sent for sent in found if sent.owner == request.source]
    challenged = _challenged(mine, answer) if mine else ""
    if request.transport != "udp" and _same_connection(request, answer):
        return Weighed("proven", challenged=challenged)
    if mine and any(map(nonces.proves, mine)):
        return Weighed("proven", challenged=challenged)
    if not nonces.trusts(server, answer.source_port):
        # Many have its nonces: that it has taken the password of one of them shows as much.
        shared = [sent for sent in found if sent.owner in ("", request.source)]
        return Weighed("reported", challenged=_challenged(shared, answer), known=bool(found))
    owners = {sent.owner for sent in found}
    if len(owners) == 1 and "" not in owners and not mine and all(map(nonces.proves, found)):
        owner = owners.pop()
        if owner != request.destination:
            return Weighed("lent", owner)
    return Weighed("unproven", challenged=challenged, known=bool(found))


def _same_connection(request: Packet, answer: Packet) -> bool:
    return (
        answer.transport == request.transport
        and answer.destination == request.source
        and answer.destination_port == request.source_port
    )


def _challenged(mine: list[Sent], answer: Packet) -> str:
    for sent in mine:
        if sent.origin.port == answer.source_port:
            return sent.origin.method
    return ""
