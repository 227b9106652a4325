"""Run by the Python of the installed Fail2ban: what its own classes would execute, recorded instead of executed.

Reads cases as JSON from standard input, writes for each the commands of every step, or what was refused.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys

from fail2ban.client.actionreader import ActionReader
from fail2ban.server.ipdns import DNSUtils
from fail2ban.server.jail import Jail
from fail2ban.server.mytime import MyTime
from fail2ban.server.ticket import FailTicket
from fail2ban.server.utils import Utils

logging.disable(logging.CRITICAL)


class Recorder:
    """Takes the place of the function that executes; the commands with these numbers fail."""

    def __init__(self, failing):
        self.commands = []
        self.failing = failing
        self.count = 0

    def __call__(self, command, *_args, **_kwargs):
        variables = {}
        if isinstance(command, list):
            first, script = command[0].split("\n", 1)
            for word in first.split():
                name, _, place = word.partition("=$")
                variables[name] = command[1 + int(place)]
            command = script
        self.commands.append([command, variables])
        self.count += 1
        return self.count - 1 not in self.failing

    def take(self):
        commands, self.commands = self.commands, []
        return commands


def add_action(jail, case):
    """Add the action to the jail as the client would."""
    reader = ActionReader(case["file"], jail.name, dict(case["options"]), basedir=case["tree"])
    if not reader.read():
        raise ValueError("no such action")
    reader.getOptions({})
    for command in reader.convert():
        if command[2] == "addaction":
            jail.actions.add(command[3])
            name = command[3]
        elif command[0] == "multi-set":
            for option, value in command[4]:
                setattr(jail.actions[name], option, value)
        else:
            setattr(jail.actions[name], command[4], command[5])
    return jail.actions[name]


def run(case):
    """The commands of one life of an action."""
    recorder = Recorder(set(case["failing"]))
    Utils.executeCmd = recorder
    jail = Jail(case["jail"], backend="polling")
    jail.actions.setBanTime("600")
    action = add_action(jail, case)
    steps = {}
    with contextlib.suppress(RuntimeError):
        action.start()
    steps["start"] = recorder.take()
    for ticket in case["tickets"]:
        failed = FailTicket(ticket["ip"], ticket["time"], ticket["matches"], dict(ticket["data"]))
        failed.setAttempt(len(ticket["matches"]))
        failed.setBanTime(ticket["bantime"])
        failed.restored = ticket["restored"]
        jail.putFailTicket(failed)
        jail.actions._Actions__checkBan()
        steps[f"ban {ticket['ip']}"] = recorder.take()
    first = case["tickets"][0]["ip"]
    jail.actions.removeBannedIP(first, db=False)
    steps[f"unban {first}"] = recorder.take()
    jail.actions._Actions__flushBan(stop=True)
    jail.actions.stopActions()
    steps["stop"] = recorder.take()
    return steps


def main():
    """Every case of standard input."""
    answers = []
    given = json.load(sys.stdin)
    DNSUtils.ipToName = staticmethod(lambda _ip: given["host"])
    DNSUtils.setIPv6IsAllowed(True)
    MyTime.setTime(given["now"])
    for case in given["cases"]:
        try:
            answers.append(run(case))
        except ValueError as error:
            answers.append({"refused": str(error)})
    json.dump(answers, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # the jails' threads were never started: nothing to wait for


if __name__ == "__main__":
    main()
