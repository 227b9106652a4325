"""`sipguard fleet`: the other nodes as the running daemon knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_of, socket_option
from sipguard.text import printable


@click.group("fleet", invoke_without_command=True)
@json_option
@socket_option
@click.pass_context
def command(context: click.Context, as_json: bool, path: Path) -> None:
    """Show the other nodes: last heard, bans from each, lag, what was refused and why."""
    if context.invoked_subcommand:
        context.obj = path
        return
    told = ask(path, "fleet")
    output.answer(told, as_json, _show)
    if told is None or any(one and (one["problem"] or one.get("untold")) for one in told.values()):
        raise click.exceptions.Exit(1)


@command.command("accept")
@click.argument("name")
@json_option
@socket_option
@click.pass_context
def accept(context: click.Context, name: str, as_json: bool, path: Path) -> None:
    """Take the bans of the node NAME, which is held: it has too many, or many more than an hour ago."""
    told = ask(socket_of(context, path), "fleet accept", name=name)
    output.answer(told, as_json, lambda _: output.say(f"{name} is read again"))


def _show(told: dict[str, Any] | None) -> None:
    if told is None:
        output.say("there is no fleet; write [fleet] url = … or [crowdsec] url = … to sipguard.toml")
        return
    if told["fleet"]:
        _show_fleet(told["fleet"])
    if told["crowdsec"]:
        _show_crowdsec(told["crowdsec"])


def _show_connection(who: str, told: dict[str, Any]) -> None:
    state = f"not connected: {told['problem']}" if told["problem"] else "connected"
    if told.get("untold"):
        state += f", but it takes nothing: {told['untold']}"
    output.say(printable(f"{who} at {told['url']}: {state}"))


def _show_crowdsec(told: dict[str, Any]) -> None:
    _show_connection("CrowdSec", told)
    decisions, bans = (output.counted(told[name], noun) for name, noun in (("decisions", "network"), ("told", "ban")))
    output.say(f"its decisions: {decisions}, {told['refused']} refused; told it of {bans}")
    _show_rest(told)


def _show_rest(told: dict[str, Any]) -> None:
    if told["firewall"]:
        output.say(f"the firewall has not all of them: {printable(told['firewall'], 300)}")
    for why, count in sorted(told["ignored"].items()):
        output.say(f"{count} not rejected here: {printable(why, 200)}")


def _show_fleet(told: dict[str, Any]) -> None:
    _show_connection(told["name"], told)
    output.say(
        f"shares {', '.join(told['share']) or 'nothing'}: {output.counted(told['shared'], 'ban')}; "
        f"accepts {', '.join(told['accept']) or 'nothing'}: {output.counted(told['rejected'], 'ban')} of others"
    )
    if told["hint"]:
        output.say(told["hint"])
    output.table(
        ("node", "last heard", "bans", "published", "lag", "version"),
        (
            [
                node["name"],
                output.moment(node["heard"]) if node["heard"] else "never",
                node["bans"],
                "" if node["published"] is None else node["published"],
                f"{node['lag'] * 1000:.0f} ms",
                node["version"],
            ]
            for node in told["nodes"]
        ),
    )
    for node in told["nodes"]:
        if node["held"]:
            output.say(f"{node['name']} is held: {node['held']}; to accept it: sipguard fleet accept {node['name']}")
        for why, count in sorted(node["refused"].items()):
            output.say(f"{node['name']}: {count} refused: {printable(why, 200)}")
    _show_rest(told)
