"""Numbers for Prometheus, on a local port or a socket, for those who ask for them: `[metrics] listen`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sipguard.config.settings import Settings
from sipguard.daemon.daemon import Daemon
from sipguard.errors import ConfigError, FirewallError, StateError, pip_install
from sipguard.sockets import cut, listening

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Serve = Callable[[], contextlib.AbstractAsyncContextManager[None]]

LONGEST_REQUEST = 8192
"""Bytes of a request's head; what it says is of no interest."""
PATIENCE = 5.0
"""Seconds that a client may take to ask, and to read."""
COMPARE_EVERY = 10.0
"""Seconds between two comparisons with the kernel at least: it gives its whole sets for that."""
LAZY = 60.0
"""A comparison that takes long is made so many times its own length apart."""
_MEND = "name another place"
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
"""Seconds."""


def measured(daemon: Daemon, serve: Serve) -> Serve:
    """`serve`, and beside it the numbers where the configuration names a place for them."""
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
        what = f"[metrics] needs the library prometheus_client: {pip_install('metrics')}"
        raise ConfigError(what, str(settings.config_file))


class Metrics:
    def __init__(self, daemon: Daemon) -> None:
        import prometheus_client  # noqa: PLC0415 - five megabytes that most runs do not need

        from sipguard.daemon import metric_families  # noqa: PLC0415 - it needs the same

        self._daemon = daemon
        self._families, self._kernel = metric_families.families, metric_families.KernelFigures()
        self._next_comparison = 0.0
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
        return self._families(self._daemon, self._kernel)

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
                self._kernel.watched = await self._daemon.wire.packets.watched()
                body = self._generate(self._registry)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: {self._content_type}\r\nContent-Length: {len(body)}\r\n"
                writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client hung up, idled or sent too much: drop it
        finally:
            cut(writer)

    async def _compare(self) -> None:
        """How far our list and the kernel's are apart, and what the kernel has rejected."""
        begun = time.monotonic()
        if begun < self._next_comparison:
            return
        self._next_comparison = begun + COMPARE_EVERY
        bans = self._daemon.bans
        worker = bans.firewall_worker
        with contextlib.suppress(FirewallError):
            kernel = {(entry.jail, entry.address) for entry in await worker.call(worker.firewall.entries)}
            self._kernel.drift = len(kernel ^ {(ban.jail, ban.address) for ban in bans.live})
            if count := getattr(worker.firewall, "rejected_by_jail", None):
                self._kernel.count_rejected(await worker.call(count))
        ended = time.monotonic()
        self._next_comparison = max(self._next_comparison, ended + LAZY * (ended - begun))
