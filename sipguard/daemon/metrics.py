"""Numbers for Prometheus, on a local port or a socket, for those who ask for them: `[metrics] listen`.

Nothing is counted for it on the way of a line: what the jails count anyway is read when somebody asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipguard.config.settings import Settings
from sipguard.daemon.daemon import Daemon
from sipguard.errors import ConfigError, FirewallError, StateError
from sipguard.sockets import cut, listening
from sipguard.wire_model import Watched

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Serve = Callable[[], contextlib.AbstractAsyncContextManager[None]]

LONGEST_REQUEST = 8192
"""Bytes of a request's head; what it says is of no interest."""
PATIENCE = 5.0
"""Seconds that a client may take to ask, and to read."""
COMPARE_EVERY = 60.0
"""Seconds between two comparisons of our list with the kernel's: with 100,000 bans that takes a while."""
_MEND = "name another place"
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
"""Seconds."""
_OF_JAILS = (
    ("lines", "detection", "lines", "Lines read."),
    ("candidates", "detection", "candidates", "Lines that the regexes were tried on."),
    ("timed_out_lines", "detection", "timed_out", "Lines skipped since a regex took too long."),
    ("tampered_lines", "detection", "tampered", "Lines and records that somebody has written into."),
    ("oversize_lines", "totals", "oversize", "Lines skipped since they were too long."),
    ("failures", "totals", "failures", "Failed authentications found."),
    ("unproven_failures", "totals", "unproven", "Failures that ban nobody, since nothing proves the address."),
    ("bans", "totals", "bans", "Bans decided on."),
)


def measured(daemon: Daemon, serve: Serve) -> Serve:
    """`serve`, and beside it the numbers where the configuration names a place for them. Raises `ConfigError`."""
    where = daemon.settings.metrics
    if not where:
        return serve
    metrics = Metrics(daemon)

    @contextlib.asynccontextmanager
    async def both() -> AsyncIterator[None]:
        async with serve(), metrics.serving(where):
            yield

    return both


def need_library(settings: Settings) -> None:
    """Raise `ConfigError` if numbers are wanted and the library for them is not there."""
    if settings.metrics and importlib.util.find_spec("prometheus_client") is None:
        what = "[metrics] needs the library prometheus_client: pip install sipguard[metrics]"
        raise ConfigError(what, str(settings.config_file))


class Metrics:
    """The numbers of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        need_library(daemon.settings)
        import prometheus_client  # noqa: PLC0415 - five megabytes that most runs do not need

        self._daemon = daemon
        self._drift = 0
        self._watched = Watched(0, 0, 0)
        self._compared = -COMPARE_EVERY
        self._registry = prometheus_client.CollectorRegistry()
        self._generate = prometheus_client.generate_latest
        self._content_type = prometheus_client.CONTENT_TYPE_LATEST
        delay = prometheus_client.Histogram(
            "sipguard_line_to_kernel_seconds",
            "From reading the line that led to a ban to the kernel's having it.",
            buckets=BUCKETS,
            registry=self._registry,
        )
        daemon.bans.took = delay.observe
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus asks for."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

        runners = self._daemon.runners
        for name, part, field, told in _OF_JAILS:
            counter = CounterMetricFamily(f"sipguard_{name}", told, labels=["jail"])
            for jail, runner in runners.items():
                counts: Any = runner.counts if part == "detection" else runner.totals
                counter.add_metric([jail], getattr(counts, field))
            yield counter
        live = GaugeMetricFamily("sipguard_live_bans", "Addresses banned now.", labels=["jail"])
        for jail in runners:
            live.add_metric([jail], len(self._daemon.bans.live.of_jail(jail)))
        yield live
        age = GaugeMetricFamily("sipguard_feed_age_seconds", "Since the feed's last good fetch.", labels=["feed"])
        entries = GaugeMetricFamily("sipguard_feed_entries", "Entries of the feed as last fetched.", labels=["feed"])
        for feed in self._daemon.feeding.status():
            entries.add_metric([feed["name"]], feed["entries"])
            if feed["fetched"]:
                # One that was never fetched has no age: its absence is what an alarm asks for.
                age.add_metric([feed["name"]], max(0.0, self._daemon.clock() - feed["fetched"]))
        yield from (age, entries)
        packets = CounterMetricFamily("sipguard_hep_packets", "HEP packets by what became of them.", labels=["result"])
        for result, count in self._daemon.wire.received().items():
            packets.add_metric([result], count)
        yield packets
        yield from self._wire()
        firewall_worker = self._daemon.bans.firewall_worker
        for name, told, value in (
            ("drift_bans", "Bans that the kernel lacks or has too many.", self._drift),
            (
                "queued_orders",
                "Bans and unbans that wait for the kernel.",
                firewall_worker.queued + firewall_worker.waiting,
            ),
            ("firewall_ok", "Whether the kernel takes what it is told.", firewall_worker.problem is None),
            ("state_ok", "Whether the state can be written.", self._daemon.store.problem is None),
            ("jails_not_running", "Jails with an error in their configuration.", len(self._daemon.errors)),
        ):
            yield GaugeMetricFamily(f"sipguard_{name}", told, value=float(value))

    def _wire(self) -> Iterator[Metric]:
        """What was seen of this machine's packets, and what was not."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

        wire = self._daemon.wire
        if not wire.packets.enabled:
            return
        packets = CounterMetricFamily("sipguard_wire_packets", "SIP packets by what became of them.", labels=["result"])
        counted = {**wire.packets.received, "limited": self._watched.limited, "held back": self._watched.held_back}
        for result, count in counted.items():
            packets.add_metric([result], count)
        yield packets
        for name, told, value in (
            ("wire_blind", "Whether packets may go unseen now.", bool(wire.live.blind_times.now(self._daemon.clock()))),
            ("wire_metered", "Addresses that are metered now.", self._watched.metered),
            ("wire_ok", "Whether packets are watched as the configuration says.", wire.packets.problem is None),
            ("wire_unwatched", "Listening SIP sockets that no rule watches.", len(wire.packets.unwatched)),
        ):
            yield GaugeMetricFamily(f"sipguard_{name}", told, value=float(value))

    @contextlib.asynccontextmanager
    async def serving(self, where: str) -> AsyncIterator[None]:
        """Answer for as long as this context lasts. Raises `ConfigError`."""
        with contextlib.ExitStack() as stack:
            try:
                server = await self._listen(where, stack)
            except (OSError, StateError) as error:
                why = f"{error.strerror or error}; {_MEND}" if isinstance(error, OSError) else error
                what = f'[metrics] listen = "{where}": {why}'
                raise ConfigError(what, str(self._daemon.settings.config_file)) from error
            try:
                yield
            finally:
                server.close()

    async def _listen(self, where: str, stack: contextlib.ExitStack) -> asyncio.Server:
        if where.startswith("/"):
            sock = stack.enter_context(listening(Path(where), mend=_MEND, mode=0o660))
            return await asyncio.start_unix_server(self._client, sock=sock, limit=LONGEST_REQUEST)
        host, _, port = where.rpartition(":")
        return await asyncio.start_server(self._client, host.strip("[]"), int(port), limit=LONGEST_REQUEST)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await reader.readuntil(b"\r\n\r\n")
                await self._compare()
                self._watched = await self._daemon.wire.packets.watched()
                body = self._generate(self._registry)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: {self._content_type}\r\nContent-Length: {len(body)}\r\n"
                writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that goes, sleeps, or asks without end: its own affair
        finally:
            cut(writer)

    async def _compare(self) -> None:
        """How far our list and the kernel's are apart."""
        if time.monotonic() < self._compared + COMPARE_EVERY:
            return
        self._compared = time.monotonic()
        bans = self._daemon.bans
        with contextlib.suppress(FirewallError):
            kernel = {
                (entry.jail, entry.address)
                for entry in await bans.firewall_worker.call(bans.firewall_worker.firewall.entries)
            }
            self._drift = len(kernel ^ {(ban.jail, ban.address) for ban in bans.live})
