"""Formats answers exactly as fail2ban-client prints them, byte for byte: programs parse that output."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sipguard.fail2ban.protocol.answers import RemoteError

Command = Sequence[Any]


def text(command: Command, answer: Any) -> str:
    """Format the answer to `command`. Raises if the answer does not have the expected structure."""
    first, second, third = (one if isinstance(one, str) else "" for one in [*command, "", "", ""][:3])
    if first in _BY_FIRST:
        return _BY_FIRST[first](command, answer)
    if len(command) > 1 and second in _BY_SECOND:
        return _BY_SECOND[second](answer)
    if len(command) > 2 and third in _BY_THIRD:
        return _BY_THIRD[third](command, answer)
    return str(answer)


def error(answer: RemoteError) -> str:
    match answer.kind:
        case "UnknownJailException":
            return f"Sorry but the jail '{answer.args[0]}' does not exist"
        case "IndexError":
            return "Sorry but the command is invalid"
        case "DuplicateJailException":
            return f"The jail '{answer.args[0]}' already exists"
    return str(answer)


def _tree(items: Sequence[str]) -> list[str]:
    """Lines with `|-` before each and `` `- `` before the last."""
    return [f"{'`-' if at == len(items) - 1 else '|-'} {item}" for at, item in enumerate(items)]


def _joined(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _stop(command: Command, answer: Any) -> str:
    if answer is not None:
        return str(answer)
    return "Shutdown successful" if len(command) == 1 else "Jail stopped"


def _status(command: Command, answer: Any) -> str:
    if len(command) > 1 and command[1] == "--all":
        return _all_status(command, answer)
    if len(command) > 1:
        return "\n".join([f"Status for the jail: {command[1]}", *_jail(answer, "")])
    return "\n".join(["Status", *_tree([f"{name}:\t{_joined(value)}" for name, value in answer])])


def _jail(groups: Any, indent: str) -> list[str]:
    """The tree of one jail; every line starts with `indent`."""
    lines = []
    for at, (name, values) in enumerate(groups):
        last = at == len(groups) - 1
        lines.append(f"{indent}{'`-' if last else '|-'} {name}")
        inner = indent + ("   " if last else "|  ")
        lines += [inner + line for line in _tree([f"{key}:\t{_joined(value)}" for key, value in values])]
    return lines


def _all_status(command: Command, answer: Any) -> str:
    """`status --all [FLAVOR]`: the server's lines, and the tree of every jail below them."""
    if len(command) > 2 and command[2] == "stats":
        return _stats(command, answer)
    lines = ["Status", *(f"|- {name}:\t{_joined(value)}" for name, value in answer[:-1]), "`- Status for the jails:"]
    jails = answer[-1]
    for at, (name, groups) in enumerate(jails.items()):
        last = at == len(jails) - 1
        lines.append(f"   {'`-' if last else '|-'} Jail: {name}")
        lines += _jail(groups, "      " if last else "   |  ")
    return "\n".join(lines)


def _stats(_command: Command, answer: Any) -> str:
    """The table of all jails: backend, failures and bans, each currently and in total."""
    width = max([len(name) for name in answer] + [len("Jail")])
    rule = "-" * (width + 2)
    head = f"{'Jail':<{width}} | Backend    | {'Filter':^13} | {'Actions':^13}"
    under = f"{'':<{width}} |            | {'cur':>6} {'tot':>6} | {'cur':>6} {'tot':>6}"
    lines = [head, under, f"{rule[:-1]}+------------+{'-' * 15}+{'-' * 14}"]
    for name, (backend, (failed, all_failed), (banned, all_banned)) in answer.items():
        lines.append(f"{name:<{width}} | {backend:<10} | {failed:>6} {all_failed:>6} | {banned:>6} {all_banned:>6}")
    return "\n".join(lines)


def _log_level(answer: Any) -> str:
    name = logging.getLevelName(answer) if isinstance(answer, int) else answer
    return f"Current logging level is {name!r}"


def _one(heading: str) -> Callable[[Any], str]:
    return lambda answer: f"{heading}\n`- {answer}"


def _of_database(heading: str, answer: Any) -> str:
    return "Database currently disabled" if answer is None else f"Current database {heading} is:\n`- {answer}"


def _list(none: str, heading: str) -> Callable[[Command, Any], str]:
    return lambda _command, answer: "\n".join([heading, *_tree(answer)]) if answer else none


def _regexes(_command: Command, answer: Any) -> str:
    if not answer:
        return "No regular expression is defined"
    lines = _tree([f"[{number}]: {regex}" for number, regex in enumerate(answer)])
    return "\n".join(["The following regular expression are defined:", *lines])


def _journal(_command: Command, answer: Any) -> str:
    if not answer:
        return "No journal match filter set"
    return "Current match filter:\n" + " + ".join(" ".join(one) for one in answer)


def _date_pattern(_command: Command, answer: Any) -> str:
    head = "Current date pattern set to: "
    if answer is None:
        return head + "Not set/required"
    pattern, name = answer
    return head + (f"{name}" if pattern is None else f"{pattern} ({name})")


def _actions(command: Command, answer: Any) -> str:
    if not answer:
        return f"No actions for jail {command[1]}"
    return f"The jail {command[1]} has the following actions:\n" + ", ".join(answer)


def _of_action(what: str) -> Callable[[Command, Any], str]:
    def shown(command: Command, answer: Any) -> str:
        if not answer:
            return f"No {what} for jail {command[1]} action {command[3]}"
        return f"The jail {command[1]} action {command[3]} has the following {what}:\n" + ", ".join(answer)

    return shown


def _ban_list(command: Command, answer: Any) -> str:
    if command[0] != "get" or not isinstance(answer, list):
        return str(answer)
    separator = command[3] if len(command) > 3 else " "
    return ("\n" if separator == "--with-time" else separator).join(answer)


_BY_FIRST: dict[Any, Callable[[Command, Any], str]] = {
    "ping": lambda _command, answer: "Server replied: " + answer,
    "version": lambda _command, answer: str(answer),
    "start": lambda _command, _answer: "Jail started",
    "stop": _stop,
    "add": lambda _command, answer: "Added jail " + answer,
    "flushlogs": lambda _command, answer: "logs: " + answer,
    "echo": lambda _command, answer: " ".join(answer),
    "status": _status,
    "stats": _stats,
    "statistics": _stats,
}
_BY_SECOND: dict[Any, Callable[[Any], str]] = {
    "syslogsocket": _one("Current syslog socket is:"),
    "logtarget": _one("Current logging target is:"),
    "loglevel": _log_level,
    "dbfile": partial(_of_database, "file"),
    "dbpurgeage": lambda answer: _of_database("purge age", None if answer is None else f"{int(answer)}seconds"),
}
_LOGS = _list("No file is currently monitored", "Current monitored log file(s):")
_IGNORED = _list("No IP address/network is ignored", "These IP addresses/networks are ignored:")
_BY_THIRD: dict[Any, Callable[[Command, Any], str]] = {
    **dict.fromkeys(("logpath", "addlogpath", "dellogpath"), _LOGS),
    **dict.fromkeys(("ignoreip", "addignoreip", "delignoreip"), _IGNORED),
    **dict.fromkeys(("journalmatch", "addjournalmatch", "deljournalmatch"), _journal),
    **dict.fromkeys(("failregex", "addfailregex", "delfailregex"), _regexes),
    **dict.fromkeys(("ignoreregex", "addignoreregex", "delignoreregex"), _regexes),
    "logencoding": lambda _command, answer: "Current log encoding is set to:\n" + answer,
    "datepattern": _date_pattern,
    "actions": _actions,
    "actionproperties": _of_action("properties"),
    "actionmethods": _of_action("methods"),
    "banip": _ban_list,
}
