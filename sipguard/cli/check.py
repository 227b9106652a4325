"""`sipguard check`: is the configuration right, and what would run with it?"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sipguard.cli import output
from sipguard.cli.options import config_option
from sipguard.cli.output import complain
from sipguard.cli.tree import fail2ban_dir_option, load_settings
from sipguard.config.plain import plain
from sipguard.config.settings import Settings
from sipguard.config.values import format_duration
from sipguard.errors import ConfigError, SipguardError
from sipguard.text import printable, shown_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipguard.fail2ban.config.role import Role
    from sipguard.model import Action, Feed, Fleet, Jail


@click.command("check")
@config_option()
@fail2ban_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--dump", is_flag=True, help="Print every jail as it will run, with all its settings, as one JSON object."
)
def command(config: Path | None, fail2ban_dir: Path | None, as_json: bool, dump: bool) -> None:
    """Check the configuration without running it.

    Prints the jails that would run. Each error is one line on standard error.
    """
    settings, errors = _load(config, fail2ban_dir)
    warnings = settings.warnings if settings else ()
    for warning in warnings:
        complain(f"warning: {warning}")
    for error in errors:
        complain(str(error))
    hints = _advice(settings)
    for hint in hints:
        complain(f"advice: {hint}")
    if dump:
        output.print_json(_dump(settings, errors, warnings))
    elif as_json:
        output.print_json({**_as_json(settings, errors, warnings), "advice": hints})
    elif settings:
        _print(settings, wrong=len(errors))
    if errors:
        sys.exit(ConfigError.exit_status)


def _advice(settings: Settings | None) -> list[str]:
    """What the jails' logs could tell better."""
    from sipguard.cli.advice import advice  # noqa: PLC0415 - as below

    jails = settings.jails if settings else ()
    hints = [f"jail {jail.name}: {hint}" for jail in jails for hint in advice(jail)]
    if settings and settings.wire_enabled:
        from sipguard.cli.wire_advice import wire_advice  # noqa: PLC0415 - as below

        hints += wire_advice(settings)
    if jails:
        from sipguard.cli.port_advice import port_advice  # noqa: PLC0415 - as below

        hints += port_advice(jails)
    return list(dict.fromkeys(hints))


def _load(config: Path | None, fail2ban_dir: Path | None) -> tuple[Settings | None, Sequence[SipguardError]]:
    """The settings with the jails that would run, and all that `run` would refuse, in its words."""
    try:
        settings = load_settings(config, fail2ban_dir)
    except ConfigError as error:
        return None, [error]
    from sipguard.daemon.preflight import refusals  # noqa: PLC0415 - a broken sipguard.toml is told without it

    jails, errors = refusals(settings)
    return replace(settings, jails=jails), errors


def _dump(settings: Settings | None, errors: Sequence[SipguardError], warnings: Sequence[str]) -> dict[str, Any]:
    """Everything: the fields of `Settings`, and under `jails` those of each `Jail` by name; -1 is for ever."""
    apart = ("jails", "errors", "warnings", "feeds", "fleet", "crowdsec")  # they have keys that are secret
    return {
        "settings": {key: value for key, value in plain(settings).items() if key not in apart} if settings else None,
        "jails": {jail.name: plain(jail) for jail in settings.jails} if settings else {},
        "feeds": [_feed_as_json(feed) for feed in settings.feeds] if settings else [],
        "errors": [str(error) for error in errors],
        "warnings": list(warnings),
    }


def _as_json(settings: Settings | None, errors: Sequence[SipguardError], warnings: Sequence[str]) -> dict[str, Any]:
    return {
        "config": str(settings.config_file) if settings else None,
        "firewall": settings.firewall if settings else None,
        "search": _search(),
        "jails": [_jail_as_json(jail, settings) for jail in settings.jails] if settings else [],
        "feeds": [_feed_as_json(feed) for feed in settings.feeds] if settings else [],
        "errors": [
            {"where": error.where, "what": error.what}
            if isinstance(error, ConfigError)
            else {"where": "", "what": str(error)}
            for error in errors
        ],
        "warnings": list(warnings),
    }


def _jail_as_json(jail: Jail, settings: Settings) -> dict[str, Any]:
    """One jail; times in seconds, null for a ban without end; no ports or protocols means all."""
    return {
        "jail": jail.name,
        "filter": jail.filter.name,
        "logpath": list(map(str, jail.logpath)),
        "log_choice": jail.log_choice,
        "port": [str(port) for port in jail.rule.ports],
        "protocol": list(jail.rule.protocols),
        "verdict": jail.rule.verdict,
        "maxretry": jail.maxretry,
        "findtime": jail.findtime,
        "bantime": jail.bantime if math.isfinite(jail.bantime) else None,
        "ignoreip": list(jail.ignoreip),
        "actions": [
            {"action": action.name, "replaced": role.replaced, "rejects": role.rejects, "why": role.why}
            for action, role in _roles(jail, settings)
        ],
    }


def _roles(jail: Jail, settings: Settings) -> list[tuple[Action, Role]]:
    """The actions of a Fail2ban tree, with what becomes of each."""
    from sipguard.fail2ban.config.role import role_of  # noqa: PLC0415 - native jails have none
    from sipguard.model import Action  # noqa: PLC0415

    found = [(action, role_of(action)) for action in jail.actions if isinstance(action, Action)]
    if settings.banactions == "commands":
        return [(action, replace(role, replaced=False)) for action, role in found]
    return found


def _feed_as_json(feed: Feed) -> dict[str, Any]:
    """One feed, without its key; times in seconds."""
    source = feed.file or shown_url(feed.url)
    return {"feed": feed.name, "source": source, "interval": feed.interval, "expiry": feed.expiry}


def _summary(jail: Jail, settings: Settings) -> list[tuple[str, str]]:
    """What people want to know of a jail, each with its label."""
    ports = ", ".join(str(port) for port in jail.rule.ports) or "all"
    forever = math.isinf(jail.bantime)
    lasting = "for ever" if forever else f"for {format_duration(jail.bantime)}"
    rows = [("log", str(path)) for path in jail.logpath]
    rows += [("chosen", jail.log_choice)] if jail.log_choice else []
    rows += [("journal", " + ".join(jail.filter.journalmatch) or "all of it")] if jail.journal else []
    reads = "SIP messages" + (", calls to nowhere too" if jail.mode == "scan" else "")
    rows += [
        ("reads", reads) if jail.source == "wire" else ("filter", jail.filter.name),
        ("ban", f"{lasting}, after {jail.maxretry} failures within {format_duration(jail.findtime)}"),
        (jail.rule.verdict, f"ports {ports}, protocols {' '.join(jail.rule.protocols) or 'all'}"),
    ]
    rows += [("never", " ".join(jail.ignoreip))] if jail.ignoreip else []
    rows += [("action", role.told(action)) for action, role in _roles(jail, settings)]
    return [(label, printable(text)) for label, text in rows]


def _print(settings: Settings, *, wrong: int) -> None:
    """The jails that would run, also beside those that would not."""
    read = printable(settings.fail2ban_dir or str(settings.config_file))
    verdict = output.counted(wrong, "error") if wrong else "OK"
    running = "would still run" if wrong and settings.jails else "would run" if wrong else "enabled"
    heading = (
        f"{read}: {verdict}; {output.counted(len(settings.jails), 'jail') if settings.jails else 'no jail'} {running}"
    )
    output.say(heading, "bad" if wrong else "good")
    for jail in settings.jails:
        output.say("")
        output.say(printable(jail.name), "bold")
        for label, text in _summary(jail, settings):
            output.say_fact(f"  {label:<8}", text)
    for feed in settings.feeds:
        output.say(f"\n{_feed_line(feed)}")
    if settings.fleet:
        output.say(f"\n{_fleet_line(settings.fleet)}")
    output.say(f"\nsearch: {_search()}")


def _search() -> str:
    from sipguard.detection.pcre2 import told  # noqa: PLC0415 - a broken sipguard.toml is told without it

    return told()


def _feed_line(feed: Feed) -> str:
    return printable(
        f"feed {feed.name}: every {format_duration(feed.interval)} from {feed.file or shown_url(feed.url)}"
    )


def _fleet_line(fleet: Fleet) -> str:
    share, accept = ", ".join(fleet.share) or "nothing", ", ".join(fleet.accept) or "nothing"
    return printable(f"fleet: {fleet.name} at {shown_url(fleet.url)}, shares {share}, accepts {accept}")
