"""The program fail2ban-client: parses options, runs the command and returns the exit status (0, or 255 on failure)."""

from __future__ import annotations

import getopt
import os
import pprint
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from sipguard.durations import seconds
from sipguard.errors import SipguardError
from sipguard.fail2ban.client import beautify, daemon, help_text
from sipguard.fail2ban.client.connection import Connection
from sipguard.fail2ban.client.options import ClientOptions, complete, parse
from sipguard.fail2ban.protocol.answers import RemoteError
from sipguard.fail2ban.protocol.messages import SPOKEN_VERSION
from sipguard.fail2ban.protocol.unpickle import UnpickleError

FAILED = 255
PROMPT = "fail2ban> "
_RELOAD_OPTIONS = ("--restart", "--unban", "--if-exists")
# What `seconds` raises for an invalid duration.
_BAD_SPAN = (ValueError, NameError, SyntaxError, ZeroDivisionError)


def run(arguments: Sequence[str], program: str = "fail2ban-client") -> int:
    """Run the command line and return the exit status. Never raises."""
    try:
        return 0 if _Client(program).start(arguments) else FAILED
    except KeyboardInterrupt:
        print()
        return FAILED
    except BrokenPipeError:
        # The reader of our output has gone: keep the interpreter from failing again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        sys.stderr.flush()


class _Client:
    def __init__(self, program: str) -> None:
        self._program = program
        self._options = ClientOptions()

    def start(self, arguments: Sequence[str]) -> bool:
        done = self._begin(arguments)
        if done is not None:
            return done
        options = self._options
        if options.given.get("interactive"):
            return self._interactive()
        if not options.words:
            help_text.show(self._program)
            return False
        return self._command(options.words)

    def _begin(self, arguments: Sequence[str]) -> bool | None:
        """Handle options that need no command. Returns success, or None if there is a command to run."""
        try:
            options = self._options = parse(arguments)
            for name in options.order:
                if self._told(name):
                    return True
        except getopt.GetoptError:
            help_text.show(self._program)
            print("Init of command line failed", file=sys.stderr)
            return False
        except _BAD_SPAN as error:
            print(f"ERROR: {error}")
            print("Init of command line failed", file=sys.stderr)
            return False
        try:
            complete(options)
            return self._configuration()
        except (SipguardError, ValueError) as error:
            print(f"ERROR: {error}")
            options.say("ERROR", "Init of command line failed")
            return False

    def _told(self, name: str) -> bool:
        match name:
            case "str2sec":
                print(seconds(self._options.given[name]))
            case "help":
                help_text.show(self._program)
            case "short-version":
                print(SPOKEN_VERSION)
            case "version":
                print(f"Fail2Ban v{SPOKEN_VERSION}")
            case _:
                return False
        return True

    def _configuration(self) -> bool | None:
        """Handle `-d` and `-t`."""
        options = self._options
        given = options.given
        if not {"dump", "dump-pretty", "test"} & given.keys():
            return None
        commands = self._read(None)
        if "dump" in given or "dump-pretty" in given:
            for command in commands or ():
                print(pprint.pformat(command, width=1000, indent=2) if "dump-pretty" in given else command)
            if commands is None:
                print("ERROR: The configuration stream failed because of the invalid syntax.")
            if "test" not in given:
                return commands is not None
        if commands is None:
            options.say("ERROR", "ERROR: test configuration failed")
            return False
        if options.words:
            return None
        print("OK: configuration test is successful")
        return True

    def _read(self, jail: str | None) -> list[list[Any]] | None:
        """The configuration as commands; None, after an error message, if it is invalid."""
        # Imported here: most calls need no configuration, and this reads all of it.
        from sipguard.fail2ban.client import stream  # noqa: PLC0415

        options = self._options
        try:
            commands, tree = stream.read(options.directory, jail)
        except SipguardError as error:
            options.say("ERROR", f"Failed during configuration: {error}")
            return None
        for wrong in tree.errors:
            options.say("ERROR", str(wrong))
        if "dump" not in options.given and "dump-pretty" not in options.given:
            for name in stream.without_logs(tree):
                if jail in (None, name):
                    options.say("ERROR", f"Failed during configuration: Have not found any log file for {name} jail")
                    return None
        return None if tree.errors and "test" in options.given else commands

    def _command(self, words: list[str]) -> bool:
        match words:
            case ["start"]:
                return daemon.start(self._options)
            case ["restart", _, *_]:
                return self._command(["reload", "--restart", *words[1:]])
            case ["restart"]:
                self._ask([["stop"]])
                return daemon.wait(self._options, alive=False) and daemon.start(self._options)
            case ["reload", *rest]:
                return self._reload(rest)
            case ["ping", wait, *_]:
                return self._ping(words, wait)
        return self._ask([words])

    def _ping(self, words: list[str], wait: str) -> bool:
        try:
            seconds_to_wait = float(wait)
        except ValueError as error:
            self._options.say("ERROR", str(error))
            return False
        return self._ask([words], timeout=seconds_to_wait)

    def _reload(self, words: list[str]) -> bool:
        options = [word for word in words if word in _RELOAD_OPTIONS]
        names = [word for word in words if word not in _RELOAD_OPTIONS]
        if len(names) > 1:
            self._options.say("ERROR", f"Unexpected argument(s) for reload: {names!r}")
            return False
        if not daemon.answers(self._options, "ping"):
            self._options.say("ERROR", "Could not find server")
            return False
        jail = names[0] if names and names[0] != "--all" else None
        commands: list[list[Any]] | None = []
        if not daemon.answers(self._options, "sipguard-version"):  # which Fail2ban does not know
            # sipguard reads its configuration itself; Fail2ban's server gets it only from its client.
            commands = self._read(jail)
        elif (
            jail is not None
            and "--if-exists" not in options
            and not daemon.answers(self._options, "status", jail, "short")
        ):
            self._options.say("ERROR", f"Failed during configuration: No section: {jail!r}")
            return False
        return commands is not None and self._ask([["reload", jail or "--all", options, commands]])

    def _ask(self, commands: list[list[Any]], timeout: float | None = None) -> bool:
        """Send commands to the server and print the answers. Returns whether all succeeded."""
        options = self._options
        path = str(options.given["socket"])
        try:
            with Connection(path, timeout) as connection:
                answers = [connection.ask(command) for command in commands]
        except OSError as error:
            options.say("ERROR", daemon.trouble(path, error, only=commands[0][0] == "ping"))
            return False
        except UnpickleError as error:
            options.say("ERROR", str(error))
            return False
        shown = [self._show(command, answer) for command, answer in zip(commands, answers, strict=True)]
        return all(shown)

    def _show(self, command: list[Any], answer: Any) -> bool:
        if not isinstance(answer, tuple) or len(answer) != 2:
            self._options.say("ERROR", str(answer))
            return False
        status, value = answer
        if status != 0 and isinstance(value, RemoteError):
            self._options.say("ERROR", f"NOK: {value.args!r}")
            print(beautify.error(value))
            return False
        try:
            print(beautify.text(command, value))
        except (TypeError, ValueError, IndexError, AttributeError, KeyError):
            self._options.say("WARNING", "Beautifier error. Please report the error")
            self._options.say("ERROR", f"Beautify {value!r} with {command!r} failed")
            print(repr(value) + repr(value))
        return True

    def _interactive(self) -> bool:
        options = self._options
        if options.words and not self._command(options.words):
            return False
        print(help_text.HEAD)
        while True:
            try:
                line = input(PROMPT)
            except EOFError:
                print()
                return False
            if line in ("exit", "quit"):
                return True
            if line == "help":
                help_text.show(self._program)
            elif line:
                try:
                    self._command(shlex.split(line))
                except ValueError as error:
                    options.say("ERROR", str(error))
