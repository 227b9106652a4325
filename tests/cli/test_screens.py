"""What every command shows on a terminal of 80 columns, on a played attack: held to tests/screens/*.txt, which people look at."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

import click
import pytest
from annotations import FILTERS
from running import append, failure, running
from screen import ROOT, SCREENS, check, hold_to, on_screen, painted
from tmux import golden, tmux  # noqa: F401 - a fixture

from sipguard.actions.tags import host_name
from sipguard.cli.commands import COMMANDS
from sipguard.cli.group import cli
from tests.backends import host_prefix
from tests.daemon.test_adoption import SCHEMA
from tests.netns import namespace

ATTACKER, GUESSER, SCANNER, SLOW, LISTED = (
    "203.0.113.66",
    "203.0.113.9",
    "2001:db8:7:1::66",
    "203.0.113.7",
    "198.51.100.9",
)
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2066名前" + "A" * 90
"""What a stranger may write as a user's name."""
SHOWN = {
    "status": ["status"],
    "status-jail": ["status", "freeswitch"],
    "bans": ["bans"],
    "bans-none": ["bans", "192.0.2.1"],
    "bans-page": ["bans", "--limit", "2", "--sort", "address"],
    "history": ["history", "--sort", "address"],
    "explain": ["explain", ATTACKER],
    "explain-verbose": ["explain", GUESSER, "-v"],
    "explain-hostile": ["explain", SCANNER],
    "explain-counted": ["explain", SLOW],
    "explain-listed": ["explain", LISTED],
    "feeds": ["feeds"],
    "feeds-refresh": ["feeds", "refresh", "office"],
    "fleet": ["fleet"],
    "fleet-accept": ["fleet", "accept", "pbx2"],
    "firewall-show": ["firewall", "show"],
    "firewall-verify": ["firewall", "verify"],
    "client": ["client", "-s", "F2B", "status", "freeswitch"],
    "wrong-command": ["statsu"],
    "wrong-option": ["bans", "--sort", "beauty"],
    "wrong-jail": ["status", "asterik"],
}
"""File → call; none of these changes anything."""
ADOPT = ["adopt", "--dry-run", "--fail2ban-dir", "TREE", "--socket", "NOWHERE"]
LOCAL = {
    "check": ["check", "-c", "CONFIG"],
    "check-wrong": ["check", "-c", "WRONG"],
    "test-filter": ["test-filter", "LOG", "FILTER"],
    "test-filter-verbose": ["test-filter", "-v", "LOG", "FILTER"],
    "test-filter-missed": ["test-filter", "--print-missed", "LOG", "FILTER"],
    "test-filter-unknown": ["test-filter", "--fail2ban-dir", "FOLDER", "LOG", "freeswich"],
    "replay": ["replay", "-c", "CONFIG", "--jail", "freeswitch", "LOG"],
    "test-action": ["test-action", "hook", "--jail", "asterisk", "-c", "CONFIG"],
    "test-action-mail": ["test-action", "letter", "--jail", "asterisk", "-c", "CONFIG"],
    "feeds-import": ["feeds", "import-apiban", "NOWHERE"],
    "adopt-dry-run": [
        *ADOPT,
        *("--firewall", "nftables"),
        *("--stop-fail2ban", "rc-service fail2ban stop"),
        *("--start-sipguard", "rc-service sipguard start"),
    ],
    "adopt-no-database": ADOPT,
    "run-wrong": ["run", "-c", "BROKEN"],
    "selftest-nobody": ["selftest", "--port", "9"],
    "web-as-root": ["web"],
    "web-token": ["web", "token", "--state-dir", "MACHINE"],
    "completion-wrong": ["completion", "tcsh"],
    "service-install": ["service", "install", "--root", "MACHINE"],
    "service-uninstall": ["service", "uninstall", "--root", "MACHINE"],
    "service-wrong": ["service", "install", "--root", "NOWHERE"],
    "man-wrong": ["man", "CONFIG"],
    "not-running": ["status", "--socket", "NOWHERE"],
}

CHANGES = {
    "ban": (["ban", "192.0.2.50", "2001:db8:99::/48", "--time", "26h30m"], ""),
    "ban-wrong": (["ban", "nobody", "127.0.0.1"], ""),
    "unban": (["unban", "192.0.2.50"], ""),
    "unban-nobody": (["unban", "192.0.2.51"], ""),
    "unban-all-no": (["unban", "--all", "--jail", "freeswitch"], "n\n"),
    "flush-yes": (["flush"], "y\n"),
    "reload": (["reload"], ""),
    "bans-after-flush": (["bans"], ""),
}
"""The same with what is typed, in this order: bans by hand, and the questions before something sweeping."""
ALONE = {"enable": ["enable"], "run": ["run"], "status-unprotected": ["status"], "top": ["top"]}
"""Those of tests of their own, that of `top` in tests/top."""
HELP = {"help": ["--help"], **{f"help-{name}": [name, "--help"] for name in COMMANDS}}


def _paths(group, context, above=()):
    """Every command, and every one below a command."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield [*above, name]
        if isinstance(command, click.Group):
            yield from _paths(command, click.Context(command, info_name=name, parent=context), (*above, name))


def test_every_command_has_a_screen():
    """All that the program knows, and each of its commands' commands; no screen is left over."""
    calls = {**SHOWN, **LOCAL, **ALONE, **{name: arguments for name, (arguments, _) in CHANGES.items()}}
    lacking = [
        path
        for path in _paths(cli, click.Context(cli, info_name="sipguard"))
        if not any(call[: len(path)] == path for call in calls.values())
    ]
    assert lacking == []
    assert {file.stem for file in SCREENS.glob("*.txt")} == {*calls, *HELP}


@contextlib.contextmanager
def played():
    """A daemon with a real firewall in a namespace, and everything that the screens show."""
    folder = Path(tempfile.mkdtemp(prefix="sg-", dir="/tmp"))
    log = folder / "freeswitch.log"
    (folder / "list.txt").write_text(f"{LISTED}\n192.0.2.0/25\n")
    log.touch()
    (folder / "filter.d").mkdir()
    shutil.copy(FILTERS / "freeswitch.conf", folder / "filter.d")
    hook = {
        "type": "webhook",
        "name": "hook",
        "url": "https://hooks.example.com/services/T0/s3cr3t",
        "secret": "t0p-s3cr3t",
    }
    letter = {"type": "mail", "name": "letter", "to": "ops@example.com", "host": "mail.example.com"}
    jails = {
        "freeswitch": {"logpath": str(log), "bantime": "2h30m30s", "maxretry": 4},
        "asterisk": {"logpath": str(folder / "asterisk.log"), "actions": [hook, letter]},
    }
    try:
        with (
            namespace("nft") as net,
            running(
                folder,
                jails,
                firewall="nftables",
                prefix=host_prefix(net, "nftables"),
                arguments=["--fail2ban-socket", folder / "f2b"],
            ) as one,
        ):
            append(one.config, f'[feeds.office]\nfile = "{folder / "list.txt"}"\n')
            one.sipguard("reload", check=False)
            append(log, "2026-11-28 00:00:00.000000 98.53% [INFO] mod_sofia.c:1 a line that nothing matches\n")
            append(log, failure(ATTACKER, "1000") * 2 + failure(ATTACKER, "admin") + failure(ATTACKER, "1000"))
            one.wait_logged(f"Ban {ATTACKER}")
            append(log, "".join(failure(GUESSER, str(user)) for user in range(100, 104)))
            one.wait_logged(f"Ban {GUESSER}")
            append(log, failure(SCANNER, HOSTILE) * 4 + failure(SLOW, "1001"))
            one.wait_logged("Ban 2001:db8:7:1::/64")
            one.sipguard("ban", "192.0.2.200", "--time", "1s")
            one.wait_logged("Unban 192.0.2.200")
            one.sipguard(
                "ban",
                "198.51.100.0/28",
                "--time",
                "26h30m",
                "--reason",
                f"toll fraud {HOSTILE[:12]} seen by the carrier",
            )
            yield one
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def daemon():
    """The one that the screens of this module share."""
    with played() as one:
        yield one


def steady(text, folder):
    """The same whenever and wherever it is played: dates, times and folders have others of the same width."""
    text = text.replace(str(folder), "/tmp/sg-xxxxxxxx")
    text = re.sub(r"\d{4}-\d\d-\d\d", "2026-11-28", text)
    text = re.sub(r"(?<!\d)\d\d:\d\d:\d\d(?!\d)", "12:00:00", text)
    text = text.replace(f" {host_name(True)}:", " pbx.example.com:").replace(
        f'"{host_name(True)}"', '"pbx.example.com"'
    )
    text = re.sub(r"\b1\d{9}\b", "1700000000", text)
    text = re.sub(r"libpcre2 \d\d\.\d\d", "libpcre2 10.42", text)
    text = re.sub(r"running [\dhms ]+,", "running 9s,", text)
    text = re.sub(r"\b\d\.\d\d s\b", "0.01 s", text)
    text = re.sub(r"5\dm (\d\ds|\ds )", "59m 50s", text)
    text = re.sub(r"\b2h [12]\dm", "2h 30m", text)
    text = re.sub(r"elements = \{.*?\}", "elements = { … }", text, flags=re.DOTALL)
    text = re.sub(r"^[\w-]{43}$", "0123456789-_0123456789-_0123456789-_0123456", text, flags=re.MULTILINE)
    text = re.sub(r"\[\d+\]:", "[4711]:", text)
    text = re.sub(r",\d{3} ", ",123 ", text)
    return re.sub(r"sipguard \d+\.\d+\.\d+", "sipguard 0.1.0", text)


def placed(daemon, arguments):
    """The call, with places of this machine in it; and its environment."""
    places = {
        "CONFIG": daemon.config,
        "LOG": daemon.folder / "freeswitch.log",
        "WRONG": daemon.folder / "wrong" / "sipguard.toml",
        "F2B": daemon.folder / "f2b",
        "FOLDER": daemon.folder,
        "MACHINE": daemon.folder / "machine",
        "TREE": daemon.folder / "fail2ban",
        "FILTER": daemon.folder / "filter.d" / "freeswitch.conf",
        "BROKEN": daemon.folder / "broken.toml",
        "NOWHERE": daemon.folder / "nowhere.sock",
    }
    return [places.get(one, one) for one in arguments], {"SIPGUARD_SOCKET": str(daemon.socket)}


def shown(daemon, arguments, **options):
    """What the terminal shows, and the exit status."""
    call, env = placed(daemon, arguments)
    received, status = on_screen(*call, env=env, **options)
    check(received if arguments[0] != "client" else received.replace("\t", " "))  # tabs are Fail2ban's
    typed = " ".join(["sipguard", *map(str, arguments)])
    return steady(f"$ {typed}\n{painted(received)}[exit status {status}]\n", daemon.folder)


@pytest.mark.root
@pytest.mark.parametrize("name", SHOWN)
def test_answers(daemon, name):
    """Commands that ask."""
    hold_to(name, shown(daemon, SHOWN[name]))


def _write_database(path):
    """Fail2ban's, with a live ban that can be taken over, and one that cannot."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA)
        rows = [("203.0.113.80", "pbx", int(time.time()), 90061, 2), ("somebody", "pbx", int(time.time()), 600, 1)]
        database.executemany("INSERT INTO bips VALUES (?, ?, ?, ?, ?, '{}')", rows)
        database.commit()


def _prepare(daemon, name):
    """What the commands without the daemon find."""
    wrong = daemon.folder / "wrong"
    (wrong / "jails.d").mkdir(parents=True, exist_ok=True)
    (wrong / "sipguard.toml").write_text('[firewall]\nbackend = "nftables"\n')
    (wrong / "jails.d" / "freeswitch.toml").write_text("enabled = yes\n")
    (wrong / "jails.d" / "asterisk.toml").write_text(
        'enabled = true\nlogpath = "/dev/null"\nport = "sipp"\nmaxretri = 3\n'
    )
    tree = daemon.folder / "fail2ban"
    (tree / "filter.d").mkdir(parents=True, exist_ok=True)
    (tree / "filter.d" / "pbx.conf").write_text("[Definition]\nfailregex = bad login from <HOST>$\n")
    (tree / "fail2ban.conf").write_text(f"[Definition]\ndbfile = {daemon.folder}/fail2ban.sqlite3\n")
    (daemon.folder / "broken.toml").write_text('[firewall]\nbackend = "nftable"\n')
    (daemon.folder / "machine").mkdir(exist_ok=True)
    database = daemon.folder / "fail2ban.sqlite3"
    database.unlink(missing_ok=True)
    if name == "adopt-dry-run":
        _write_database(database)
    (tree / "jail.conf").write_text(f"[pbx]\nenabled = true\nfilter = pbx\nlogpath = {daemon.folder}/freeswitch.log\n")


@pytest.mark.root
@pytest.mark.parametrize("name", LOCAL)
def test_without_the_daemon(daemon, name):
    """Commands that need none."""
    _prepare(daemon, name)
    hold_to(name, shown(daemon, LOCAL[name]))


@pytest.mark.root
@pytest.mark.parametrize("name", [*SHOWN, *LOCAL, *HELP])
def test_in_a_real_terminal(daemon, tmux, name):  # noqa: F811
    """The same texts in tmux, which wraps, scrolls and obeys what terminals obey."""
    if name in LOCAL:
        _prepare(daemon, name)
    arguments = {**SHOWN, **LOCAL, **HELP}[name]
    call, env = placed(daemon, arguments)
    text = steady(tmux.run(*call, env=env), daemon.folder)
    if name in HELP:
        assert text == golden(name) + "[exit status 0]\n"
    else:
        assert f"$ {' '.join(['sipguard', *arguments])}\n{text}" == golden(name)


def test_enable(tmp_path):
    """What it would write, and a no."""
    shutil.copytree(ROOT / "fixtures" / "machines" / "freeswitch-vanilla", tmp_path / "machine")
    received, status = on_screen("enable", "--root", tmp_path / "machine", typed="n\n")
    check(received)
    assert status == 1
    hold_to("enable", painted(received).replace(str(tmp_path), "/tmp/x"))


def test_nobody_is_protected(tmp_path):
    """A daemon without a jail, and a firewall that enforces nothing."""
    with running(tmp_path, {}) as one:
        received, status = on_screen("status", env={"SIPGUARD_SOCKET": str(one.socket)})
        check(received)
        assert status == 1
        hold_to("status-unprotected", steady(painted(received), tmp_path))


def test_run(tmp_path):
    """The daemon on a terminal, until Ctrl-C: its own log, a line of which may be as long as it needs to be."""
    log = tmp_path / "freeswitch.log"
    log.touch()
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "sipguard.toml").touch()
    (tmp_path / "jails.d/freeswitch.toml").write_text(f'enabled = true\nlogpath = "{log}"\n')
    places = ["-c", tmp_path / "sipguard.toml", "--state-dir", tmp_path / "state", "--socket", tmp_path / "sock"]
    received, status = on_screen("run", "--firewall", "memory", *places, interrupt="Jails started")
    assert status == 0
    assert all(line.isprintable() for line in received.split("\n"))
    hold_to("run", steady(received, tmp_path))


@pytest.mark.root
def test_what_changes_something(daemon):
    """Bans by hand, and the questions before something sweeping; last, since they end what the others show."""
    for name, (arguments, typed) in CHANGES.items():
        hold_to(name, shown(daemon, arguments, typed=typed))


@pytest.mark.root
def test_what_changes_something_in_a_real_terminal(tmux):  # noqa: F811
    """The same texts in tmux, of another daemon with the same bans."""
    with played() as one:
        for name, (arguments, typed) in CHANGES.items():
            call, env = placed(one, arguments)
            text = steady(tmux.run(*call, env=env, typed=typed), one.folder)
            assert f"$ {' '.join(['sipguard', *arguments])}\n{text}" == golden(name)


@pytest.mark.root
def test_alone_in_a_real_terminal(tmux, tmp_path):  # noqa: F811
    """`enable` and its question, a daemon without a jail, and the daemon itself."""
    shutil.copytree(ROOT / "fixtures" / "machines" / "freeswitch-vanilla", tmp_path / "machine")
    shown = tmux.run("enable", "--root", tmp_path / "machine", typed="n\n")
    assert shown.replace(str(tmp_path), "/tmp/x") == golden("enable") + "[exit status 1]\n"
    with running(tmp_path, {}) as one:
        shown = tmux.run("status", env={"SIPGUARD_SOCKET": str(one.socket)})
        assert steady(shown, tmp_path) == golden("status-unprotected") + "[exit status 1]\n"


@pytest.mark.parametrize("name", HELP)
def test_help(name):
    """`sipguard --help`, and that of each command; no option is broken behind a hyphen."""
    received, status = on_screen(*HELP[name])
    check(received)
    assert status == 0
    assert not [line for line in received.splitlines() if line.endswith("-")]
    hold_to(name, received)
