"""`sipguard status`: what the daemon sees and rejects."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_option
from sipguard.text import printable

_NOT_COUNTS = ("last_failure", "first", "last")


@click.command("status")
@click.argument("jail", required=False)
@click.option(
    "--counted", is_flag=True, help="Of one jail: the addresses that have failed and are not banned, a page of them."
)
@click.option("--from", "begin", type=click.IntRange(min=0), default=0, help="With --counted: the number of the first.")
@json_option
@socket_option
def command(jail: str | None, counted: bool, begin: int, as_json: bool, path: Path) -> None:
    """What the running daemon sees and rejects; of one JAIL, with the addresses.

    Exit status 1 if nobody is protected: no jail is running, none has anything to read, or the firewall takes no bans.
    """
    if counted and not jail:
        raise click.UsageError("--counted needs the name of a jail")
    status = ask(path, "status", jail=jail, **({"counted": begin} if counted else {}))
    if as_json:
        output.as_json(status)
    else:
        _tell(status, jail)
    if not status["working"] and not jail:
        raise click.exceptions.Exit(1)


def _tell(status: dict[str, Any], jail: str | None) -> None:
    _head(status)
    if not status["working"]:
        why = "none of the jails has anything to read" if status["jails"] else "no jail is running"
        if status["jails"] and (status["firewall"]["problem"] or status["firewall"]["unruled"]):
            why = "the firewall takes no bans"
        output.say(f"NOBODY IS PROTECTED: {why}")
    if jail:
        _one(status["jails"][0])
    else:
        output.table(
            ("jail", "failures", "counting", "banned now", "bans", "lines", "logs"),
            ([*_numbers(one), _logs(one)] for one in status["jails"]),
        )
    for one in status["jails"] if not jail else ():
        _problem(one)
    for error in status["errors"]:
        output.say(f"not running: {printable(error, 500)}")


def _head(status: dict[str, Any]) -> None:
    running = output.span(time.time() - status["since"])
    output.say(f"sipguard {status['version']}, running {running}, firewall {status['firewall']['backend']}")
    output.say(f"search: {printable(status['search'], 300)}")
    if status["firewall"]["backend"] == "memory":
        output.say("firewall: memory enforces nothing, it is for trials: bans reject no packet")
    for part in ("firewall", "state"):
        if problem := status[part]["problem"]:
            output.say(f"{part}: {printable(problem, 500)}")


def _problem(jail: dict[str, Any]) -> None:
    if jail["problem"]:
        output.say(f"jail {jail['name']}: {printable(jail['problem'], 500)}")
    events = jail["events"]
    if events and not events["speaks"]:
        output.say(
            f"jail {jail['name']}: no events of {printable(events['url'])}: {printable(events['problem'] or '', 300)}"
        )


def _numbers(jail: dict[str, Any]) -> list[object]:
    totals = jail["totals"]
    return [
        jail["name"],
        totals["failures"],
        jail["counting"],
        len(jail["banned"]),
        totals["bans"],
        jail["detection"]["lines"],
    ]


def _logs(jail: dict[str, Any]) -> str:
    problems = [f"{path}: {problem}" for path, problem in jail["logs"].items() if problem]
    readable = len(jail["logs"]) - len(problems)
    return "; ".join([f"{readable} followed", *problems]) if readable or not problems else "; ".join(problems)


def _one(jail: dict[str, Any]) -> None:
    bantime = output.span(jail["bantime"])
    output.say(
        f"jail {jail['name']}: filter {jail['filter']}, {jail['maxretry']} failures within "
        f"{output.span(jail['findtime'])} ban for {bantime}"
    )
    _problem(jail)
    for path, problem in jail["logs"].items():
        output.say(f"log {printable(path)}: {printable(problem) if problem else 'followed'}")
    if why := jail.get("log_choice"):
        output.say(f"this log: {printable(why, 500)}")
    for path, seconds in jail["lags"].items():
        side = "behind" if seconds > 0 else "ahead of"
        output.say(f"log {printable(path)}: its lines are {output.span(abs(seconds))} {side} this machine's clock")
    if events := jail["events"]:
        told = f"told; the log is silent ({events['silenced']})" if events["speaks"] else "not told"
        output.say(
            f"events of {printable(events['url'])}: {told}, {events['events']} read, {events['tampered']} tampered"
        )
    for action in jail["actions"]:
        numbers = ", ".join(f"{action[what]} {what}" for what in ("done", "failed", "dropped", "queued"))
        problem = f": {printable(action['problem'], 300)}" if action["problem"] else ""
        output.say(f"action {printable(action['name'])}: {numbers}{problem}")
    shown = {**jail["detection"], **jail["totals"]}
    output.say(
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items() if name not in _NOT_COUNTS)
    )
    if "counted" in jail:
        output.table(("counted", "attempts"), jail["counted"].items())
    now = time.time()
    output.table(
        ("banned", "since", "for another", "why"),
        (
            [
                ban["address"],
                output.moment(ban["since"]),
                output.span(None if ban["until"] is None else ban["until"] - now),
                ban["reason"],
            ]
            for ban in jail["banned"]
        ),
    )
