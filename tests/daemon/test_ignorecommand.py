"""`ignorecommand`: what a caller has written is never obeyed, however the operator's command names it."""

from __future__ import annotations

import asyncio
import time

import pytest

from sipguard.daemon.ignorecommand import IgnoreCommand
from sipguard.model import Failure, Filter, Jail

COMMANDS = {
    "an inner shell": "sh -c 'grep -qx \"<F-USER>\" {friends}'",
    "eval": "eval 'grep -qx \"<F-USER>\" {friends}'",
    "an assignment": 'x=<F-USER>; grep -qx "$x" {friends}',
    "double quotes": 'grep -qx "<F-USER>" {friends}',
}
USERS = [
    "$(touch {made})",
    "`touch {made}`",
    "x touch {made}",
    "';touch {made};'",
    '";touch {made};"',
    "x\ntouch {made}\n",
]


def ignores(command, user):
    """Whether this command says so of an attempt for this user."""
    jail = Jail(name="demo", filter=Filter("demo", ("<HOST>",)), ignorecommand=command)
    failure = Failure("203.0.113.5", time.time(), tags={"user": user})
    return asyncio.run(IgnoreCommand(jail, clock=time.time).ignores("203.0.113.5", failure))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_user_is_text(command, tmp_path):
    """No file appears, and nobody is ignored for it; a user who is in the list is found."""
    friends, made = tmp_path / "friends", tmp_path / "made"
    friends.write_text("desk one\n1000\n")
    command = command.format(friends=friends)
    for user in USERS:
        assert not ignores(command, user.format(made=made)), user
        assert not made.exists(), user
    assert ignores(command, "1000")
    assert ignores(command, "desk one")
