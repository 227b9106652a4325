"""A jail's actions, as the configuration has them → workers that carry them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipguard.fail2ban.actions.command_action import Fail2banAction
from sipguard.fail2ban.actions.python_action import PythonAction
from sipguard.model import Action, Clock, NativeAction

if TYPE_CHECKING:
    from sipguard.actions.base import Worker
    from sipguard.actions.command import Runner
    from sipguard.actions.ticket import JailFacts


def make_worker(
    action: Action | NativeAction, jail: JailFacts, runner: Runner, *, clock: Clock, ipv6: bool = True
) -> Worker:
    """The worker of one action. Raises `ConfigError` when the action's tags cannot be resolved."""
    if isinstance(action, Action):
        if action.python:
            return PythonAction(action, jail, clock=clock)
        return Fail2banAction(action, jail, runner, clock=clock, ipv6=ipv6)
    # Imported where they are used: mail and ssl cost memory that most daemons need not spend.
    match action.type:
        case "webhook":
            from sipguard.actions.webhook import Webhook  # noqa: PLC0415

            return Webhook(action, clock=clock)
        case "mail":
            from sipguard.actions.mail import Mail  # noqa: PLC0415

            return Mail(action, clock=clock)
        case "exec":
            from sipguard.actions.exec import Exec  # noqa: PLC0415

            return Exec(action, runner)
