"""Opens the files of `replay`, compressed ones too, and shows on the terminal how much of large ones has been read."""

from __future__ import annotations

import gzip
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from sipguard.errors import SipguardError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.progress import Progress

BIG = 4 << 20
"""Bytes, of all files, from which on reading takes long enough to show progress."""


def open_file(name: str, progress: Progress | None = None) -> BinaryIO:
    """The file for reading, unpacked where its name ends in `.gz`. Raises `SipguardError`."""
    try:
        file: BinaryIO = Path(name).open("rb")  # noqa: SIM115 - the caller's context closes it
        if progress is not None:
            file = progress.wrap_file(file, total=Path(name).stat().st_size, description=Path(name).name)
        return cast("BinaryIO", _Unpacked(file)) if name.endswith(".gz") else file
    except OSError as error:
        raise SipguardError(f"{name}: {error.strerror}") from error


class _Unpacked(gzip.GzipFile):
    """Closes the compressed file as well."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file)
        self._packed = file

    def close(self) -> None:
        super().close()
        self._packed.close()


class Files:
    """The files of one replay. They are closed with it; `quiet` shows no progress."""

    def __init__(self, names: Sequence[str], *, quiet: bool) -> None:
        self._stack = ExitStack()
        self._progress: Progress | None = None
        if not quiet and sys.stderr.isatty() and sum(map(_size, names)) > BIG:
            from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
            from rich.progress import Progress  # noqa: PLC0415

            self._progress = Progress(console=Console(stderr=True), transient=True)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._stack.enter_context(self._progress)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def open(self, name: str) -> BinaryIO:
        """One of them; standard input for `-`. Raises `SipguardError`."""
        if name == "-":
            return sys.stdin.buffer
        return self._stack.enter_context(open_file(name, self._progress))


def _size(name: str) -> int:
    try:
        return Path(name).stat().st_size
    except OSError:
        return 0  # whoever opens it says what is wrong
