"""The application, and the server that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from sipguard.errors import SipguardError
from sipguard.sockets import listening
from sipguard.web.access import Guard
from sipguard.web.api import Api
from sipguard.web.live import Live
from sipguard.web.options import PageOptions
from sipguard.web.pages import Pages
from sipguard.web.questions import Questions
from sipguard.web.sessions import PageSessions, WrongTokens
from sipguard.web.token import Token

MOST_CONNECTIONS = 1000
LONGEST_HEAD = 16 << 10
"""Bytes of a request's head."""
BACKLOG = 128


def make_app(options: PageOptions, clock: Callable[[], float] = time.time) -> Starlette:
    """The page as an ASGI application."""
    token = Token(options.state_dir)
    sessions = PageSessions(idle=options.idle, longest=options.longest, clock=clock)
    questions = Questions(options.read_socket)
    live = Live(questions, options.state_dir)

    @contextlib.asynccontextmanager
    async def running(_app: Starlette) -> AsyncIterator[None]:
        poll = asyncio.create_task(live.run())
        try:
            yield
        finally:
            poll.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await poll

    app = Starlette(
        routes=[
            *Pages(options, sessions, token, WrongTokens(clock)).routes(),
            *Api(options, questions, live, sessions, token).routes(),
        ],
        middleware=[Middleware(Guard, options=options, sessions=sessions, token=token)],
        exception_handlers={404: _not_found},
        lifespan=running,
    )
    app.state.live = live
    return app


async def _not_found(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("there is no such page\n", 404)


class _PageServer(uvicorn.Server):
    """Ends the streams first: the server would wait for them."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        await self._live.stop()
        await super().shutdown(sockets)


def serve(options: PageOptions) -> None:
    """Run until a signal ends it. Raises `SipguardError` when it cannot listen."""
    app = make_app(options)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="on",
        proxy_headers=False,  # `access` decides whose headers count
        server_header=False,
        access_log=False,
        log_level="warning",
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=LONGEST_HEAD,
        timeout_graceful_shutdown=2,
    )
    with _listening(options) as sock:
        asyncio.run(_PageServer(config, app.state.live).serve([sock]))


@contextlib.contextmanager
def _listening(options: PageOptions) -> Iterator[socket.socket]:
    mend = "name another place with --listen"
    if options.unix:
        with listening(Path(options.listen), mend=mend, mode=0o660) as sock:
            yield sock
        return
    try:
        family, _, _, _, place = socket.getaddrinfo(options.address, int(options.port), type=socket.SOCK_STREAM)[0]
        sock = socket.create_server(place[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise SipguardError(f"--listen {options.listen}: {error.strerror or error}; {mend}") from error
    with sock:
        yield sock
