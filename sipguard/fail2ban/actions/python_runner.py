"""Program that loads one Python action of action.d and calls it as requested, one JSON object per line.

It runs in its own process, so that nothing an action does or leaves behind affects the daemon. `python_action` starts it; it
imports nothing of sipguard. The action's output is discarded; its log messages are passed on.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, TextIO

MOST_TEXT = 500
"""Longest message passed on, in characters."""


class Address(str):
    """An address with those methods of Fail2ban's class that actions use."""

    __slots__ = ()

    @property
    def isIPv4(self) -> bool:  # noqa: N802 - Fail2ban's name
        return ipaddress.ip_network(str(self)).version == 4

    @property
    def isIPv6(self) -> bool:  # noqa: N802 - Fail2ban's name
        return ipaddress.ip_network(str(self)).version == 6

    @property
    def ntoa(self) -> str:
        return str(self)

    @property
    def familyStr(self) -> str:  # noqa: N802 - Fail2ban's name
        return "inet4" if self.isIPv4 else "inet6"


class Info(dict[str, Any]):
    """The tags of a ban. The host name of the address is looked up on demand."""

    def __missing__(self, key: str) -> Any:
        if key != "ip-host":
            raise KeyError(key)
        try:
            name: str | None = socket.gethostbyaddr(self["ip"])[0]
        except OSError:
            name = None
        self[key] = name
        return name


class JailActions:
    """The part of Fail2ban's `jail.actions` that actions use."""

    def __init__(self, bantime: int) -> None:
        self._bantime = bantime

    def getBanTime(self) -> int:  # noqa: N802 - Fail2ban's name
        """Seconds; -1 for ever."""
        return self._bantime


class ActionJail:
    """The part of Fail2ban's jail that actions use."""

    database = None

    def __init__(self, name: str, bantime: int) -> None:
        self.name = name
        self.actions = JailActions(bantime)

    def __str__(self) -> str:
        return self.name


class LogForwarder(logging.Handler):
    """Forwards the action's log messages to the daemon."""

    def __init__(self, say: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record as one line."""
        self._say({"log": record.getMessage()[:MOST_TEXT], "level": record.levelno})


def load(path: str) -> Any:
    """Load the class `Action` from a file."""
    spec = importlib.util.spec_from_file_location("sipguard_python_action", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Action


def call(action: Any, request: dict[str, Any]) -> None:
    """Call one method of the action; a missing method is skipped."""
    method = getattr(action, request["call"], None)
    if method is None:
        return
    info = request.get("info")
    if info is None:
        method()
        return
    if info.get("restored") and getattr(action, "norestored", False) and request["call"] in ("ban", "prolong"):
        return
    info = Info(info)
    info["ip"] = Address(info["ip"])
    method(info)


def serve(requests: TextIO, say: Callable[[dict[str, Any]], None]) -> None:
    """Answer every line: the first creates the action, the others call it."""
    action = None
    for line in requests:
        request = json.loads(line)
        try:
            if action is None:
                jail = ActionJail(request["jail"], request["bantime"])
                action = load(request["path"])(jail, request["name"], **request["options"])
            else:
                call(action, request)
        except Exception as error:  # whatever the action raises becomes the answer and must not end this process
            say({"error": f"{type(error).__name__}: {error}"[:MOST_TEXT]})
        else:
            say({"ok": True})


def main() -> None:
    """Serve requests over the standard streams, which the action itself cannot reach."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    sys.path.append(sys.argv[1])

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    logging.getLogger().addHandler(LogForwarder(say))
    serve(requests, say)


if __name__ == "__main__":
    main()
