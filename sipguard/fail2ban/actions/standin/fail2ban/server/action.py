"""`ActionBase`, from which every Python action derives, and `CallingMap`."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from ..helpers import getLogger


class CallingMap(MutableMapping[str, Any]):
    """A mapping whose callable values are called when they are first asked for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.data: dict[str, Any] = dict(*args, **kwargs)

    def __getitem__(self, key: str) -> Any:
        value = self.data[key]
        return value() if callable(value) else value

    def __setitem__(self, key: str, value: Any) -> None:
        self.data[key] = value

    def __delitem__(self, key: str) -> None:
        del self.data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.data!r})"


class ActionBase:
    """What a Python action may override: no method is required. `jail` has `name` and `actions.getBanTime()`."""

    def __init__(self, jail: Any, name: str) -> None:
        self._jail = jail
        self._name = name
        self._logSys = getLogger(f"fail2ban.{type(self).__name__}")

    def start(self) -> None:
        """The jail has started."""

    def stop(self) -> None:
        """The jail has stopped."""

    def ban(self, aInfo: MutableMapping[str, Any]) -> None:  # noqa: N803 - Fail2ban's name
        """An address is banned; `aInfo` has the tags of the ban."""

    def reban(self, aInfo: MutableMapping[str, Any]) -> None:  # noqa: N803 - Fail2ban's name
        """The ban has to be made again."""
        self.ban(aInfo)

    def unban(self, aInfo: MutableMapping[str, Any]) -> None:  # noqa: N803 - Fail2ban's name
        """The ban has ended."""
