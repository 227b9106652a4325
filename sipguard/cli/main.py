"""`sipguard`: what is done before any command, and what becomes of its errors.

click is imported with the first command that needs it: `sipguard --help` has to answer at once.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from pathlib import Path

from sipguard.errors import SipguardError


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 the answer is no, 2 the call or the configuration is wrong."""
    _open_what_is_closed()
    _write_what_they_can(sys.stdout, sys.stderr)
    if sys.argv[1:] in (["--help"], ["-h"]) and not Path(sys.argv[0]).name.startswith("fail2ban-"):
        from sipguard.cli.commands import overview  # noqa: PLC0415 - for this alone

        _print(overview())
        return
    _run()


def _run() -> None:
    import click  # noqa: PLC0415 - see above

    called = Path(sys.argv[0]).name
    if called == "fail2ban-client":
        sys.argv.insert(1, "client")
    try:
        if called == "fail2ban-regex":
            importlib.import_module("sipguard.cli.fail2ban_regex").main()
            return
        from sipguard.cli.group import cli  # noqa: PLC0415 - see above

        # Without standalone mode click gives the exit status of `Exit` as the result.
        status = cli(prog_name="sipguard", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        from sipguard.cli.output import complain_of_call  # noqa: PLC0415 - only when there is something to say

        complain_of_call(error)
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except SipguardError as error:
        _complain(str(error))
        sys.exit(error.exit_status)
    except BrokenPipeError:
        # Whoever read our output has gone (`sipguard status | head`): not an error, and nothing more to say.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        # Internal error: print one line; SIPGUARD_TRACEBACK=1 prints the traceback.
        if os.environ.get("SIPGUARD_TRACEBACK"):
            raise
        _complain(_unwritten() or _unexpected(error))
        sys.exit(2)


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        _complain(_unwritten() or _unexpected(error))
        sys.exit(2)


def program() -> None:
    """`main`, as a process of its own."""
    try:
        main()
    finally:
        # Before it ends, the interpreter looks for garbage in all that was imported: two thirds of 10 ms of a processor, just
        # when the daemon carries out what was asked of it.
        gc.freeze()


def _open_what_is_closed() -> None:
    """Standard streams that the caller closed (`sipguard bans >&-`) read and write nothing; no socket takes their place."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # standard error
        os.set_inheritable(number, True)
    os.close(number)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - until the end


def _unwritten() -> str:
    """Why standard output takes nothing, such as a full disk; empty where it does. What it did not take is given up."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end again
        return f"standard output: {error.strerror}"
    return ""


def _write_what_they_can(*streams: object) -> None:
    """A terminal of an older encoding, and what a stranger wrote: no reason to fail."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):  # None if it was closed
            stream.reconfigure(errors="backslashreplace")


def _complain(text: str) -> None:
    from sipguard.cli.output import complain  # noqa: PLC0415 - only when there is something to say

    complain(f"sipguard: {text}")


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    import traceback  # noqa: PLC0415 - when something is wrong

    at = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{what} ({Path(at.filename).name}:{at.lineno}); this is a mistake in sipguard: please report it"
