"""Every command in the documentation is run, or is named here with the test that runs it.

A command is a line in a block of `sh` or without a language that begins with a program's name, or such a text in backquotes.
Those of sipguard run here, against a daemon with bans in it; words that stand for something (ADDRESS, LOG, NAME) are put in.
"""

from __future__ import annotations

import re
import shlex
import shutil

import click
import pytest
from command_line import sipguard
from running import failure, running
from test_pages import PAGES, ROOT

from sipguard.cli.group import cli

PROGRAMS = "sipguard|fail2ban-client|fail2ban-regex"
_FENCE = re.compile(r"^```(?:sh)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINE = re.compile(rf"^\s*(?:sudo )?((?:/opt/sipguard/bin/)?(?:{PROGRAMS})\b.*)$", re.MULTILINE)
_INLINE = re.compile(rf"`(?:sudo )?((?:{PROGRAMS})(?: [^`]*)?)`")

ELSEWHERE = {
    "enable": "tests/enable and tests/e2e/test_stranger.py: it writes into the machine's configuration",
    "service": "tests/packaging/test_service.py and tests/e2e/test_stranger.py: it makes a service",
    "adopt": "tests/e2e/test_adopt.py: it stops and starts services",
    "run": "tests/e2e: it goes on until it is stopped",
    "web": "tests/web: it goes on until it is stopped",
    "top": "tests/cli: it goes on until it is stopped",
    "flush --kernel": "tests/firewall: it changes the machine's firewall",
    "firewall": "tests/firewall: the firewall in memory has no rules to show",
    "feeds": "tests/feeds, with servers of lists",
    "fleet": "tests/fleet, with Redis",
    "unban ADDRESS --fleet": "tests/fleet, with Redis",
    "unban --fleet": "tests/fleet, with Redis",
    "test-action": "tests/actions, with servers for what is sent",
    "client": "tests/compat, held against Fail2ban's own",
    "check --fail2ban-dir": "tests/compat: it reads /etc/fail2ban",
    "replay --jail sip sip.pcap": "tests/cli/test_replay_captures.py: it takes a capture",
    "replay --jail freeswitch freeswitch.log sip.pcap": "tests/cli/test_cross_examination.py: it takes a capture",
    "status --socket": "tests/daemon: it names a socket of the service",
}
"""Commands that are not run here, only parsed, with the tests that run them."""


def _commands():
    found = {}
    for page in PAGES:
        text = page.read_text()
        lines = [line for block in _FENCE.findall(text) for line in _LINE.findall(block)]
        outside = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
        for line in [*lines, *_INLINE.findall(outside)]:
            # A comment, or an explanation behind two blanks, is no part of it.
            command = re.split(r"\s+#|\s{2,}|;", " ".join(line.split("\n")).strip())[0]
            found.setdefault(command.replace("\\|", "|").removeprefix("/opt/sipguard/bin/"), page.name)
    return found


COMMANDS = {command: page for command, page in _commands().items() if command.startswith("sipguard ")}
RUN = [one for one in COMMANDS if not one.removeprefix("sipguard ").startswith(tuple(ELSEWHERE))]
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


def test_there_are_many():
    """The documentation is read at all, most of its commands are run here, and each that is not is in it."""
    assert len(COMMANDS) > 50
    assert len(RUN) > 15


@pytest.mark.parametrize("command", COMMANDS)
def test_it_can_be_called(command):
    """sipguard knows the command and each of its options."""
    arguments = _words(command)
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
