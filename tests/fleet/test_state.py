"""The fleet's memory without input or output: whatever is lost, doubled or late, the last writer wins by expiry."""

from __future__ import annotations

from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from sipguard.fleet.messages import LONGEST, Event
from sipguard.fleet.publisher import OwnBan, Publisher
from sipguard.fleet.replica import GROWTH, SMALL, Contents
from sipguard.fleet.roster import Roster

NOW = 1_000_000.0
NODES = ("a", "b", "c")
NETWORKS = ("203.0.113.1", "203.0.113.2", "203.0.113.64/26", "2001:db8:1::/64")
CLASSES = ("proven", "reported")
events = st.builds(
    Event,
    kind=st.sampled_from(("ban", "ban", "unban", "pardon")),
    network=st.sampled_from(NETWORKS),
    until=st.integers(1, 50).map(lambda n: NOW + 100.0 * n),
    evidence=st.sampled_from(CLASSES),
    at=st.just(NOW),
    run=st.just("r"),
)
told = st.lists(st.tuples(st.sampled_from(NODES), events), max_size=40)


def roster(**keys):
    return Roster(**{"size": 1000, "accept": CLASSES, "unban_from": ("a",), "max_time": 1e6, **keys})


def reference(told_, trusted="a"):
    """What must be rejected: by looking at everything at once, in no order."""
    ends = {}
    for network in NETWORKS:
        pardon = max(
            (e.until for n, e in told_ if n == trusted and (e.kind, e.network) == ("pardon", network)), default=0
        )
        for node in NODES:
            mine = [e for n, e in told_ if n == node and e.network == network]
            ban = max((e.until for e in mine if e.kind == "ban"), default=0)
            unban = max((e.until for e in mine if e.kind == "unban"), default=0)
            if ban > max(unban, pardon):
                ends[network] = max(ban, ends.get(network, 0))
    return ends


def tell(roster_, told_):
    """Take events in; gives what the firewall would have by the changes alone."""
    firewall = {}
    for node, event in told_:
        apply(firewall, roster_.take(roster_.replica(node), event, NOW))
    return firewall


def apply(firewall, changes):
    for network, before, after in changes:
        assert firewall.get(network, 0.0) == before
        if after:
            firewall[network] = after
        else:
            del firewall[network]


@examples(100)
@given(told, st.randoms())
def test_any_order_and_twice(told_, random):
    """Shuffled and doubled, the events come to the same, and the changes say so."""
    mixed = told_ + [one for one in told_ if random.random() < 0.3]
    random.shuffle(mixed)
    one = roster()
    assert tell(one, mixed) == one.ends == reference(told_)


@given(told, told, st.randoms())
def test_a_snapshot_in_between(before, after, random):
    """Sets read as a whole stand for all events before them, whichever of these have come."""
    one = roster()
    firewall = tell(one, [pair for pair in before if random.random() < 0.7])
    for node in NODES:
        contents = Contents()
        for event in (event for of, event in before if of == node):
            sets = (
                contents.bans.setdefault(event.evidence, {})
                if event.kind == "ban"
                else getattr(contents, f"{event.kind}s")
            )
            sets[event.network] = max(event.until, sets.get(event.network, 0.0))
        apply(firewall, one.replace(one.replica(node), contents, "r", 0, NOW))
    for node, event in after:
        apply(firewall, one.take(one.replica(node), event, NOW))
    assert firewall == one.ends == reference(before + after)


happenings = st.sampled_from(("ban", "unban", "silent unban", "lose", "restart"))
actions = st.lists(st.tuples(happenings, st.sampled_from(NETWORKS), st.integers(1, 40)), max_size=40)


class Writer:
    """One node and Redis: what it bans, what the sets hold, what the stream has told."""

    def __init__(self):
        self.own, self.stream = {}, []
        self.lose()
        self.publisher = Publisher(["proven"])

    def lose(self):
        self.sets = {"bans": {}, "unbans": {}, "pardons": {}}

    def write(self, found):
        stamped = self.publisher.stamp(found, NOW)
        for event in stamped:
            kept = self.sets[f"{event.kind}s"]
            key = ("proven", event.network) if event.kind == "ban" else event.network
            kept[key] = max(event.until, kept.get(key, 0.0))
        self.stream += stamped
        self.publisher.wrote(stamped)

    def look(self, network):
        bans = [OwnBan(self.own[network], "proven")] if network in self.own else []
        self.write(self.publisher.due(network, bans, NOW, banned=bool(bans)))

    def connect(self):
        self.write(self.publisher.read(**self.sets))
        for network in NETWORKS:
            self.look(network)

    def do(self, what, network, length):
        if what == "ban":
            self.own[network] = max(self.own.get(network, 0.0), NOW + 100.0 * length)
        elif what in ("unban", "silent unban"):
            self.own.pop(network, None)
        elif what == "restart":
            self.publisher = Publisher(["proven"])
            self.connect()
        else:
            self.lose()
            self.connect()
        if what != "silent unban":  # that is, while Redis is gone: `connect` comes next
            self.look(network)


@examples(300)
@given(actions, st.randoms())
def test_publisher_and_reader(done, random):
    """A node bans and unbans, Redis loses everything, the node starts anew: who reads holds what it bans, no more, no less."""
    writer = Writer()
    for one in done:
        writer.do(*one)
    writer.lose()
    writer.connect()
    sets = writer.sets
    reader = Contents(
        {"proven": {network: until for (_, network), until in sets["bans"].items()}}, dict(sets["unbans"])
    )
    for network in NETWORKS:
        until = reader.until(network)
        assert bool(until) is (network in writer.own)
        assert until >= writer.own.get(network, 0.0)
    if "restart" not in {what for what, _, _ in done}:
        heard = roster(accept=("proven",))
        random.shuffle(writer.stream)
        tell(heard, [("b", event) for event in writer.stream])
        assert heard.ends.keys() == writer.own.keys()


def written(publisher, events):
    """Redis takes these."""
    publisher.wrote(publisher.stamp(events, NOW))


def test_others_may_hear_what_redis_has_not_yet_confirmed():
    """So an operator elsewhere may take it back by then: it counts as published, and is written again if Redis has lost it."""
    publisher, own = Publisher(["proven"]), [OwnBan(NOW + 60, "proven")]
    events = publisher.due("203.0.113.1", own, NOW, banned=True)
    publisher.stamp(events, NOW)
    assert publisher.published("203.0.113.1") == NOW + 60
    assert publisher.due("203.0.113.1", own, NOW, banned=True) == events
    assert [event.kind for event in publisher.due("203.0.113.1", [], NOW, banned=False)] == ["unban"]


def test_a_ban_that_ends_before_one_that_was_taken_back():
    """It is heard all the same, and taken back when it ends."""
    publisher = Publisher(["proven"])
    (first,) = publisher.due("203.0.113.1", [OwnBan(NOW + 5000, "proven")], NOW, banned=True)
    written(publisher, [first])
    (back,) = publisher.due("203.0.113.1", [], NOW, banned=False)
    written(publisher, [back])
    (again,) = publisher.due("203.0.113.1", [OwnBan(NOW + 60, "proven")], NOW, banned=True)
    assert again.until > back.until
    written(publisher, [again])
    assert [event.kind for event in publisher.due("203.0.113.1", [], NOW + 60, banned=False)] == ["unban"]


def test_for_ever_is_published_for_a_month_and_renewed():
    """Nothing in Redis lasts for ever; nothing is written while half a month is left."""
    publisher, forever = Publisher(["proven"]), [OwnBan(float("inf"), "proven")]
    (event,) = publisher.due("203.0.113.1", forever, NOW, banned=True)
    assert event.until == NOW + LONGEST
    written(publisher, [event])
    assert publisher.due("203.0.113.1", forever, NOW + LONGEST / 3, banned=True) == []
    (event,) = publisher.due("203.0.113.1", forever, NOW + LONGEST * 0.6, banned=True)
    assert event.until == NOW + LONGEST * 1.6


def test_classes_that_are_not_shared():
    """Nothing is told of them; nor is a ban taken back that another jail holds still."""
    publisher = Publisher(["proven"])
    assert publisher.due("203.0.113.1", [OwnBan(NOW + 60, "reported")], NOW, banned=True) == []
    written(publisher, publisher.due("203.0.113.1", [OwnBan(NOW + 60, "proven")], NOW, banned=True))
    assert publisher.due("203.0.113.1", [OwnBan(NOW + 60, "reported")], NOW, banned=True) == []


def ban(number, **keys):
    network = f"198.{18 + (number >> 16)}.{(number >> 8) & 255}.{number & 255}"
    return Event("ban", network, NOW + 1000, "proven", at=NOW, run="r", number=number + 1)._replace(**keys)


def test_growth_is_held_and_taken_back():
    """What came in the hour before goes, what was there before stays, and nothing more is taken."""
    one = roster(size=100_000)
    replica = one.replica("b")
    contents = Contents({"proven": {f"203.0.113.{n}": NOW + 1000 for n in range(1, 100)}})
    firewall = {}
    apply(firewall, one.replace(replica, contents, "r", 0, NOW))
    most = int(SMALL * GROWTH)
    for number in range(most + 100):
        apply(firewall, one.take(replica, ban(number), NOW))
    assert replica.held
    assert len(firewall) == 99
    assert replica.refused["the node is held"] > 0
    assert not replica.fits(most + 100)
    replica.let_go(most + 100)
    assert replica.fits(most + 100)


def test_slow_growth_is_no_growth():
    """Ten hours later as many more are welcome, up to the size."""
    one = roster(size=20_000)
    replica = one.replica("b")
    for number in range(20_100):
        one.take(replica, ban(number, until=NOW + 900_000), NOW + 3601.0 * (number // 1000))
        if number < 20_000:
            assert not replica.held
    assert "more than 20,000" in replica.held


def test_the_longest_time():
    """A ban of others lasts `max_time` from when it was heard, and hearing it again does not lengthen it."""
    one = roster(max_time=600.0)
    replica = one.replica("b")
    (change,) = one.take(replica, ban(1, until=NOW + 5000), NOW)
    assert change.after == NOW + 600
    assert one.take(replica, ban(1, until=NOW + 5000), NOW + 300) == []
    assert one.ends == {change.network: NOW + 600}


def test_a_gap_is_seen():
    """Events that are missing, and another run of the node, lead back to the sets."""
    one = roster()
    replica = one.replica("b")
    one.replace(replica, Contents(), "r", 4, NOW)
    assert not replica.gap
    one.take(replica, ban(4), NOW)
    assert not replica.gap
    one.take(replica, ban(4), NOW)
    assert not replica.gap
    one.take(replica, ban(6), NOW)
    assert replica.gap
    one.replace(replica, Contents(), "r", 7, NOW)
    one.take(replica, ban(7, run="another"), NOW)
    assert replica.gap


def test_what_is_over_is_forgotten():
    """Nothing stays but what counts."""
    one = roster(size=100_000)
    for number in range(3000):
        one.take(one.replica("b"), ban(number), NOW)
    for _ in range(5):
        one.prune(NOW + 2000)
    assert (len(one.ends), len(one.replicas["b"].contents)) == (0, 0)


def test_a_node_that_is_gone():
    """With it goes what it alone has said."""
    one = roster()
    one.take(one.replica("b"), ban(1), NOW)
    one.take(one.replica("b"), ban(2), NOW)
    one.take(one.replica("c"), ban(2), NOW)
    assert [change.after for change in one.forget("b", NOW)] == [0.0]
    assert list(one.ends) == [ban(2).network]
