"""What the daemon would refuse of a configuration, found out by the code that refuses it: `check` asks, `run` meets it.

Every part is made as the daemon makes it, and thrown away; nothing is changed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from sipguard.actions.command import Runner
from sipguard.actions.ticket import JailFacts
from sipguard.daemon.action_dispatcher import actions_of
from sipguard.daemon.backend import firewall_of
from sipguard.daemon.control import MEND, group_id, read_socket
from sipguard.daemon.jail_set import make_runner
from sipguard.daemon.make_action import make_worker
from sipguard.daemon.metrics import need_library
from sipguard.daemon.own_log import check_target
from sipguard.errors import ConfigError, SipguardError, of_jail
from sipguard.firewall.choose import check_programs
from sipguard.firewall.host import may_change_firewalls
from sipguard.policy.ignore import IgnoreList
from sipguard.sockets import check_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sipguard.config.settings import Settings
    from sipguard.model import Jail


def refusals(settings: Settings) -> tuple[tuple[Jail, ...], list[SipguardError]]:
    """The jails that would run, and what would not, or not wholly, in the words of `run`."""
    running, errors = [], list[SipguardError](settings.errors)
    for jail in settings.jails:
        try:
            make_runner(jail, ignore=IgnoreList(jail.ignoreip), clock=time.time, decide=print, reinforce=print)
        except ConfigError as error:
            errors.append(error)
        else:
            running.append(jail)
            errors += _broken_actions(jail, settings)
    return tuple(running), [*errors, *_broken_places(settings)]


def _broken_actions(jail: Jail, settings: Settings) -> Iterator[ConfigError]:
    for action in actions_of(jail, settings):
        try:
            make_worker(action, JailFacts(jail.name), Runner(), clock=time.time)
        except ConfigError as error:
            yield of_jail(jail.name, error)


def _broken_places(settings: Settings) -> Iterator[SipguardError]:
    """What is not about jails: the firewall, the log, the sockets, the library of the numbers."""
    parts: list[Callable[[], object]] = [
        lambda: check_target(settings.logtarget),
        lambda: need_library(settings),
        lambda: _need_redis(settings),
        lambda: check_place(Path(settings.socket), mend=MEND),
        lambda: check_place(read_socket(settings), mend=MEND),
        lambda: group_id(settings.socket_group),
        lambda: group_id(settings.read_socket_group),
    ]
    if settings.firewall != "auto" or may_change_firewalls():  # else nothing can be known of it
        parts.insert(0, lambda: firewall_of(settings, clock=time.time))
        parts.insert(1, lambda: check_programs(settings.firewall))  # `run` waits for them, and bans nobody meanwhile
    for part in parts:
        try:
            part()
        except SipguardError as error:
            yield error


def _need_redis(settings: Settings) -> None:
    if settings.fleet:
        from sipguard.daemon.fleet_runner import need_redis  # noqa: PLC0415 - only where there is a fleet

        need_redis(settings)
