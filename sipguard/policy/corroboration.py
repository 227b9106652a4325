"""Cross-examines what logs and servers' events say: an accusation counts as far as the wire confirms it (docs/evidence.md).

A line or event is testimony. It pairs one to one with an attempt that the wire has seen (same address, same user and method
where both name them, within `TOLERANCE`), and takes that attempt's class of evidence, never a better one. What pairs with none
is `contradicted` if the wire could have seen it and the address has sent nothing at all, `unproven` if it has sent something,
and `reported` where the wire cannot know. An attempt counts once for a jail, whoever tells of it first.

Nothing here reads or waits: times are POSIX seconds, given by the caller.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING, Protocol

from sipguard.addresses import canonical
from sipguard.model import Failure
from sipguard.policy.attempts import Attempts
from sipguard.policy.pairing import MEMORY, TOLERANCE, Testimony, Waiting, Witness, Witnesses, agrees
from sipguard.policy.wire import STRONG, classed, event_of
from sipguard.wire_model import Unpaired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sipguard.model import Filter
    from sipguard.wire_model import Attempt, Evidence

WAIT = 1.25
"""Seconds that an accusation waits for its packets: a line may be visible a second before the wire can judge its attempt."""
BRIEF = 0.1
"""The same where it will count anyway: to wait longer would give a guesser time."""
SOON = 0.05
"""The same of an address that has sent nothing yet; and between two looks whether the packets of before the line are read."""
LONGEST = 5.0
"""Seconds after which the wire is taken for one that cannot know: packets come faster than they are read."""
SIGHTED = 3
"""Proven attempts of a log that the wire has to confirm, before it is believed against that log."""
SIGHTED_FOR = 86_400.0
_MOST_HELD = 4096
_MOST_HELD_OF_ONE = 256
_MOST_TAKEN = 20_000
_MOST_REPORTED = 10_000
_UNSIGHTED = "the wire has not confirmed this log yet"
_UNREAD = "packets come faster than they are read"
_NO_FAILURE = frozenset({"again", "stale"})
"""What became of an attempt that a server may log as a failure and that is none."""


class Sight(Protocol):
    """What the wire knows, beside the attempts that it tells."""

    def unable(self, address: str, line: str) -> str:
        """Why the wire cannot know what this line is about; "" if it can. Without address and line: why it knows nothing."""

    def blindness(self, since: float, until: float, address: str) -> str:
        """Why packets of this address between these times may have gone unseen; "" if all were seen."""

    @property
    def read_until(self) -> float:
        """All packets that came before this time have been read."""

    def heard_from(self, address: str) -> bool:
        """Whether the address has sent anything, as far back as is remembered."""

    def waiting(self, address: str) -> Iterable[Attempt]:
        """The requests with credentials of this address that nobody has answered, with the evidence of their nonces."""

    def unmetered(self, *, seen: bool) -> str:
        """Why unproven guesses cannot be metered; "" if they can. `seen`: the wire has seen the guess itself."""

    def session(self, address: str, since: float, until: float) -> bool:
        """Whether an encrypted connection has carried the server's payload to this address between these times."""


class Confirmations:
    """When the wire has confirmed proven attempts of each log."""

    def __init__(self) -> None:
        self._of: dict[str, deque[float]] = {}

    def add(self, log: str, time: float) -> None:
        """One more."""
        self._of.setdefault(log, deque(maxlen=SIGHTED)).append(time)

    def sighted(self, log: str, now: float) -> bool:
        """Whether this log may be contradicted."""
        times = self._of.get(log)
        return times is not None and len(times) == SIGHTED and now - times[0] < SIGHTED_FOR

    def shift(self, seconds: float) -> None:
        """The clock was set."""
        for log, times in self._of.items():
            self._of[log] = deque((time + seconds for time in times), maxlen=SIGHTED)


class Corroboration:
    """One jail's logs and events, held against the wire."""

    def __init__(
        self,
        filter: Filter,  # noqa: A002 - the noun of the field
        sight: Sight,
        *,
        wait: float = WAIT,
        brief: float = BRIEF,
        sighted: bool = False,
        repeated: Callable[[str, Failure], None] = lambda _address, _failure: None,
    ) -> None:
        """`sighted`: treat every log as confirmed. `repeated` is called for a line whose attempt has already been counted.

        Raises `ConfigError`.
        """
        self.sight = sight
        self.confirmations = Confirmations()
        self.confirmed = 0
        self.cleared = 0
        """Lines about attempts that were no failure."""
        self.classes: Counter[Evidence] = Counter()
        """Lines and events that no attempt was found for, by what became of them."""
        self.reasons: Counter[str] = Counter()
        """Why some of them were `reported`."""
        self.kept: dict[int, Unpaired] = {}
        """Number → testimony that has begun to wait since the caller last looked; `settled`: numbers that wait no more."""
        self.settled: set[int] = set()
        self._attempts = Attempts(filter)
        self._sighted = sighted
        self._wait, self._brief = wait, brief
        self._repeated = repeated
        self._seen = Witnesses(dropped=self._settle_witness)
        """Attempts of which no line has told yet."""
        self._told = Waiting()
        """Testimony that counts, and whose attempt the wire has not shown yet."""
        self._held = Waiting(_MOST_HELD, _MOST_HELD_OF_ONE)
        self._reported_lately: dict[str, None] = {}
        """Who has failures that count as without the wire: the last ones, without end."""
        self._hearsay = Waiting(_MOST_HELD, _MOST_HELD_OF_ONE)
        """What only a liberal reading has found, and may yet be confirmed."""
        self.proven = 0
        """Attempts that the wire has proven."""
        self.hearsay_counted = 0
        self._taken: dict[tuple[str, float, int, str], None] = {}
        """Unanswered requests that a line has told of."""

    @property
    def next_due(self) -> float | None:
        """When `due` is to be asked; None while nothing waits."""
        return self._held.first_end

    def is_sighted(self, log: str, now: float) -> bool:
        """Whether this log may be contradicted."""
        return self._sighted or self.confirmations.sighted(log, now)

    def testify(self, failure: Failure, now: float, log: str = "") -> list[Failure]:
        """A line of `log` or an event accuses somebody: what is to be weighed of it now."""
        try:
            address = canonical(failure.host)
        except ValueError:
            return [failure]  # a name: who resolves it knows more than the wire
        time = now if failure.time is None or failure.time > now else failure.time
        if not self._attempts.new(address, failure, time):
            self._repeated(address, failure)
            return []
        testimony = Testimony.of(failure, address, time, log, now)
        if (witness := self._seen.take(testimony)) is not None:
            return self._pair(testimony, witness, now)
        if failure.evidence == "proven":  # by the connection that the server tells of
            self._told.add(testimony, now + MEMORY)
            return [classed(failure, "proven")]
        return self._wait_or_judge(testimony, now)

    def _wait_or_judge(self, testimony: Testimony, now: float) -> list[Failure]:
        """Testimony whose attempt the wire has not shown yet."""
        failure, address = testimony.failure, testimony.address
        why = self._why_unknown(testimony, now)
        if why not in {"", _UNSIGHTED} and (address in self._held or address in self._reported_lately):
            # It will count anyway, and to wait again would give a guesser time: as many tries as in all these moments.
            # Where only the log is new, the wire sees each packet that may be forged, and holds back who sends them.
            return [*self._judge_held(self._held.of(address), now), *self._judge(testimony, why, now)]
        if self._holds(testimony, why, now):
            self._keep("line", testimony, failure.regex, failure.lines[-1] if failure.lines else "")
            return []
        return self._judge(testimony, why, now)

    def _holds(self, testimony: Testimony, why: str, now: float) -> bool:
        """Whether this is to wait, and there is room."""
        return (end := self._end(testimony, why, now)) > now and self._held.add(testimony, end)

    def _end(self, testimony: Testimony, why: str, now: float) -> float:
        """Until when this is to wait for its packets.

        Where the wire can know, no line is judged before all packets are read that came before the line was: a line about a
        forged packet is known by that alone. Since the answer may come after the line, there is some patience on top.
        """
        seen, can_know = self.sight.heard_from(testimony.address), why in {"", _UNSIGHTED}
        patience = self._wait if not why else self._brief if seen else SOON if can_know else 0.0
        if can_know and self.sight.read_until < testimony.heard:
            return max(testimony.heard + patience, now + SOON)
        return testimony.heard + patience

    def hear(self, failure: Failure, now: float) -> list[Failure]:
        """A line that only a liberal reading has found accuses somebody: what is to be weighed of it now.

        Whoever can write into the log may have written it. So it counts as the proven attempt that it agrees with, if nothing
        else has told of that; never without one, and it takes nothing from those who tell of the same.
        """
        try:
            address = canonical(failure.host)
        except ValueError:
            return []
        time = now if failure.time is None or failure.time > now else failure.time
        testimony = Testimony.of(failure, address, time, "", now)
        if found := self._seen.first(testimony, _may_be_told_by_hearsay):
            return self._confirmed(testimony, found)
        if time > now - MEMORY:
            self._hearsay.add(testimony, now + self._wait)
        return []

    def _confirmed(self, testimony: Testimony, witness: Witness) -> list[Failure]:
        witness.counted = True
        self.hearsay_counted += 1
        assert witness.attempt.evidence is not None  # noqa: S101 - it is proven
        return [classed(testimony.failure, witness.attempt.evidence, attempt=witness.attempt)]

    def witness(self, attempt: Attempt, now: float) -> list[Failure]:
        """The wire has seen an attempt: what is to be weighed now."""
        if attempt.verdict == "success":
            return []
        witness = Witness(attempt)
        self.proven += attempt.evidence == "proven" and attempt.verdict == "failure"
        if (testimony := self._held.take(witness)) is not None:
            self._settle(testimony.number)
            return self._pair(testimony, witness, now)
        if self._take_told(witness, now):
            # Its line has counted. Whoever has lent the nonce has not.
            return [one] if attempt.evidence == "lent" and (one := self._own_word(witness)) else []
        found = self._own_word(witness)
        if found is not None and found.evidence in STRONG:
            self._keep("wire", witness, -1, "")
        self._seen.add(witness)
        if found is None and _may_be_told_by_hearsay(witness) and (heard := self._hearsay.take(witness)):
            return self._confirmed(heard, witness)
        return [found] if found is not None else []

    def _own_word(self, witness: Witness) -> Failure | None:
        """What the wire tells by itself: what is proven counts, what cannot be proven is metered."""
        attempt = witness.attempt
        if attempt.verdict != "failure" or attempt.evidence not in {*STRONG, "unproven"}:
            return None
        if attempt.evidence == "unproven" and attempt.blind:
            return None  # its proof may have gone unseen: its line counts as without the wire
        witness.counted = True
        event = event_of(attempt)
        return event if isinstance(event, Failure) else None

    def _take_told(self, witness: Witness, now: float) -> bool:
        testimony = self._told.take(witness)
        if testimony is None:
            return False
        self._note_pair(testimony, witness, now)
        return True

    def _note_pair(self, testimony: Testimony, witness: Witness, now: float) -> None:
        self.confirmed += 1
        if witness.attempt.evidence in {"proven", "lent"} and witness.attempt.verdict == "failure":
            self.confirmations.add(testimony.log, now)

    def _pair(self, testimony: Testimony, witness: Witness, now: float) -> list[Failure]:
        """Line and attempt are one: what is left to weigh."""
        self._settle_witness(witness)
        self._note_pair(testimony, witness, now)
        attempt, failure = witness.attempt, testimony.failure
        if attempt.verdict in _NO_FAILURE:
            self.cleared += 1
            return []
        evidence = attempt.evidence or ("unproven" if attempt.transport == "udp" else "reported")
        if evidence == "unproven" and (why := attempt.blind or self.sight.unmetered(seen=True)):
            return [self._reported(testimony, why)]  # nobody is to have more guesses than without the wire
        if witness.counted:
            self._repeated(attempt.address, failure)
            return []
        if evidence == "reported":
            return [self._reported(testimony, "the server's nonces prove nothing")]
        return [classed(failure, evidence, attempt=attempt)]

    def due(self, now: float) -> list[Failure]:
        """What has waited long enough: what is to be weighed of it."""
        found: list[Failure] = []
        for testimony in list(self._held.ended(now)):
            why = self._why_unknown(testimony, now)
            if not self._holds(testimony, why, now):
                self._settle(testimony.number)
                found += self._judge(testimony, why, now)
        return found

    def _judge_held(self, waited: Iterable[Testimony], now: float) -> list[Failure]:
        found: list[Failure] = []
        for testimony in waited:
            self._settle(testimony.number)
            found += self._judge(testimony, self._why_unknown(testimony, now), now)
        return found

    def end(self) -> list[Failure]:
        """The examination ends: what waits counts as without the wire."""
        found = [self._reported(one, "the wire is not watched any more") for one in self._held.ended(math.inf)]
        self.settled |= set(self.kept)
        return found

    def expire(self, now: float) -> None:
        """Forget what is too old to be told of."""
        self._seen.expire(now - MEMORY)
        for forgotten in (self._told, self._hearsay):
            for _ in forgotten.ended(now):
                pass

    def _judge(self, testimony: Testimony, why: str, now: float) -> list[Failure]:
        """Testimony that has found no attempt."""
        failure, address = testimony.failure, testimony.address
        for attempt in self.sight.waiting(address):
            key = (address, attempt.time, attempt.port, attempt.user)
            if key not in self._taken and agrees(testimony, Witness(attempt)):
                self._taken[key] = None
                if len(self._taken) > _MOST_TAKEN:
                    del self._taken[next(iter(self._taken))]
                self._told.add(testimony, now + MEMORY)
                return self._pair(testimony, Witness(attempt), now)
        if self.sight.session(address, testimony.time - TOLERANCE, testimony.time + TOLERANCE):
            # No packet tells of it, and none that may be forged is to take it for its own line.
            self.classes["corroborated"] += 1
            return [classed(failure, "corroborated")]
        present = self.sight.heard_from(address)
        if why == _UNSIGHTED and self.sight.read_until < testimony.heard:
            why = ""  # there was no room to wait for its packets; those lines that wait are enough for a ban
        why = why or (self.sight.unmetered(seen=False) if present else "")
        if why:
            if self._seen.take_counted(testimony) is not None:
                self._repeated(address, failure)  # other names, and nothing says that it is another attempt
                return []
            self._told.add(testimony, now + MEMORY)
            return [self._reported(testimony, why)]
        evidence: Evidence = "unproven" if present or not self.is_sighted(testimony.log, now) else "contradicted"
        self.classes[evidence] += 1
        return [classed(failure, evidence)]

    def _reported(self, testimony: Testimony, why: str) -> Failure:
        self.classes["reported"] += 1
        self.reasons[why] += 1
        self._reported_lately[testimony.address] = None
        if len(self._reported_lately) > _MOST_REPORTED:
            del self._reported_lately[next(iter(self._reported_lately))]
        return classed(testimony.failure, "reported", why=why)

    def _why_unknown(self, testimony: Testimony, now: float) -> str:
        """Why the wire cannot know of this; "" when it would."""
        time = testimony.time
        line = testimony.failure.lines[-1] if testimony.failure.lines else ""
        if why := self.sight.unable(testimony.address, line):
            return why
        if time < now - MEMORY:
            return "the line is older than the wire's memory"
        if why := self.sight.blindness(time - TOLERANCE, time + TOLERANCE, testimony.address):
            return why
        if self._seen.lost_until(testimony.address) >= time - TOLERANCE:
            return "more attempts came than can be remembered"
        if self.sight.read_until < testimony.heard < now - LONGEST:
            return _UNREAD
        return "" if self.is_sighted(testimony.log, now) else _UNSIGHTED

    def _keep(self, kind: str, what: Testimony | Witness, regex: int, line: str) -> None:
        self.kept[what.number] = Unpaired(what.number, kind, what.address, what.time, what.user, line, regex)

    def _settle(self, number: int) -> None:
        self.settled.add(number)

    def _settle_witness(self, witness: Witness) -> None:
        if witness.counted:
            self._settle(witness.number)

    def restore(self, rows: Sequence[Unpaired], attempt_of: Callable[[Unpaired], Attempt]) -> None:
        """Attempts that an earlier run has counted, and of which a line may still tell."""
        for row in rows:
            witness = Witness(attempt_of(row), number=row.number)
            witness.counted = True
            self._seen.add(witness)

    def shift(self, seconds: float) -> None:
        """The clock was set: what is behind lies as far behind as before."""
        for keeper in (self.confirmations, self._attempts, self._seen, self._told, self._held, self._hearsay):
            keeper.shift(seconds)
        self._taken.clear()


def _may_be_told_by_hearsay(witness: Witness) -> bool:
    """Whether the wire has proven this attempt, and nothing has counted it yet: a call to nowhere."""
    return (
        not witness.counted and witness.attempt.evidence == "proven" and witness.attempt.verdict in {"failure", "scan"}
    )
