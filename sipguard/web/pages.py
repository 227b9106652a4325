"""The HTML: one frame for every page, whose script fills it; the login; and what browsers fetch beside."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from sipguard import __version__
from sipguard.web.access import Visitor, cookie
from sipguard.web.options import PageOptions
from sipguard.web.sessions import PageSessions, WrongTokens
from sipguard.web.token import Token

PAGES = {
    "/": ("Overview", "overview"),
    "/bans": ("Bans", "bans"),
    "/history": ("History", "history"),
    "/jails": ("Jails", "jails"),
    "/feeds": ("Feeds", "feeds"),
    "/fleet": ("Fleet", "fleet"),
    "/address": ("Address", "address"),
}
"""Path → its name, and its script."""
IN_MENU = tuple(path for path in PAGES if path != "/address")
TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
LONGEST_TOKEN = 200
"""Characters."""
NO_TOKEN = "There is no token yet. Make one on the server: sipguard web token"  # noqa: S105 - a sentence


class Pages:
    """The handlers; `routes` says which is where."""

    def __init__(self, options: PageOptions, sessions: PageSessions, token: Token, attempts: WrongTokens) -> None:
        self._options = options
        self._sessions = sessions
        self._token = token
        self._attempts = attempts
        folder = files("sipguard.web") / "static"
        self._files = {one.name: one.read_bytes() for one in folder.iterdir() if one.name.rpartition(".")[2] in TYPES}
        self._frame, self._login = (Template((folder / f"{name}.html").read_text()) for name in ("frame", "login"))

    def routes(self) -> list[Route]:
        """Path → handler."""
        return [
            *(Route(path, self.page, methods=["GET"]) for path in PAGES),
            Route("/login", self.show_login, methods=["GET"]),
            Route("/login", self.log_in, methods=["POST"]),
            Route("/logout", self.log_out, methods=["POST"]),
            Route("/static/{name}", self.file, methods=["GET"]),
        ]

    async def page(self, request: Request) -> Response:
        """One page: its frame."""
        visitor: Visitor = request.state.visitor
        session = visitor.session
        path = request.url.path
        title, script = PAGES[path]
        menu = "".join(
            f'<li><a href="{one}"{" aria-current=page" if one == path else ""}>{PAGES[one][0]}</a></li>'
            for one in IN_MENU
        )
        return _html(
            self._frame,
            title=title,
            script=script,
            csrf=session.csrf if session else "",
            write="yes" if self._options.write_socket else "no",
            user=session.user if session else "",
            version=__version__,
            raw={"menu": menu},
        )

    async def show_login(self, request: Request) -> Response:
        """The form."""
        visitor: Visitor = request.state.visitor
        target = _local(request.query_params.get("next", "/"))
        if visitor.session:
            return RedirectResponse(target, 303)
        return self._form(visitor, target, "" if self._token.generation() else NO_TOKEN)

    async def log_in(self, request: Request) -> Response:
        """Compare the token; wrong ones are counted."""
        visitor: Visitor = request.state.visitor
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode("utf-8", "replace")).items()}
        target = _local(form.get("next", "/"))
        expected = request.cookies.get(_form_cookie(visitor), "")
        if not expected or not hmac.compare_digest(expected.encode(), form.get("csrf", "").encode()):
            return self._form(visitor, target, "This form was open for too long, or cookies are off. Try again.", 403)
        if (seconds := self._attempts.wait(visitor.address)) > 0:
            text = f"Too many wrong tokens. Try again in {int(seconds) + 1} seconds."
            return self._form(visitor, target, text, 429, {"Retry-After": str(int(seconds) + 1)})
        token = form.get("token", "").strip()
        if not 0 < len(token) <= LONGEST_TOKEN or not self._token.matches(token):
            self._attempts.failed(visitor.address)
            wrong = "This is not the token. Make a new one on the server: sipguard web token"
            return self._form(visitor, target, wrong if self._token.generation() else NO_TOKEN, 403)
        self._attempts.succeeded(visitor.address)
        if visitor.session:
            self._sessions.end(visitor.session)
        session = self._sessions.begin("the page", self._token.generation())
        response = RedirectResponse(target, 303)
        response.headers.append("Set-Cookie", cookie(visitor, visitor.cookie, session.key))
        response.headers.append("Set-Cookie", cookie(visitor, _form_cookie(visitor), ""))
        return response

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        visitor: Visitor = request.state.visitor
        given = parse_qs((await request.body()).decode("utf-8", "replace")).get("csrf", [""])[0]
        if visitor.session is None or not visitor.session.vouched(given):
            return PlainTextResponse("this request does not come from this page\n", 403)
        self._sessions.end(visitor.session)
        response = RedirectResponse("/login", 303)
        response.headers.append("Set-Cookie", cookie(visitor, visitor.cookie, ""))
        return response

    async def file(self, request: Request) -> Response:
        """A script, a style, a picture."""
        name = request.path_params["name"]
        data = self._files.get(name)
        if data is None:
            return PlainTextResponse("not found\n", 404)
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=TYPES[name.rpartition(".")[2]], headers=headers)

    def _form(
        self, visitor: Visitor, target: str, problem: str, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        csrf = secrets.token_urlsafe(32)
        response = _html(self._login, status=status, csrf=csrf, next=target, problem=problem)
        response.headers.append("Set-Cookie", cookie(visitor, _form_cookie(visitor), csrf))
        response.headers.update(headers or {})
        return response


def _form_cookie(visitor: Visitor) -> str:
    """Of the login form, before there is a session."""
    return f"{visitor.cookie}-form"


def _local(target: str) -> str:
    """A path of ours to go on to, never another site's."""
    path = target.partition("?")[0]
    return target if path in PAGES and target.isascii() and target.isprintable() else "/"


def _html(
    template: Template, *, status: int = 200, raw: Mapping[str, str] | None = None, **values: str
) -> HTMLResponse:
    """A template with these values in it as text; `raw` ones are HTML of our own."""
    return HTMLResponse(
        template.substitute({name: escape(value) for name, value in values.items()}, **(raw or {})), status
    )
