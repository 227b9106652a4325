"""`sipguard status`: what the daemon sees and rejects."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_option
from sipguard.cli.completion import jail_names
from sipguard.model import BY_HAND
from sipguard.text import in_words, printable, span
from sipguard.troubles import Trouble, troubles, unprotected

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_COUNTS = ("last_failure", "first", "last")


@click.command("status")
@click.argument("jail", required=False, shell_complete=jail_names)
@click.option(
    "--counted", is_flag=True, help="With JAIL: list the addresses that have failed and are not banned, a page of them."
)
@click.option(
    "--from",
    "begin",
    type=click.IntRange(min=0),
    default=0,
    metavar="NUMBER",
    help="With --counted: leave out so many.",
)
@json_option
@socket_option
def command(jail: str | None, counted: bool, begin: int, as_json: bool, path: Path) -> None:
    """Show what the running daemon sees and rejects; of one JAIL, with the addresses."""
    if counted and not jail:
        raise click.UsageError("--counted needs the name of a jail")
    if jail or as_json:
        status = ask(path, "status", jail=jail, **({"counted": begin} if counted else {}))
    else:
        status = ask(path, "overview")
    output.answer(status, as_json, _one if jail else _tell)
    if not status["working"] and not jail:
        raise click.exceptions.Exit(1)


def _tell(status: dict[str, Any]) -> None:
    """All jails on one screen: whether anybody is protected, by what, what is wrong, and what mends it."""
    wrong = troubles(status)
    _verdict(status, wrong)
    running = span(time.time() - status["since"])
    firewall = status["firewall"]["backend"]
    why = f" ({printable(reason, 200)})" if (reason := status["firewall"]["why"]) else ""
    live = output.counted(status["live"], "live ban")
    output.say(f"sipguard {status['version']}, running {running}, {live}, firewall {firewall}{why}")
    output.table(
        ("jail", "reads", "failures", "counting", "banned", "bans"),
        [*map(_numbers, status["jails"]), *_held(status["held"])],
    )
    if status["wire"] and status["wire"]["watched"]:
        _wire(status["wire"]["watched"])
    for trouble in wrong:
        output.say(trouble.text, "warn")
        if trouble.mend:
            output.say(f"    mend it: {trouble.mend}")


def _wire(wire: dict[str, Any]) -> None:
    """What the packets of this machine showed, and what went unseen."""
    packets = ", ".join(f"{count} {what}" for what, count in wire["packets"].items()) or "no packet yet"
    output.say(f"wire: SIP packets of ports {wire['ports']}: {packets}, {wire['limited']} beyond the limits")
    if wire["blind"]:
        output.say(f"wire: BLIND now: {wire['blind']}; log lines count as without the wire", "warn")
    elif wire["blind_times"]:
        last = wire["blind_times"][0]
        output.say(f"wire: last blind until {output.moment(last['until'])}: {last['reason']}")
    if wire["metered"] or wire["held_back"]:
        output.say(
            f"wire: {output.counted(wire['metered'], 'address')} metered, "
            f"{output.counted(wire['held_back'], 'packet')} held back"
        )


def _verdict(status: dict[str, Any], wrong: list[Trouble]) -> None:
    if why := unprotected(status):
        shout, _, rest = why.partition(": ")
        output.say(f"{shout.upper()}: {rest}", "bad")
        return
    jails, working = status["jails"], status["working"]
    watched = [one for one in jails if one["name"] != BY_HAND]
    idle = len(watched) - len(working) + len(status["errors"])
    if idle or any(trouble.level == "bad" for trouble in wrong):
        output.say(
            f"PROTECTED IN PART: {output.counted(len(working), 'jail')} at work, see below what is wrong", "warn"
        )
    else:
        output.say(f"PROTECTED: {output.counted(len(working), 'jail')} at work", "good")


def _numbers(jail: dict[str, Any]) -> list[object]:
    totals = jail["totals"]
    return [
        jail["name"],
        output.cell(*_evidence(jail)),
        totals["failures"],
        jail["counting"],
        jail["banned"],
        totals["bans"],
    ]


def _held(bans: dict[str, int]) -> Iterator[list[object]]:
    """Rows for jails that could not start; their bans stay."""
    for name, count in bans.items():
        yield [name, output.cell("nothing", "bad"), "", "", count, ""]


def _evidence(jail: dict[str, Any]) -> tuple[str, str]:
    """How the jail learns of attacks, such as `2 logs`, and how to colour that."""
    if jail["name"] == BY_HAND and not jail["logs"]:
        return "bans by hand", ""
    if jail["source"] == "wire":
        return "SIP packets", "good"
    events = jail["events"]
    if events and events["speaks"]:
        return f"events of {printable(events['url'], 60)}", "good"
    read = sum(not problem for problem in jail["logs"].values())
    if read:
        return ("journal" if jail["journal"] else output.counted(read, "log")), "good"
    return "nothing", "bad"


def _tell_examination(told: dict[str, Any] | None) -> None:
    """How much of the log the packets have confirmed or contradicted."""
    if told is None:
        return
    names = ("confirmed", "corroborated", "unproven", "contradicted")
    output.say("lines and the wire: " + ", ".join(f"{told[name]} {name}" for name in names))
    for why, count in told["reasons"].items():
        output.say(f"{count} count as without the wire: {printable(why, 200)}")
    for path, sighted in told["sighted"].items():
        if not sighted:
            output.say(f"log {printable(path)}: the wire has not confirmed it yet, so nothing is held against it")
    if told["liberal"]:
        output.say(f"logs are read liberally too: {told['hearsay']} proven attempts were told of so alone")
    if told["metered"]:
        output.say(f"{output.counted(told['metered'], 'address')} held back for failures that nothing proves")


def _one(status: dict[str, Any]) -> None:
    jail = status["jails"][0]
    for trouble in troubles({**status, "errors": []}):
        output.say(trouble.text, "warn")
    bantime = span(jail["bantime"])
    output.say(
        f"jail {jail['name']}: filter {jail['filter']}, {jail['maxretry']} failures within "
        f"{span(jail['findtime'])} ban for {bantime}"
    )
    for path, problem in jail["logs"].items():
        output.say(f"log {printable(path)}: {printable(problem) if problem else 'followed'}", "warn" if problem else "")
    if why := jail.get("log_choice"):
        output.say(f"this log: {printable(why, 500)}")
    for path, seconds in jail["lags"].items():
        side = "behind" if seconds > 0 else "ahead of"
        output.say(f"log {printable(path)}: its lines are {span(abs(seconds))} {side} this machine's clock")
    if events := jail["events"]:
        told = f"told; the log is silent ({events['silenced']})" if events["speaks"] else "not told"
        output.say(
            f"events of {printable(events['url'])}: {told}, {events['events']} read, {events['tampered']} tampered"
        )
    _tell_examination(jail.get("corroboration"))
    for action in jail["actions"]:
        numbers = ", ".join(f"{action[what]} {what}" for what in ("done", "failed", "dropped", "queued"))
        problem = f": {printable(action['problem'], 300)}" if action["problem"] else ""
        output.say(f"action {printable(action['name'])}: {numbers}{problem}")
    output.say(f"search: {printable(status['search'], 300)}")
    shown = {**jail["detection"], **jail["totals"]}
    counted = [(name.replace("_", " "), value) for name, value in shown.items() if value and name not in _NOT_COUNTS]
    output.say(", ".join(f"{value} {name}" for name, value in counted) or "nothing read yet")
    if "counted" in jail:
        output.table(("counted", "attempts"), jail["counted"].items())
    now = time.time()
    output.table(
        ("banned", "since", "left", "why"),
        (
            [
                ban["address"],
                output.lately(ban["since"]),
                span(None if ban["until"] is None else ban["until"] - now),
                in_words(ban["reason"]),
            ]
            for ban in jail["banned"]
        ),
    )
