"""Joins the daemon to Fail2ban's world: its socket, its pid file, its database file. Each only where it is configured."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from sipguard.daemon.compat.commands.table import RequestTable
from sipguard.daemon.compat.host import Host
from sipguard.daemon.compat.server import Server
from sipguard.daemon.daemon import Daemon
from sipguard.daemon.operations import Operations
from sipguard.errors import StateError
from sipguard.fail2ban.database_view import DatabaseView
from sipguard.model import Ban
from sipguard.state.changes import Changes

log = logging.getLogger("fail2ban.server")

MOST_WITH_LINES = 500
"""Bans written at once whose lines of log are looked up for the view; a larger burst goes without."""

Serve = Callable[[], AbstractAsyncContextManager[None]]


def serving(operations: Operations, control: Serve) -> Serve:
    """What `Daemon.run` wants: `control` as before, and Fail2ban's ways beside it where the settings name them."""
    daemon = operations.daemon
    settings = daemon.settings

    @contextlib.asynccontextmanager
    async def serve() -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            view = await stack.enter_async_context(_view(daemon)) if settings.fail2ban_dbfile else None
            if settings.fail2ban_socket:
                commands = RequestTable(Host(operations, view))
                server = Server(Path(settings.fail2ban_socket), commands.answer)
                try:
                    await stack.enter_async_context(server.serving())
                except StateError as error:
                    log.error("%s; going on without", error)
            if settings.pidfile:
                stack.enter_context(_pid_file(Path(settings.pidfile)))
            await stack.enter_async_context(control())
            yield

    return serve


@contextlib.asynccontextmanager
async def _view(daemon: Daemon) -> AsyncIterator[DatabaseView]:
    """The database file for others, written whenever the state was."""
    settings = daemon.settings
    view = DatabaseView(Path(settings.fail2ban_dbfile), purge_age=settings.fail2ban_dbpurgeage, clock=daemon.clock)
    feed = _Feed(daemon, view)
    daemon.store.saved = feed.saved
    jails = asyncio.get_running_loop().create_task(feed.watch_jails())
    try:
        yield view
    finally:
        jails.cancel()
        daemon.store.save()
        daemon.store.saved = None
        view.close()


class _Feed:
    """Tells the view what has happened."""

    def __init__(self, daemon: Daemon, view: DatabaseView) -> None:
        self._daemon = daemon
        self._view = view
        self._jails: tuple[str, ...] = ()

    async def watch_jails(self) -> None:
        """Jails come and go without a change of the state: look every second."""
        while True:
            if tuple(self._daemon.runners) != self._jails:
                self._jails = tuple(self._daemon.runners)
                self._view.jails(self._jails)
                for ban in self._daemon.bans.live:
                    self._view.keep(ban)
            self._view.write()
            await asyncio.sleep(1)

    def saved(self, changes: Changes) -> None:
        """What was written to sipguard's own database."""
        daemon, view = self._daemon, self._view
        for jail, address in changes.forgotten:
            view.forget(jail, address)
        for ban in changes.bans.values():
            view.ban(ban, self._lines(ban) if len(changes.bans) <= MOST_WITH_LINES else ())
        for path, position in changes.positions.items():
            for runner in daemon.reading.readers(path):
                view.position(runner.jail.name, position)
        view.write()

    def _lines(self, ban: Ban) -> list[str]:
        attempts, _ = self._daemon.store.story(ban.address)
        return [attempt.line for attempt in attempts if attempt.jail == ban.jail and attempt.line]


@contextlib.contextmanager
def _pid_file(path: Path) -> Iterator[None]:
    """Our process id, for as long as we run. A file that cannot be written is told of, and nothing more."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        log.error("Unable to create PID file: %s", error)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
