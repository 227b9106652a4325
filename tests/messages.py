"""`make messages`: all that a test run has shown to users in one file, each sentence once, to be read together.

Collects what daemons log, the errors that are raised for operators, and what commands print, where SIPGUARD_MESSAGES names a
folder. Addresses, numbers, dates and paths are replaced, so that one message is one line:

    SIPGUARD_MESSAGES=FOLDER pytest …; python tests/messages.py FOLDER FILE
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections import Counter
from pathlib import Path

FOLDER = os.environ.get("SIPGUARD_MESSAGES", "")
_REPLACED = tuple(
    (re.compile(pattern), by)
    for pattern, by in (
        (r"\x1b\[[\d;]*m", ""),
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d([.,]\d+)?)?(\+\d\d:?\d\d|Z)?", "DATE"),
        (r"(?<![\w/])(/[\w.@%+~=-]+){2,}/?", "/PATH"),
        (r"\b\d{1,3}(\.\d{1,3}){3}(/\d+)?\b", "ADDRESS"),
        (r"(?<![\w:])(?=[\da-f]*:[\da-f:]*:)[\da-f:]{3,}(/\d+)?", "ADDRESS"),
        (r"\b[\da-f]{8}-[\da-f]{4}-[\da-f-]{22,}\b", "UUID"),
        (r"(?<![A-Za-z_])\d+([.,]\d+)*", "N"),
        (r"'[^']*'", "'…'"),
        (r"\s+", " "),
    )
)
_LOGGED = re.compile(r"^\d{4}-\S+ \S+ fail2ban\.\S+\s+\[\d+\]: ([A-Z]+)\s+(.*)$", re.M)
_TEMPORARY = re.compile(r"(?<![\w/])/[\w./-]*pytest-of-\w+/pytest-\d+/(popen-gw\d+/)?[^/\s]+/")
_ORDER = ("error", "log", "command")
_TITLES = {"error": "Errors", "log": "Log lines", "command": "What commands print"}
_found: dict[tuple[str, str, str], tuple[int, str]] = {}


def note(kind: str, head: str, text: str) -> None:
    """Remember what was shown: `kind` is a section of the file, `head` what it is grouped by."""
    for line in filter(None, map(str.strip, _TEMPORARY.sub("/", text).splitlines())):
        plain = line
        for pattern, by in _REPLACED:
            plain = pattern.sub(by, plain)
        number, example = _found.get((kind, head, plain), (0, line))
        _found[kind, head, plain] = number + 1, example


def note_log(text: str) -> None:
    """What a daemon's log holds."""
    for level, message in _LOGGED.findall(text):
        note("log", level, message)


def note_command(command: list[str], *outputs: str) -> None:
    """What a command has printed; what programs read is no sentence."""
    if "--json" not in command:
        note("command", next((word for word in command if not word.startswith("-")), ""), "\n".join(outputs))


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("fail2ban"):
            note("log", record.levelname, record.getMessage())


def begin() -> None:
    """Listen in this process to what is logged, and to errors for operators."""
    from sipguard.errors import SipguardError

    def noted(self: SipguardError, *arguments: object) -> None:
        Exception.__init__(self, *arguments)
        note("error", type(self).__name__, str(self))

    SipguardError.__init__ = noted  # type: ignore[method-assign]
    logging.getLogger().addHandler(_Handler())


def end() -> None:
    """Leave what this process has noted for the file."""
    Path(FOLDER).mkdir(parents=True, exist_ok=True)
    rows = [[*key, *value] for key, value in _found.items()]
    Path(FOLDER, f"{os.getpid()}.json").write_text(json.dumps(rows))


def _write(folder: Path, file: Path) -> None:
    numbers: Counter[tuple[str, str, str]] = Counter()
    examples = {}
    for part in folder.glob("*.json"):
        for kind, head, plain, number, example in json.loads(part.read_text()):
            numbers[kind, head, plain] += number
            examples.setdefault((kind, head, plain), example)
    lines = []
    for kind in _ORDER:
        lines.append(f"# {_TITLES[kind]}\n")
        for head in sorted({one[1] for one in numbers if one[0] == kind}):
            lines.append(f"\n## {head}\n\n")
            lines += [f"{examples[key]}\n" for key in sorted(numbers) if key[:2] == (kind, head)]
        lines.append("\n")
    file.write_text("".join(lines))
    print(f"{len(numbers)} messages in {file}")


if __name__ == "__main__":
    _write(Path(sys.argv[1]), Path(sys.argv[2]))
