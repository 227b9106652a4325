"""Who is let in: the first thing that every request meets.

Refused are: peers that are no proxy where proxies are named; a `Host` that is not this page's (DNS rebinding); what changes
something and comes from another site (CSRF); whoever is not logged in.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sipguard.text import printable
from sipguard.web.options import PageOptions
from sipguard.web.sessions import PageSession, PageSessions
from sipguard.web.token import Token

LONGEST_BODY = 16 << 10
"""Bytes."""
OPEN = ("/login", "/static/")
"""What is shown to whoever asks."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@dataclass(slots=True)
class Visitor:
    """What is known of who sends a request; in `request.state.visitor`."""

    address: str
    """Where the browser is, as far as that can be told."""
    secure: bool
    """Whether it came over TLS."""
    named: str
    """The user that a trusted proxy names; empty without."""
    session: PageSession | None = None

    @property
    def cookie(self) -> str:
        """The session's cookie; with the prefix no other host or path can set it (RFC 6265bis, section 4.1.3.2)."""
        return "__Host-sipguard" if self.secure else "sipguard"


def cookie(visitor: Visitor, name: str, value: str) -> str:
    """A `Set-Cookie` that scripts cannot read and that no request of another site brings along; an empty one ends it."""
    ends = "" if value else "; Max-Age=0"
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if visitor.secure else ''}{ends}"


class Guard:
    """Around the whole application (ASGI)."""

    def __init__(self, app: ASGIApp, *, options: PageOptions, sessions: PageSessions, token: Token) -> None:
        self._app = app
        self._options = options
        self._sessions = sessions
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        visitor = self._visitor(request)
        send = _with_headers(send, request, visitor)
        refusal = self._refusal(request) or self._of_another_site(request)
        body = b"" if refusal or request.method != "POST" else await _body(receive)
        if body is None:
            refusal = PlainTextResponse(f"more than {LONGEST_BODY} bytes", 413)
        refusal = refusal or self._stranger(request, visitor)
        if refusal:
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {})["visitor"] = visitor
        await self._app(scope, _given(body, receive) if request.method == "POST" else receive, send)

    def _visitor(self, request: Request) -> Visitor:
        client = request.client.host if request.client and not self._options.unix else ""
        if not self._options.trusts(client):
            return Visitor(client or "here", secure=False, named="")
        headers = request.headers
        # The last one is what our proxy has seen; those before it may be anybody's.
        forwarded = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        named = headers.get(self._options.user_header, "") if self._options.user_header else ""
        secure = headers.get("x-forwarded-proto", "https").rpartition(",")[2].strip() != "http"
        return Visitor(printable(forwarded, 64) or client or "here", secure=secure, named=printable(named, 100))

    def _refusal(self, request: Request) -> Response | None:
        options = self._options
        client = request.client.host if request.client else ""
        if options.proxies and not options.unix and client not in options.proxies:
            return PlainTextResponse("only the named --proxy is answered here\n", 403)
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not options.knows_host(hosts[0].lower()):
            shown = printable(", ".join(hosts), 200)
            return PlainTextResponse(f"this page has no name {shown!r}: start it with --host NAME\n", 421)
        if request.method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("GET and POST only\n", 405)
        return None

    def _of_another_site(self, request: Request) -> Response | None:
        """What changes something must say that it comes from here: by `Origin`, or where that is missing by Fetch Metadata."""
        if request.method != "POST":
            return None
        origins, host = request.headers.getlist("origin"), request.headers["host"].lower()
        ours = [urlsplit(origin.lower()).netloc == host for origin in origins]
        if (len(ours) == 1 and ours[0]) or (not ours and request.headers.get("sec-fetch-site") == "same-origin"):
            return None
        return PlainTextResponse("this request comes from another site\n", 403)

    def _stranger(self, request: Request, visitor: Visitor) -> Response | None:
        """Find the session; None where the request may go on."""
        path, generation = request.url.path, self._token.generation()
        # An open page that nobody looks at keeps no session alive.
        unasked = path == "/api/events" or "x-unasked" in request.headers
        session = self._sessions.find(request.cookies.get(visitor.cookie, ""), generation, use=not unasked)
        if self._options.user_header and visitor.named:
            if session is None or session.user != visitor.named or session.generation:
                session = self._sessions.begin(visitor.named, "")
        elif session is not None and not session.generation:
            session = None  # the proxy named somebody then, and does not now
        visitor.session = session
        if session is not None or path.startswith(OPEN):
            return None
        if path.startswith("/api/"):
            return JSONResponse({"error": "you are not logged in, or your session is over"}, 401)
        target = path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(target, safe='')}", 303)


async def _body(receive: Receive) -> bytes | None:
    """All of it; None if it is too long."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LONGEST_BODY:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _given(body: bytes | None, receive: Receive) -> Receive:
    """`receive` as if the body were yet to come."""
    left = [body or b""]

    async def again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return again


def _with_headers(send: Send, request: Request, visitor: Visitor) -> Send:
    """`send`, with what protects every answer, and the cookie of a session that a proxy's word has begun."""

    async def protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            for name, value in _HEADERS.items():
                headers[name] = value
            if not request.url.path.startswith("/static/"):
                headers["Cache-Control"] = "no-store"
            session = visitor.session
            if session and not session.generation and request.cookies.get(visitor.cookie) != session.key:
                headers.append("Set-Cookie", cookie(visitor, visitor.cookie, session.key))
        await send(message)

    return protected
