"""Every command in the documentation is run: here, on a machine of its own, or by a test that is named; or it says why not.

A command is a line in a block of `sh` or without a language that begins with a program's name, or such a text in backquotes.
Most of sipguard's run here, against a daemon with bans in it; words that stand for something (ADDRESS, LOG, NAME) are put in.
"""

from __future__ import annotations

import re
import shlex
import shutil

import click
import pytest
from command_line import sipguard
from commands import ELSEWHERE, NOT_RUN, commands, told
from documented import STEPS
from running import failure, running
from test_pages import ROOT

from sipguard.cli.group import cli

COMMANDS = {command: page for command, page in commands().items() if command.startswith("sipguard ")}
ON_A_MACHINE = {step.command for step in STEPS}
RUN = [one for one in COMMANDS if one not in ON_A_MACHINE and not told(one, ELSEWHERE) and "|" not in one]
STANDS_FOR = {
    "ADDRESS": "203.0.113.66",
    "JAIL": "asterisk",
    "NAME": "asterisk",
    "LOG": "/var/log/asterisk/security.log",
    "FILTER": "asterisk",
    "PATH": "/tmp/it",
    "FILE": "/var/log/asterisk/security.log",
    "NODE": "pbx2",
}


def _words(command):
    """The words of one, with what stands for something put in, and what is optional given."""
    for word, value in STANDS_FOR.items():
        command = re.sub(rf"(?<![\w-]){word}(?![\w-])", value, command)
    command = re.sub(r"\[(--[\w-]+)(?:\|--[\w-]+)?([^\]]*)\]", r"\1\2", command).replace(" …", "")
    return shlex.split(re.sub(r"\s\[([\w/.-]+)\]", r" \1", command))[1:]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """A daemon with a ban, and logs where the documentation has them, but below a folder."""
    folder = tmp_path_factory.mktemp("docs")
    for name, sample in {
        "asterisk/security.log": "asterisk22-security.log",
        "freeswitch/freeswitch.log": "freeswitch-warning.log",
    }.items():
        (folder / "var/log" / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / "fixtures/logs" / sample, folder / "var/log" / name)
    log = folder / "freeswitch.log"
    log.touch()
    jails = {
        "asterisk": {"logpath": str(folder / "var/log/asterisk/security.log")},
        "freeswitch": {"logpath": str(log)},
    }
    with running(folder, jails) as one:
        with log.open("a") as file:
            file.writelines(f"{failure('203.0.113.66')}\n" for _ in range(5))
        one.wait_for(lambda: "203.0.113.66" in str(one.banned("freeswitch")))
        yield one


def test_none_is_left_out():
    """Each has one place where it is run, or the reason why not; and nothing is named that the documentation has not."""
    every = commands()
    assert len(every) > 100
    assert len(RUN) > 35
    somewhere = {*RUN, *ON_A_MACHINE, *(one for one in every if told(one, ELSEWHERE) or told(one, NOT_RUN))}
    assert set(every) - somewhere == set()
    assert ON_A_MACHINE - set(every) == set()
    unused = [name for name in {**ELSEWHERE, **NOT_RUN} if not any(one.startswith(name) for one in every)]
    assert unused == []


@pytest.mark.parametrize("command", [one for one in commands() if told(one, NOT_RUN) and not told(one, ELSEWHERE)])
def test_what_no_test_runs(command):
    """It stands in the report of every run, with the reason."""
    pytest.skip(f"{command}: {told(command, NOT_RUN)}")


@pytest.mark.parametrize("reason", sorted({*ELSEWHERE.values()}))
def test_what_is_run_elsewhere_is_run_there(reason):
    """The tests that are named are there."""
    for path in re.findall(r"tests/[\w/.]+", reason.replace(": ", " ")):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("command", COMMANDS)
def test_it_can_be_called(command):
    """sipguard knows the command and each of its options."""
    arguments = _words(command.partition(" | ")[0])
    if arguments[:1] == ["client"]:  # Fail2ban's words, which tests/compat holds against Fail2ban
        return
    group, context = cli, click.Context(cli, info_name="sipguard")
    while isinstance(group, click.Group) and arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
        child = group.get_command(context, name)
        assert child is not None, f"{COMMANDS[command]}: {command}: no such command"
        group, context = child, click.Context(child, info_name=name, parent=context)
    if "--help" in arguments or "--version" in arguments:
        return
    try:
        group.make_context("it", arguments, parent=context.parent)
    except (click.MissingParameter, getattr(click.exceptions, "NoArgsIsHelpError", click.MissingParameter)):
        pass  # named for what it does, without what it is done to
    except click.UsageError as error:
        pytest.fail(f"{COMMANDS[command]}: {command}: {error.format_message()}")


@pytest.mark.parametrize("command", RUN)
def test_it_is_run(command, daemon, monkeypatch):
    """It does what it should, or says no; what asks first says how to be called by a script."""
    monkeypatch.setenv("SIPGUARD_SOCKET", str(daemon.socket))
    words = [re.sub("^/var/log/", f"{daemon.folder}/var/log/", word) for word in _words(command)]
    if words[:1] in (["check"], ["replay"]) and "-c" not in words:
        words[1:1] = ["-c", str(daemon.config)]
    done = sipguard(*words)
    said = done.stdout + done.stderr
    assert "mistake in sipguard" not in said
    asks = "Missing argument" in said or "Add --yes" in said
    assert done.returncode in (0, 1) or asks, f"{COMMANDS[command]}: {' '.join(words)}: {said}"
