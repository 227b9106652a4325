"""`sipguard flush`: all of ours, and nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from sipguard.cli import output
from sipguard.cli.client import ask, json_option, socket_option
from sipguard.cli.options import config_option
from sipguard.errors import SipguardError


@click.command("flush")
@click.option("-y", "--yes", is_flag=True, help="Do it without asking.")
@json_option
@socket_option
@click.option("--kernel", is_flag=True, help="Remove everything from the firewall, without asking a daemon.")
@config_option("With --kernel: the configuration file.")
def command(yes: bool, as_json: bool, path: Path, kernel: bool, config: Path | None) -> None:
    """End every ban of sipguard's. Nobody else's rules are touched.

    With --kernel, all that sipguard has made is removed from the firewall, chains and sets too, and no daemon is asked:
    for when it is stopped, or gone. A daemon that runs, or is started again, puts the bans back that have not ended.
    """
    if kernel:
        output.confirm("This removes all that sipguard has made from the firewall.", yes=yes)
        _remove(as_json, config)
        return
    live = 0 if yes else ask(path, "bans", limit=1, packets=False)["total"]
    output.confirm(f"This ends {output.counted(live, 'ban')}.", yes=yes or not live)
    ended = ask(path, "flush")
    output.answer(ended, as_json, lambda bans: output.say(f"{output.counted(len(bans), 'ban')} ended"))


def _remove(as_json: bool, config: Path | None) -> None:
    # Imported here: a daemon is asked without them.
    from sipguard.config.settings import load  # noqa: PLC0415
    from sipguard.firewall.host import may_change_firewalls  # noqa: PLC0415
    from sipguard.firewall.options import Options  # noqa: PLC0415
    from sipguard.firewall.removal import remove_all  # noqa: PLC0415

    if not may_change_firewalls():  # else all looks as if nothing were there
        raise SipguardError("only root may look into the firewall; use sudo: sudo sipguard flush --kernel")
    removed, problems = remove_all(Options(chain=load(config).chain))
    if as_json:
        output.print_json({"removed": removed, "problems": problems})
    else:
        output.say(f"removed from {', '.join(removed)}" if removed else "nothing of sipguard's was there")
    for problem in problems:
        output.complain(f"sipguard: {problem}")
    if problems:
        raise click.exceptions.Exit(2)
