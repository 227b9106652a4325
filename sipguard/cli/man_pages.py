"""`sipguard man`: writes manual pages from the texts of `--help`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from sipguard import __version__
from sipguard.cli.commands import ABOUT, COMMANDS, EXAMPLES, FIRST_STEPS, TASKS, exit_status
from sipguard.errors import SipguardError

_FILES = (
    ("/etc/sipguard/sipguard.toml", "The configuration; every key has a default."),
    ("/etc/sipguard/jails.d/*.toml", "One file for each jail."),
    ("/var/lib/sipguard", "Bans, attempts and positions in logs."),
    ("/run/sipguard/sipguard.sock", "The socket on which the daemon answers commands."),
)
_ENVIRONMENT = (
    ("SIPGUARD_CONFIG", "The configuration file, instead of -c."),
    ("SIPGUARD_SOCKET", "The daemon's socket, instead of --socket."),
    ("NO_COLOR", "If set, no output is coloured."),
    ("SIPGUARD_TRACEBACK", "If set, an internal error prints its traceback."),
)


@click.command("man")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.pass_context
def command(context: click.Context, folder: Path) -> None:
    """Write sipguard.1 and a page for each command, such as sipguard-ban.1, into the folder DIR."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages(context.find_root()).items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SipguardError(f"{error.filename}: cannot be written: {error.strerror}") from None


def pages(root: click.Context) -> dict[str, str]:
    """File name → page."""
    group = root.command
    assert isinstance(group, click.Group)  # noqa: S101 - it is `cli`
    made = {"sipguard.1": "\n".join(_main_page()) + "\n"}
    for name in sorted(COMMANDS):
        found = group.get_command(root, name)
        if found is not None:
            made[f"sipguard-{name}.1"] = "\n".join(_page(root, name, found)) + "\n"
    return made


def _main_page() -> Iterator[str]:
    yield from _head("sipguard", ABOUT)
    yield ".SH SYNOPSIS"
    yield r"\fBsipguard\fR [\fB\-\-version\fR] [\fB\-\-help\fR] \fICOMMAND\fR [\fIARGS\fR...]"
    yield ".SH DESCRIPTION"
    yield _text(ABOUT)
    for title, names in TASKS.items():
        yield f".SS {_text(title)}"
        for name in names:
            yield from _item(rf"\fBsipguard\-{_text(name)}\fR(1)", COMMANDS[name])
    yield from _section("EXAMPLES", FIRST_STEPS)
    yield from _section("FILES", _FILES)
    yield from _section("ENVIRONMENT", _ENVIRONMENT)
    yield ".SH EXIT STATUS"
    yield _text(exit_status().removeprefix("Exit status: "))
    yield ".SH SEE ALSO"
    yield r"\fBfail2ban\-client\fR(1), \fBnft\fR(8)"


def _page(root: click.Context, name: str, found: click.Command) -> Iterator[str]:
    context = click.Context(found, info_name=name, parent=root)
    yield from _head(f"sipguard-{name}", COMMANDS[name])
    yield ".SH SYNOPSIS"
    yield rf"\fBsipguard {_text(name)}\fR {_text(' '.join(found.collect_usage_pieces(context)))}"
    yield ".SH DESCRIPTION"
    yield from _paragraphs(found.help or "")
    yield from _options(found, context)
    if isinstance(found, click.Group):
        yield ".SH COMMANDS"
        for below in found.list_commands(context):
            one = found.get_command(context, below)
            if one is not None:
                inner = click.Context(one, info_name=below, parent=context)
                yield rf".SS {_text(f'sipguard {name} {below}')} {_text(' '.join(one.collect_usage_pieces(inner)))}"
                yield from _paragraphs(one.help or "")
                yield from _options(one, inner, heading="")
    yield from _section("EXAMPLES", EXAMPLES.get(name, ()))
    yield ".SH EXIT STATUS"
    yield _text(exit_status(name).removeprefix("Exit status: "))
    yield ".SH SEE ALSO"
    yield r"\fBsipguard\fR(1)"


def _head(name: str, line: str) -> Iterator[str]:
    yield f'.TH {_text(name.upper())} 1 "" "sipguard {_text(__version__)}" "sipguard"'
    yield from (".nh", ".ad l")  # no hyphenation, so that paths can be copied; no padding to the right margin
    yield ".SH NAME"
    yield rf"{_text(name)} \- {_text(line.rstrip('.'))}"


def _options(found: click.Command, context: click.Context, heading: str = "OPTIONS") -> Iterator[str]:
    records = [record for one in found.get_params(context) if (record := one.get_help_record(context)) and record[1]]
    if records and heading:
        yield f".SH {heading}"
    for option, text in records:
        yield from _item(rf"\fB{_text(option)}\fR", text)


def _section(title: str, items: tuple[tuple[str, str], ...]) -> Iterator[str]:
    if items:
        yield f".SH {title}"
        for term, text in items:
            yield from _item(rf"\fB{_text(term)}\fR", text)


def _item(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield term
    yield _text(text)


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if number:
            yield ".PP"
        yield _text(" ".join(paragraph.replace("\b", "").split()))


def _text(text: str) -> str:
    """Escape text for roff (groff(7)): backslashes, hyphens, leading dots and quotes, and all that is not ASCII."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    escaped = re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)
    return "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in escaped)
