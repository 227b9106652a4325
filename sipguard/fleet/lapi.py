"""Client of CrowdSec's local API (LAPI, v1): decisions as a bouncer, alerts as a machine. httpx is imported here alone.

Errors of httpx hold URLs and may hold keys: none leaves this file.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sipguard import __version__
from sipguard.errors import FleetError
from sipguard.model import Crowdsec
from sipguard.networks import NetworkRefusedError, admit
from sipguard.text import printable

if TYPE_CHECKING:
    import httpx

PATIENCE = 30.0
"""Seconds that an answer may take."""
LARGEST = 256 << 20
"""Bytes of one answer: a million decisions."""
_TOKEN_LASTS = 1800.0
"""Seconds for which a login is used; CrowdSec's own lasts an hour."""
_ORIGIN = "crowdsec"
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|µs|us|ns|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}


class LapiError(FleetError):
    """The local API is out of reach, or refuses."""


class Decision(NamedTuple):
    """One decision of CrowdSec's: a ban of an address or a range."""

    id: int
    network: str
    seconds: float
    """Until it ends, as of the answer."""
    origin: str
    scenario: str


class OwnAlert(NamedTuple):
    """A ban of this machine to be sent."""

    network: str
    seconds: float
    jail: str
    message: str
    attempts: int
    events: tuple[tuple[float, str], ...] = ()
    """Time and user of each attempt."""


class Lapi:
    """One local API."""

    def __init__(self, settings: Crowdsec) -> None:
        self._settings = settings
        self._prefix = f"sipguard/{settings.login}/"
        """What the scenarios of this machine's decisions begin with. As origin, `cscli` lists nothing but its own two."""
        self._client: httpx.AsyncClient | None = None
        self._token = ""
        self._expires = 0.0

    async def close(self) -> None:
        """Close the connection."""
        client, self._client, self._token = self._client, None, ""
        if client is not None:
            await client.aclose()

    async def decisions(self, *, everything: bool) -> tuple[list[Decision], list[Decision], int]:
        """Decisions that are new, and that are over, since the last call (or all there are); and how many were refused."""
        answer = await self._ask(
            "GET",
            "/v1/decisions/stream",
            params={"startup": str(everything).lower(), "scopes": "ip,range"},
            headers={"x-api-key": self._settings.key},
        )
        if not isinstance(answer, dict):
            raise LapiError("an answer that is no stream of decisions")
        (new, refused), (deleted, _) = (_read(answer.get(name)) for name in ("new", "deleted"))
        return new, deleted, refused

    async def own(self) -> dict[str, float]:
        """Network → seconds left of the decisions that this machine has made."""
        found: dict[str, float] = {}
        for decision in await self._own():
            found[decision.network] = max(decision.seconds, found.get(decision.network, 0.0))
        return found

    def is_own(self, decision: Decision) -> bool:
        """Whether this machine has made a decision."""
        return bool(self._settings.login) and decision.scenario.startswith(self._prefix)

    async def _own(self, **more: str) -> list[Decision]:
        params = {"origin": _ORIGIN, "include_capi": "false", "has_active_decision": "true", "limit": "0", **more}
        alerts = await self._as_machine("GET", "/v1/alerts", params=params)
        told = [alert.get("decisions") for alert in alerts or () if isinstance(alert, dict)]
        return [one for decisions in told for one in _read(decisions)[0] if self.is_own(one) and one.seconds > 0]

    async def tell(self, alerts: Iterable[OwnAlert]) -> None:
        """Make decisions of this machine's bans."""
        await self._as_machine("POST", "/v1/alerts", json=[self._alert(one) for one in alerts])

    async def take_back(self, network: str) -> None:
        """Delete this machine's decisions about a network, and nobody else's."""
        for decision in await self._own(value=network):
            if decision.network == network:
                await self._as_machine("DELETE", f"/v1/decisions/{decision.id}")

    def _alert(self, one: OwnAlert) -> dict[str, Any]:
        now, scenario = _stamp(time.time()), self._prefix + one.jail
        scope = "Range" if "/" in one.network else "Ip"
        source = {"scope": scope, "value": one.network, "range" if scope == "Range" else "ip": one.network}
        decision = {
            "duration": f"{max(1, round(one.seconds))}s", "origin": _ORIGIN, "scenario": scenario, "scope": scope,
            "type": "ban", "value": one.network,
        }  # fmt: skip
        events = [
            {
                "timestamp": _stamp(when),
                "meta": [{"key": "target_user", "value": user}, {"key": "service", "value": "sip"}],
            }
            for when, user in one.events
        ]
        return {
            "scenario": scenario, "scenario_hash": "", "scenario_version": __version__, "message": one.message,
            "events_count": max(1, one.attempts), "start_at": now, "stop_at": now, "capacity": max(0, one.attempts),
            "leakspeed": "0s", "simulated": False, "remediation": True, "source": source, "events": events,
            "decisions": [decision],
        }  # fmt: skip

    async def _as_machine(self, method: str, path: str, **more: Any) -> Any:
        if not self._token or time.monotonic() > self._expires:
            login = {"machine_id": self._settings.login, "password": self._settings.password, "scenarios": []}
            answer = await self._ask("POST", "/v1/watchers/login", json=login)
            self._token = str(answer.get("token", "")) if isinstance(answer, dict) else ""
            self._expires = time.monotonic() + _TOKEN_LASTS
        try:
            return await self._ask(method, path, headers={"authorization": f"Bearer {self._token}"}, **more)
        except LapiError:
            self._token = ""
            raise

    async def _ask(self, method: str, path: str, **more: Any) -> Any:
        import logging  # noqa: PLC0415 - beside httpx

        import httpx  # noqa: PLC0415 - ten megabytes that a daemon without CrowdSec does not need

        if self._client is None:
            for noisy in ("httpx", "httpcore"):  # at INFO they log every URL
                logging.getLogger(noisy).setLevel(logging.WARNING)
            verify = self._settings.ca_file or True
            self._client = httpx.AsyncClient(verify=verify, timeout=PATIENCE, follow_redirects=False)
        more["headers"] = {"user-agent": f"sipguard/v{__version__}", **more.get("headers", {})}
        problem, url = "", self._settings.url.rstrip("/") + path
        try:
            async with asyncio.timeout(PATIENCE), self._client.stream(method, url, **more) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > LARGEST:
                        raise ValueError("the answer is too long")
                if response.status_code in (200, 201):
                    return json.loads(body) if body else None
                problem = _refusal(response.status_code, bytes(body[:300]))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError, RecursionError) as error:
            problem = f"{path}: {str(error)[:100] or type(error).__name__}"
        for secret in (self._settings.key, self._settings.password):
            problem = problem.replace(secret, "***") if secret else problem
        raise LapiError(printable(problem, 200))


def _refusal(status: int, body: bytes) -> str:
    if status in (401, 403):
        return f"refused (status {status}): is the key of the bouncer, or the machine's login and password, right?"
    return f"status {status}: {body.decode('utf-8', 'replace')}"


def _read(told: Any) -> tuple[list[Decision], int]:
    """The bans among decisions, and the number of those that are refused."""
    found, refused = [], 0
    for one in told if isinstance(told, list) else ():
        if (
            not isinstance(one, dict)
            or one.get("type") != "ban"
            or str(one.get("scope")).lower() not in ("ip", "range")
        ):
            continue
        try:
            network = admit(str(one.get("value")))
            decision = Decision(
                int(one.get("id") or 0),
                network,
                seconds(str(one.get("duration"))),
                str(one.get("origin")),
                printable(str(one.get("scenario")), 100),
            )
        except (NetworkRefusedError, ValueError, TypeError):
            refused += 1
        else:
            found.append(decision)
    return found, refused


def seconds(text: str) -> float:
    """A duration as Go writes it: `3h59m58.5s`, `-1.2ms`. Raises `ValueError`."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    parts = _PART.findall(rest)
    if not parts or "".join(map("".join, parts)) != rest:
        raise ValueError("no duration")
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


def _stamp(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat().replace("+00:00", "Z")
