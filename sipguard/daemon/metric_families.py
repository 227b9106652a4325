"""Makes the Prometheus metrics, one family after another; docs/metrics.md lists them.

No label holds text that comes from a log or from another host. Metrics cost nothing while lines are read: a scrape reads the
counters that the daemon keeps anyway.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from sipguard import __version__
from sipguard.wire_model import Watched

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from sipguard.daemon.daemon import Daemon

_OF_JAILS = (
    ("lines", "counts", "lines", "Lines read."),
    ("candidates", "counts", "candidates", "Lines that the regexes were tried on."),
    ("timed_out_lines", "counts", "timed_out", "Lines skipped because a regex took too long."),
    ("tampered_lines", "counts", "tampered", "Lines that somebody else has written into; they accuse nobody."),
    ("oversize_lines", "totals", "oversize", "Lines skipped because they were too long."),
    ("failures", "totals", "failures", "Failed authentications found."),
    ("unproven_failures", "totals", "unproven", "Failures that ban nobody because nothing proves the address."),
    ("contradicted_failures", "totals", "contradicted", "Failures that the packets contradict."),
    ("successes", "totals", "successes", "Logins found."),
    ("bans", "totals", "bans", "Bans decided in this run, and bans of earlier runs found at the start."),
)
SILENT = 60.0
"""A fleet node counts as silent after this many seconds without a heartbeat. Nodes send one every five seconds."""


class KernelFigures:
    """Figures that the kernel gave when it was last asked. `Metrics` asks it."""

    def __init__(self) -> None:
        self.drift = 0
        self.watched = Watched(0, 0, 0)
        self.rejected: Counter[str] = Counter()
        """Jail → packets rejected since the daemon's first look."""
        self._before: dict[tuple[str, str], int] | None = None

    def count_rejected(self, packets: dict[tuple[str, str], int]) -> None:
        """Add what was rejected since the last call. `packets`: (jail, network) → the kernel's counter.

        The kernel begins at 0 again when a ban is written anew: such a counter is less than before.
        """
        if self._before is not None:  # what the first call is given includes earlier runs
            for key, count in packets.items():
                earlier = self._before.get(key, 0)
                self.rejected[key[0]] += count - earlier if count >= earlier else count
        self._before = packets


def families(daemon: Daemon, kernel: KernelFigures) -> Iterator[Metric]:
    """Every metric of this daemon."""
    yield from _of_daemon(daemon, kernel)
    yield from _of_jails(daemon, kernel)
    yield from _of_sources(daemon, kernel)
    yield from _of_feeds(daemon)
    yield from _of_others(daemon)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sipguard_{name}", help_text, value=float(value))


def _labelled(kind: type[Any], name: str, help_text: str, labels: list[str], rows: Iterable[tuple[Any, ...]]) -> Metric:
    """A family with labels. Each row holds the labels' values, then the number."""
    family = kind(f"sipguard_{name}", help_text, labels=labels)
    for *values, number in rows:
        family.add_metric([str(value) for value in values], float(number))
    return family  # type: ignore[no-any-return]


def _of_daemon(daemon: Daemon, kernel: KernelFigures) -> Iterator[Metric]:
    worker = daemon.bans.firewall_worker
    build = [(__version__, platform.python_version(), worker.firewall.name, 1)]
    yield _labelled(GaugeMetricFamily, "build_info", "Versions; always 1.", ["version", "python", "firewall"], build)
    waiting = worker.queued + worker.waiting
    for name, help_text, value in (
        ("start_time_seconds", "When the daemon was started, POSIX seconds.", daemon.started),
        ("working_jails", "Jails that can ban now; 0: nobody is protected.", len(daemon.working)),
        ("jails_not_running", "Jails with an error in their configuration.", len(daemon.errors)),
        ("drift_bans", "Bans that only one of sipguard and the kernel has.", kernel.drift),
        ("queued_orders", "Bans and unbans that wait for the kernel.", waiting),
        ("firewall_ok", "1 if the kernel takes bans and unbans.", worker.problem is None),
        ("state_ok", "1 if the state can be written.", daemon.store.problem is None),
    ):
        yield _gauge(name, help_text, value)
    help_text = "Banned addresses that still reached the server in the last 10 minutes, by cause."
    yield _labelled(
        GaugeMetricFamily, "unenforced_bans", help_text, ["cause"], daemon.bans.enforcement.causes().items()
    )


def _of_jails(daemon: Daemon, kernel: KernelFigures) -> Iterator[Metric]:
    runners = daemon.runners
    for name, part, field, help_text in _OF_JAILS:
        counted = [(jail, getattr(getattr(runner, part), field)) for jail, runner in runners.items()]
        yield _labelled(CounterMetricFamily, name, help_text, ["jail"], counted)
    live = daemon.bans.live
    yield _labelled(
        GaugeMetricFamily,
        "live_bans",
        "Addresses banned now.",
        ["jail"],
        [(jail, len(live.of_jail(jail))) for jail in runners],
    )
    made = [(jail, origin, count) for (jail, origin), count in sorted(daemon.bans.made.items())]
    help_text = "Bans given to the kernel in this run, by who decided on them."
    yield _labelled(CounterMetricFamily, "made_bans", help_text, ["jail", "origin"], made)
    help_text = "Packets rejected from banned addresses."
    yield _labelled(CounterMetricFamily, "rejected_packets", help_text, ["jail"], sorted(kernel.rejected.items()))
    samples = [
        (jail, result, getattr(runner.auth_lines, result.replace(" ", "_")))
        for jail, runner in runners.items()
        for result in ("understood", "not understood")
        if runner.jail.source != "wire"
    ]
    help_text = "Samples of the log, one a second at most: understood, or not although lines suggest failed logins."
    yield _labelled(CounterMetricFamily, "auth_samples", help_text, ["jail", "result"], samples)


def _of_sources(daemon: Daemon, kernel: KernelFigures) -> Iterator[Metric]:
    """How long each source (log, event connection, wire) has been silent, and what became of packets."""
    now, silent = time.monotonic(), []
    for jail, runner in daemon.runners.items():
        if runner.jail.source == "wire":
            silent.append((jail, "wire", now - daemon.wire.heard))
        elif runner.jail.logpath or runner.jail.journal:
            silent.append((jail, "log", now - runner.auth_lines.heard_at))
        if (heard := daemon.events.heard(jail)) is not None:
            silent.append((jail, "events", now - heard))
    help_text = "Seconds since the last sign of life of the source; if there was none in this run, since the start."
    yield _labelled(GaugeMetricFamily, "silent_seconds", help_text, ["jail", "source"], silent)
    help_text = "HEP packets, by what became of them."
    yield _labelled(CounterMetricFamily, "hep_packets", help_text, ["result"], daemon.wire.received().items())
    wire = daemon.wire
    if not wire.packets.enabled:
        return
    watched = kernel.watched
    counted = {**wire.packets.received, "limited": watched.limited, "held back": watched.held_back}
    help_text = "SIP packets of this machine, by what became of them."
    yield _labelled(CounterMetricFamily, "wire_packets", help_text, ["result"], counted.items())
    for name, help_text, value in (
        ("wire_blind", "1 if packets may go unseen now.", bool(wire.live.blind_times.now(daemon.clock()))),
        ("wire_metered", "Addresses that are metered now.", watched.metered),
        ("wire_ok", "1 if packets are watched as configured.", wire.packets.problem is None),
        ("wire_unwatched", "Listening SIP sockets that no rule watches.", len(wire.packets.unwatched)),
    ):
        yield _gauge(name, help_text, value)


def _of_feeds(daemon: Daemon) -> Iterator[Metric]:
    feeds, now = daemon.feeding.status(), daemon.clock()
    ages = [(feed["name"], max(0.0, now - feed["fetched"])) for feed in feeds if feed["fetched"]]
    # A feed that was never fetched has no age: `SipguardFeedStale` fires where this series is missing.
    for name, help_text, rows in (
        ("feed_age_seconds", "Seconds since the last good fetch; absent if there was none.", ages),
        ("feed_interval_seconds", "Seconds between two fetches.", [(feed["name"], feed["interval"]) for feed in feeds]),
        ("feed_entries", "Entries of the feed as last fetched.", [(feed["name"], feed["entries"]) for feed in feeds]),
        ("feed_held", "1 while an update is held.", [(feed["name"], bool(feed["held"])) for feed in feeds]),
    ):
        yield _labelled(GaugeMetricFamily, name, help_text, ["feed"], rows)


def _of_others(daemon: Daemon) -> Iterator[Metric]:
    live = daemon.bans.live
    by_hand = sum(ban.evidence == "hand" for ban in live)
    rejected = {"attack": len(live) - by_hand, "hand": by_hand}
    rejected["feed"] = sum(feed["applied"] or 0 for feed in daemon.feeding.status())
    others = daemon.others.status() or {}
    if fleet := others.get("fleet"):
        rejected["fleet"] = fleet["rejected"]
        yield _gauge("fleet_connected", "1 if Redis can be used.", not fleet["problem"])
        yield _gauge("fleet_told", "1 if Redis takes this node's bans.", not (fleet["problem"] or fleet["untold"]))
        now = daemon.clock()
        states = Counter({"heard": 0, "silent": 0, "held": 0})
        for node in fleet["nodes"]:
            silent = node["heard"] is None or node["heard"] < now - SILENT
            states["held" if node["held"] else "silent" if silent else "heard"] += 1
        yield _labelled(GaugeMetricFamily, "fleet_nodes", "Other nodes, by state.", ["state"], states.items())
    if crowdsec := others.get("crowdsec"):
        rejected["crowdsec"] = crowdsec["decisions"]
        yield _gauge("crowdsec_connected", "1 if CrowdSec's API can be used.", not crowdsec["problem"])
    help_text = "Addresses and networks rejected now, by where they come from."
    yield _labelled(GaugeMetricFamily, "rejected_networks", help_text, ["origin"], rejected.items())
