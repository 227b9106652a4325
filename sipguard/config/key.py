"""One key of the native configuration: how its value is read, and what an error about it says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sipguard.config.kind import BadDetailError, BadItemError, ValueKind
from sipguard.config.messages import shown
from sipguard.errors import ConfigError

if TYPE_CHECKING:
    from sipguard.config.toml_file import TomlFile


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its kind, default, and text for the manual."""

    name: str
    parse: ValueKind[Any]
    default: Any
    """As written in TOML; None if there is no default. Of an action's key: None if it is required, `...` if not."""
    help: str
    """One line for the manual."""
    field: str = ""
    """The field of `Settings` or `Jail`, if its name differs from the key's."""
    secret: bool = False
    """Whether its value must not appear in messages."""

    @property
    def allowed(self) -> str:
        """Completes `must be …`."""
        return self.parse.allowed

    def read(self, value: object, where: str, prefix: str = "") -> Any:
        """Validate and convert a value.

        Raises:
            ConfigError: invalid value; the message names the key, the value and what is allowed.
        """
        try:
            return self.parse(value)
        except BadItemError as error:
            bad = error.item
        except BadDetailError as error:
            raise ConfigError(f"{prefix}{self.name}{error}", where) from None
        except (ValueError, TypeError, OverflowError):  # OverflowError: a number too large for a float
            bad = value
        found = "…" if self.secret else shown(bad)
        raise ConfigError(f"{prefix}{self.name} = {found}: must be {self.allowed}", where)


def read_table(main: TomlFile, table: str, keys: Iterable[Key]) -> dict[str, Any]:
    """Name → value of each of the `keys` of a table, its default where it is not given. Raises `ConfigError`."""
    given = main.data.get(table, {})
    return {
        key.name: key.read(given[key.name], main.where(table, key.name), f"[{table}] ")
        if key.name in given
        else key.parse(key.default)
        for key in keys
    }
