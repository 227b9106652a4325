"""Fail2ban's own action files, for tests: their names, parameters to try them with, and bans with hostile values."""

from __future__ import annotations

from pathlib import Path

from sipguard.actions.base import Notice
from sipguard.actions.command import Result
from sipguard.actions.ticket import JailFacts, Past, Ticket
from sipguard.fail2ban.actions.command_action import Fail2banAction
from sipguard.fail2ban.config.actions import read_actions
from sipguard.model import Ban

ETC = Path("/etc/fail2ban")
DRIVER = Path(__file__).with_name("fail2ban_driver.py")
PYTHON = "/usr/bin/python3"

NOW = 1_700_000_000.0
HOST = "a.example.com'; $(touch PWNED-host) `touch PWNED-host`"
"""A name that the DNS may give for an attacker's address."""


def fail2ban_missing():
    """Why there is nothing to compare with; empty when there is."""
    return "" if (ETC / "action.d").is_dir() and Path(PYTHON).exists() else "Debian's fail2ban is not installed"


def action_files():
    """The names of the action files that can be used by themselves."""
    names = sorted(path.stem for path in (ETC / "action.d").glob("*.conf"))
    return [name for name in names if not name.endswith("-common") and name != "helpers-common"]


def hostile(marker):
    """What an attacker may have a line of log hold, were it put into a command as it is; `marker` is the file it makes."""
    return [
        f"Failed for $(touch {marker}) from 203.0.113.7",
        f"user `touch {marker}` '; touch {marker}; ' \"; touch {marker}; \" end",
        f"a\ntouch {marker}\nb\r\n.\nc | touch {marker} & touch {marker} > {marker}",
        f"\\$(touch {marker}) \\\\`touch {marker}` ${{IFS}} %s %n \\x60 \\044(touch {marker})",
        f"~! touch {marker}\n~:shell\ttab \x1b[31m é \u2028 {{}}[]*?<ip> <matches> <F-USER> #",
    ]


class Recording:
    """Takes the place of what executes; the commands with these numbers fail."""

    def __init__(self, failing=()):
        self.commands = []
        self.failing = set(failing)
        self.count = 0

    async def __call__(self, script, variables, limit):
        self.commands.append([script, dict(variables)])
        self.count += 1
        return Result(1, "failed") if self.count - 1 in self.failing else Result(0)

    def take(self):
        commands, self.commands = self.commands, []
        return commands


def ticket_of(case, given):
    """The ticket that stands for one of the case's."""
    ban = Ban(
        given["ip"],
        case["jail"],
        given["time"],
        given["time"] + given["bantime"] if given["bantime"] >= 0 else float("inf"),
        attempts=len(given["matches"]),
    )
    facts = JailFacts(case["jail"], 600.0, past=lambda _address, _jail: Past())
    return Ticket(ban, facts, tuple(given["matches"]), given["data"], restored=given["restored"])


def read(case):
    """The case's action, as sipguard reads it."""
    options = ",".join(f'{key}="{value}"' for key, value in case["options"].items())
    text = f"{case['file']}[{options}]" if options else case["file"]
    (action,) = read_actions(text, "jail.conf:1", case["jail"], {}, Path(case["tree"]) / "action.d")
    return action


async def run(case, execute):
    """The life of an action, step by step: what `fail2ban_driver.run` does, by sipguard's own."""
    tickets = [ticket_of(case, given) for given in case["tickets"]]
    worker = Fail2banAction(read(case), tickets[0].jail, execute, clock=lambda: NOW)
    steps = {}

    async def tell(*notices):
        for verb, ticket in notices:
            try:
                await worker.handle([Notice(verb, ticket)])
            except Exception as error:
                if type(error).__name__ != "ActionError":
                    raise
        return execute.take()

    steps["start"] = await tell(("start", tickets[0]))
    for ticket in tickets:
        skipped = ticket.restored and worker.norestored
        steps[f"ban {ticket.ban.address}"] = [] if skipped else await tell(("ban", ticket))
    first = tickets[0]
    steps[f"unban {first.ban.address}"] = await tell(("unban", first))
    rest = [("flush", first)] if worker.flushes else [("unban", ticket) for ticket in tickets[1:]]
    steps["stop"] = await tell(*rest, ("stop", first))
    return steps
