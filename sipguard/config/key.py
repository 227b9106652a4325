"""One key of the native configuration: how its value is read, and what an error about it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sipguard.config import validators
from sipguard.config.messages import shown
from sipguard.config.validators import BadDetailError, BadItemError, Reader
from sipguard.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Key:
    """One key: how its value is read, what it is when nobody gives it, and what people are told."""

    name: str
    parse: Reader
    default: Any
    """As it would be written in TOML; None when there is no default."""
    allowed: str
    """Completes `not allowed; …`."""
    help: str
    """One line for the manual."""
    field: str = ""
    """The field of `Settings` or `Jail`, where it is not the key's name."""
    secret: bool = False
    """Its value is shown to nobody."""

    def read(self, value: object, where: str, prefix: str = "") -> Any:
        """The parsed value.

        Raises:
            ConfigError: it is not allowed; the line names key, value and what is allowed.
        """
        try:
            return self.parse(value)
        except BadItemError as error:
            bad = error.item
        except BadDetailError as error:
            raise ConfigError(f"{prefix}{self.name}{error}", where) from None
        except (ValueError, TypeError, OverflowError):  # of these the last: a number too large for a float
            bad = value
        found = "…" if self.secret else shown(bad)
        raise ConfigError(f"{prefix}{self.name} = {found}: not allowed; {self.allowed}", where)


DURATION = "a time such as 600, 10m, 1h30m or 1d"
VERDICT = validators.choice("reject", "drop")
