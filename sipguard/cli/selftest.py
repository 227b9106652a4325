"""`sipguard selftest`: one failed REGISTER from this machine per transport, followed from the server to the firewall."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import click

from sipguard.cli import output
from sipguard.cli.client import ask, socket_option
from sipguard.cli.register import NotListeningError, Refusal, Transport, register
from sipguard.policy.ignore import own_addresses
from sipguard.text import printable

PORTS: dict[str, tuple[int, ...]] = {
    "udp": (5060,),
    "tcp": (5060,),
    "tls": (5061,),
    "ws": (8088, 5066),
    "wss": (8089, 7443),
}
"""Where servers listen as they come; WebSockets: Asterisk, then FreeSWITCH. The first that listens is tried."""
FOLLOW = 8.0
"""Seconds until the log must tell of it, and the jail have understood it."""
_GREEN, _RED, _SKIPPED = "good", "bad", "dim"


class Stage(NamedTuple):
    """One stage, and what was seen of it."""

    name: str
    state: str
    """`good`, `bad`; `dim`: not tried."""
    seen: str


@click.command("selftest")
@click.option(
    "--to",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Where the server listens, on this machine.  [default: 127.0.0.1]",
)
@click.option(
    "--transport",
    "transports",
    multiple=True,
    type=click.Choice(get_args(Transport)),
    help="Only this one; may be given several times.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Port of the server.  [default: 5060; TLS: 5061; WS: 8088, 5066; WSS: 8089, 7443]",
)
@socket_option
def command(to: str, transports: tuple[str, ...], port: int | None, path: Path) -> None:
    """Try the whole way: log in from this machine with a wrong password, once per transport, and follow it.

    The stages: the server answers, refuses, reports it (log or events), a jail understands it, the firewall takes its bans.
    Nobody is banned: this machine's own addresses never are.
    """
    if to not in {*own_addresses(), "127.0.0.1", "::1"}:
        raise click.UsageError(
            f"--to {printable(to, 60)}: not an address of this machine; a self-test attacks nobody else"
        )
    wanted = cast("tuple[Transport, ...]", transports or get_args(Transport))
    found = {one: _try(one, to, (port,) if port else PORTS[one], path, must=bool(transports)) for one in wanted}
    _show(found)
    states = {stage.state for stages in found.values() for stage in stages}
    if _RED in states or _GREEN not in states:
        raise click.exceptions.Exit(1)


def _show(found: dict[Transport, list[Stage]]) -> None:
    words = {_GREEN: "ok", _RED: "FAILED", _SKIPPED: "not tried"}
    for transport, stages in found.items():
        for stage in stages:
            output.say(f"{transport:<3}  {stage.name:<10}  {words[stage.state]}: {stage.seen}", stage.state)
    if all(stage.state == _SKIPPED for stages in found.values() for stage in stages):
        output.say(
            "no SIP server listens here; name its address and port: sipguard selftest --to ADDRESS --port PORT", _RED
        )


def _try(transport: Transport, to: str, ports: tuple[int, ...], path: Path, *, must: bool) -> list[Stage]:
    before = _numbers(path)
    for port in ports:
        try:
            outcome = register(transport, to, port)
            break
        except NotListeningError:
            continue
        except OSError as error:
            return [Stage("answers", _RED if must else _SKIPPED, f"{to}, port {port}: {error.strerror or error}")]
    else:
        where = " or ".join(map(str, ports))
        return [Stage("answers", _RED if must else _SKIPPED, f"nobody listens at {to}, port {where}")]
    stages = _of_server(outcome, transport, to, port)
    if stages[-1].state == _RED:
        if transport == "udp" and not outcome.first and not must:
            return [stages[0]._replace(state=_SKIPPED)]
        return stages
    return stages + _follow(before, path)


def _of_server(outcome: Refusal, transport: Transport, to: str, port: int) -> list[Stage]:
    where = f"{transport} {to}, port {port}"
    if not outcome.first:
        return [Stage("answers", _RED, f"no answer from {where}; is it the server's address?")]
    answers = Stage("answers", _GREEN, f"{outcome.first} from {where}")
    last = outcome.second or outcome.first
    if 200 <= last < 300:
        seen = f"{last}: it lets anybody register, without a right password: mend the server before anything else"
        return [answers, Stage("refuses", _RED, seen)]
    if not outcome.second:
        seen = f"{outcome.first} and no challenge: it refuses before it looks at the password (an access list?)"
        return [answers, Stage("refuses", _RED, seen)]
    return [answers, Stage("refuses", _GREEN, f"{last} to a wrong password")]


def _numbers(path: Path) -> dict[str, dict[str, Any]]:
    status = ask(path, "status")
    firewall = status["firewall"]
    return {
        jail["name"]: {
            "read": jail["detection"]["lines"] + ((jail["events"] or {}).get("events") or 0),
            "ignored": jail["totals"]["ignored"],
            "counted": jail["totals"]["failures"] - jail["totals"]["ignored"],
            "logs": jail["logs"],
            "can": _why_not(jail["name"], status["working"], firewall),
            "wire": jail["source"] == "wire",
        }
        for jail in status["jails"]
    }


def _why_not(jail: str, working: list[str], firewall: dict[str, Any]) -> str:
    """Why a jail cannot ban now; empty if it can."""
    if firewall["backend"] == "memory":
        return "the firewall is `memory`, which rejects nothing"
    if firewall["problem"] or jail in firewall["unruled"]:
        return f"the firewall takes no bans: {printable(firewall['problem'] or firewall['unruled'][jail], 300)}"
    return "" if jail in working else "the jail cannot ban now; see `sipguard status`"


def _follow(before: dict[str, dict[str, Any]], path: Path) -> list[Stage]:
    """What the daemon has made of it."""
    end = time.monotonic() + FOLLOW
    while True:
        now = _numbers(path)
        grown = {name: one for name, one in now.items() if name in before and not one["wire"]}
        read = [name for name, one in grown.items() if one["read"] > before[name]["read"]]
        found = [name for name in read if grown[name]["ignored"] > before[name]["ignored"]]
        if found or time.monotonic() > end:
            break
        time.sleep(0.2)
    if not read:
        logs = (
            ", ".join(sorted({printable(log, 100) for one in grown.values() for log in one["logs"]}))
            or "no log is followed"
        )
        seen = f"nothing new within {FOLLOW:.0f} s in {logs}: is it this server's log, and at what level does it log?"
        return [Stage("tells", _RED, f"{seen} `sipguard check` says what to switch on")]
    tells = Stage("tells", _GREEN, f"read by {', '.join(map(printable, read))}")
    if not found:
        counted = [name for name in read if grown[name]["counted"] > before[name]["counted"]]
        if counted:
            seen = (
                f"{printable(counted[0])} counts failures of this machine: write ignoreself = true, or it may be banned"
            )
        else:
            seen = "no jail found a failed login in what is new; see `sipguard test-filter LOG FILTER --print-missed`"
        return [tells, Stage("understood", _RED, seen)]
    understood = Stage(
        "understood", _GREEN, f"by {', '.join(map(printable, found))}: left out alone since it is this machine"
    )
    reasons = [why for name in found if (why := grown[name]["can"])]
    would = f"{', '.join(map(printable, found))} would ban a stranger after maxretry of these"
    return [tells, understood, Stage("bans", _RED, reasons[0]) if reasons else Stage("bans", _GREEN, would)]
