"""What the page's scripts ask for, and the two things that they may change."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sipguard.addresses import canonical
from sipguard.errors import SipguardError
from sipguard.geoip import origins
from sipguard.service_manager import starting
from sipguard.text import printable
from sipguard.web.access import Visitor
from sipguard.web.daemon_link import AnsweredNoError, UnreachableError, ask
from sipguard.web.live import MOST_VIEWERS, Live
from sipguard.web.networks import network_around
from sipguard.web.options import PageOptions
from sipguard.web.questions import BusyError, Questions
from sipguard.web.sessions import PageSession, PageSessions
from sipguard.web.token import Token

ON_A_PAGE = 50
"""Bans."""
PERIODS = ("1h", "24h", "7d")
SORTS = ("since", "until", "address", "jail", "attempts", "count", "evidence")
LONGEST_SEARCH = 256
"""Characters."""

Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """The handlers; `routes` says which is where."""

    def __init__(
        self, options: PageOptions, questions: Questions, live: Live, sessions: PageSessions, token: Token
    ) -> None:
        self._options = options
        self._questions = questions
        self._live = live
        self._sessions = sessions
        self._token = token

    def routes(self) -> list[Route]:
        """Path → handler."""
        reading: dict[str, Handler] = {
            "/api/events": self.events,
            "/api/bans": self.bans,
            "/api/history": self.history,
            "/api/address": self.address,
            "/api/jails": self.jails,
            "/api/advice": self.advice,
            "/api/feeds": self.feeds,
            "/api/fleet": self.fleet,
        }
        writing: dict[str, Handler] = {"/api/ban": self.ban, "/api/unban": self.unban}
        return [
            *(Route(path, _answering(handler), methods=["GET"]) for path, handler in reading.items()),
            *(Route(path, _answering(self._allowed(handler)), methods=["POST"]) for path, handler in writing.items()),
        ]

    async def events(self, request: Request) -> Response:
        """The live view."""
        if self._live.viewers >= MOST_VIEWERS:
            return JSONResponse({"error": f"{MOST_VIEWERS} browsers are watching already"}, 503)
        session = session_of(request)

        def goes_on() -> bool:
            return self._sessions.alive(session, self._token.generation())

        return StreamingResponse(self._live.events(goes_on), media_type="text/event-stream")

    async def bans(self, request: Request) -> Response:
        """A page of live bans."""
        return JSONResponse(with_origins(await self._questions.ask("bans", **_query(request))))

    async def history(self, request: Request) -> Response:
        """A page of the bans of a period, those that are over among them."""
        since = request.query_params.get("since", "24h")
        if since not in PERIODS:
            raise SipguardError(f"since: write one of {', '.join(PERIODS)}")
        return JSONResponse(with_origins(await self._questions.ask("history", since=since, **_query(request))))

    async def address(self, request: Request) -> Response:
        """All that is known of one address."""
        return JSONResponse(await self._questions.ask("explain", address=_address(request.query_params.get("address"))))

    async def jails(self, _request: Request) -> Response:
        """What is wrong and counted in each jail: the live view has it; here it is for programs."""
        return JSONResponse((await self._questions.ask("overview"))["jails"])

    async def advice(self, _request: Request) -> Response:
        """What `sipguard check` advises."""
        return JSONResponse(await self._questions.ask("advice", keep=60.0, free=True))

    async def feeds(self, _request: Request) -> Response:
        """Every feed."""
        return JSONResponse(await self._questions.ask("feeds"))

    async def fleet(self, _request: Request) -> Response:
        """The other nodes, and CrowdSec."""
        return JSONResponse(await self._questions.ask("fleet"))

    async def ban(self, request: Request) -> Response:
        """Ban one address."""
        said = await _said(request)
        address, user = _address(said.get("address")), session_of(request).user
        reason = printable(str(said.get("reason") or ""), 200).strip()
        given = {key: str(said[key]) for key in ("jail", "time") if said.get(key)}
        _note(f"{user} bans {address}")
        return await self._change("ban", address=address, reason=f"by {user}{f': {reason}' if reason else ''}", **given)

    async def unban(self, request: Request) -> Response:
        """Let one address through, in every jail."""
        address = _address((await _said(request)).get("address"))
        _note(f"{session_of(request).user} unbans {address}")
        return await self._change("unban", address=address)

    async def _change(self, command: str, **arguments: Any) -> Response:
        if self._options.write_socket is None:  # `_allowed` has said so before
            raise SipguardError("this page only shows")
        result = await ask(self._options.write_socket, command, **arguments)
        self._questions.forget()
        return JSONResponse(result)

    def _allowed(self, handler: Handler) -> Handler:
        """Only with `--write`, and only for our own page."""

        async def allowed(request: Request) -> Response:
            if not session_of(request).vouched(request.headers.get("x-csrf-token", "")):
                return JSONResponse({"error": "this request does not come from this page: load it again"}, 403)
            if self._options.write_socket is None:
                return JSONResponse({"error": "this page only shows; start it with --write to change something"}, 403)
            return await handler(request)

        return allowed


def with_origins(page: Mapping[str, Any]) -> dict[str, Any]:
    """A page of bans with the country and network of each, where `[geoip]` names a database that we may read."""
    places = origins([ban["address"] for ban in page["bans"]], page["geoip"])
    bans = [{**ban, "origin": places.get(ban["address"], "")} for ban in page["bans"]]
    return {**{key: value for key, value in page.items() if key != "geoip"}, "bans": bans}


def session_of(request: Request) -> PageSession:
    """Of whoever has passed the guard."""
    visitor: Visitor = request.state.visitor
    if visitor.session is None:
        raise SipguardError("you are not logged in")
    return visitor.session


def _answering(handler: Handler) -> Handler:
    """Errors as JSON: one line, and the command that mends it where there is one."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except UnreachableError as error:
            return JSONResponse({"error": str(error), "mend": starting()}, 503)
        except BusyError as error:
            return JSONResponse({"error": str(error)}, 429, headers={"Retry-After": "5"})
        except AnsweredNoError as error:
            return JSONResponse({"error": printable(str(error))}, 404 if error.exit_status == 1 else 400)
        except SipguardError as error:
            return JSONResponse({"error": printable(str(error))}, 400)

    return answer


def _query(request: Request) -> dict[str, Any]:
    """What bans are asked for: an address, its beginning or a network; or else a user."""
    given = request.query_params
    search = given.get("search", "").strip()
    if len(search) > LONGEST_SEARCH:
        raise SipguardError(f"search: at most {LONGEST_SEARCH} characters")
    sort, begin = given.get("sort", "since"), given.get("from", "0")
    if sort not in SORTS or not begin.isascii() or not begin.isdigit():
        raise SipguardError(f"sort: write one of {', '.join(SORTS)}; from: a number")
    query: dict[str, Any] = {"sort": sort, "from": min(int(begin), 1_000_000), "limit": ON_A_PAGE, "packets": False}
    if search:
        network = network_around(search)
        query |= {"address": network} if network else {"user": search}
    if jail := given.get("jail"):
        query["jail"] = jail[:LONGEST_SEARCH]
    return query


def _address(text: object) -> str:
    try:
        return canonical(str(text or ""))
    except ValueError:
        raise SipguardError(f"{printable(str(text or ''), 60)!r} is not an address; write e.g. 203.0.113.5") from None


async def _said(request: Request) -> Mapping[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise SipguardError("send application/json")
    try:
        said = json.loads(await request.body())
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise SipguardError("send one JSON object")
    return said


def _note(what: str) -> None:
    """Who has changed what, for the journal."""
    print(f"sipguard web: {printable(what, 300)}", file=sys.stderr, flush=True)
