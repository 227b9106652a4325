"""How answers look on a terminal: aligned, coloured by state, folded between words; plain in a pipe."""

from __future__ import annotations

import io
import os
import re
import stat
import sys

import pytest
from command_line import sipguard

from sipguard.cli import output
from sipguard.cli.explain import tell
from sipguard.cli.layout import columns_of, folded, laid_out
from sipguard.config.values import SERVICES, ports
from sipguard.service_manager import starting

ADDRESS, PATH = "2001:db8:1234:5678::1", "/var/log/asterisk/security/and/a/very/long/folder/name/security.log"


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self):
        """Yes."""
        return True


def shown(monkeypatch, call, **env):
    """What a call prints on a terminal of 80 columns."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"COLUMNS": "80", "TERM": "xterm", **env}.items():
        monkeypatch.setenv(name, value)
    call()
    return terminal.getvalue()


@pytest.mark.parametrize("width", [10, 20, 40, 79, 80])
@pytest.mark.parametrize("text", [PATH, f"jail asterisk: {PATH}: no such file", "x" * 300, "名前 " * 40, "", " a  b "])
def test_folded_lines_fit(text, width):
    """None is wider; nothing is lost; what can be broken between words or behind a slash is."""
    lines = folded(text, width)
    assert max(map(columns_of, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    if width >= 40:
        ends = [line.split()[-1] for line in lines if len(set(line)) > 2]
        whole = tuple(text.split())
        assert all(end[-1] in "/,;:=&?|." or any(word.endswith(end) for word in whole) for end in ends)


def test_a_table_is_as_wide_as_the_terminal():
    """The widest column gives way; an address is never broken."""
    rows = [[ADDRESS, 12, PATH * 3, "x"], ["203.0.113.5", 3, "short", "y" * 50]]
    lines = ["".join(text for text, _ in line) for line in laid_out(["address", "hits", "log", "why"], rows, 80)]
    assert max(map(columns_of, lines)) <= 80
    assert lines[0].startswith("address")
    assert sum(ADDRESS in line for line in lines) == 1
    assert re.search(r"  12  /var", lines[1]), "numbers stand at the right"


def test_colours(monkeypatch):
    """By state; none for who does not want them, for a terminal without, or in a pipe."""

    def call():
        output.say("all is well", "good")
        output.table(("a", "b"), [["x", output.cell("bad news", "bad")]])

    told = shown(monkeypatch, call)
    assert "\x1b[32mall is well\x1b[0m\n" in told
    assert "\x1b[1;31mbad news" in told
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in shown(monkeypatch, call, **env)
    assert "\x1b[32m" in shown(monkeypatch, call, NO_COLOR=""), "an empty one is none (no-color.org)"
    monkeypatch.undo()
    piped = io.StringIO()
    monkeypatch.setattr(sys, "stdout", piped)
    call()
    assert piped.getvalue() == "all is well\nx\tbad news\n"


def test_what_strangers_wrote(monkeypatch):
    """Reaches no terminal as it is, in a cell neither."""
    told = shown(monkeypatch, lambda: output.table(("user",), [["\x1b]0;title\x07\x9b2J\u202e"]]))
    assert "\x1b]" not in told
    assert r"\x1b]0;title\x07\x9b2J\u202e" in told


def test_no_permission(tmp_path, monkeypatch):
    """The cause, and what helps; the kernel is made to answer as it answers users who may not."""

    def refuse(*_given):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sipguard.cli.client._connect", refuse)
    monkeypatch.setattr("os.access", lambda *_given, **_more: False)  # what click asks of a path, as these users get it
    path = tmp_path / "run.sock"
    path.touch(mode=0o000)
    said = sipguard("status", "--socket", path).stderr
    assert said.startswith(f"sipguard: you may not ask the daemon ({path}): use sudo, or ")
    if os.geteuid() == 0:
        assert said.endswith(" or set socket_group in sipguard.toml\n")
        os.chown(path, -1, 1)
        assert stat.S_IMODE(path.stat().st_mode) == 0
        said = sipguard("status", "--socket", path).stderr
        assert said.endswith(": use sudo, or join the group daemon (usermod -aG daemon USER)\n")


def test_nobody_is_there(tmp_path):
    """How to start it where it is looked for as usual; else, that another socket was named."""
    missing = sipguard("status", "--socket", tmp_path / "none").stderr
    assert missing.startswith(f"sipguard: {tmp_path}/none: no sipguard is running there. Start it, or name its socket")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('socket_group = "adm"\nsocket = "{0}/other"', "other"),
        ('"socket"="{0}/other"', "other"),
        ("", "default"),
        ("socket = 1", "default"),
        ("socket = broken", "default"),
        (None, "default"),
    ],
)
def test_the_socket_of_the_configuration_is_asked(tmp_path, monkeypatch, text, place):
    """By who names none; one that is named wins."""
    monkeypatch.setattr("sipguard.cli.client.DEFAULT_SOCKET", tmp_path / "default")
    monkeypatch.setenv("SIPGUARD_CONFIG", str(tmp_path / "sipguard.toml"))
    monkeypatch.delenv("SIPGUARD_SOCKET", raising=False)
    if text is not None:
        (tmp_path / "sipguard.toml").write_text(text.format(tmp_path))
    start = f"Start it with: {starting()}\n"
    for call in (["status"], ["feeds", "refresh", "blocks"]):
        assert sipguard(*call).stderr == f"sipguard: sipguard is not running ({tmp_path}/{place}). {start}"
    assert sipguard("status", "--socket", tmp_path / "third").stderr.startswith(
        f"sipguard: {tmp_path}/third: no sipguard"
    )
    if place == "other":
        (tmp_path / "default").touch()
        assert sipguard("status").stderr.endswith(
            f"since before {tmp_path}/sipguard.toml named this socket, restart it\n"
        )


def test_a_socket_before_the_subcommand_wins(tmp_path, monkeypatch):
    """Over the variable, as one behind the subcommand does."""
    monkeypatch.setenv("SIPGUARD_SOCKET", str(tmp_path / "variable"))
    for call in (
        ["feeds", "--socket", tmp_path / "given", "refresh", "blocks"],
        ["fleet", "accept", "--socket", tmp_path / "given", "a"],
    ):
        assert sipguard(*call).stderr.startswith(f"sipguard: {tmp_path}/given: no sipguard")


@pytest.mark.parametrize(
    ("jail", "reason", "told"),
    [
        ("by-hand", "by hand", "is banned by hand since "),
        ("by-hand", "toll fraud", ": toll fraud\n"),
        ("asterisk", "by hand", ": by hand\n"),
    ],
)
def test_a_reason_that_says_no_more_than_the_jail_is_left_out(capsys, jail, reason, told):
    """A ban by hand is by hand, once."""
    ban = {
        "address": ADDRESS,
        "jail": jail,
        "since": 0.0,
        "until": None,
        "reason": reason,
        "count": 1,
        "evidence": "hand",
    }
    lists = {name: [] for name in ("feeds", "fleet", "earlier", "attempts", "doubts")}
    tell({"address": ADDRESS, "bans": [ban], "rejected": None, "ignored": {}, "counts": {}, **lists})
    shown = capsys.readouterr().out
    assert told in shown
    assert shown.count("by hand") == 1


@pytest.mark.parametrize(("word", "instead"), [("yes", "true"), ("On", "true"), ("no", "false"), ("OFF", "false")])
def test_yes_is_true(tmp_path, word, instead):
    """TOML has no yes: the message says what to write."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "sipguard.toml").touch()
    (tmp_path / "jails.d" / "freeswitch.toml").write_text(f"enabled = {word}\n")
    done = sipguard("check", "-c", tmp_path / "sipguard.toml")
    assert done.returncode == 2
    assert f"freeswitch.toml:1: jail freeswitch: enabled: {word}: write {instead}" in done.stderr


def test_a_port_by_name_without_services(tmp_path, monkeypatch):
    """A minimal container has no /etc/services: that is the cause, and it is named."""
    monkeypatch.setattr("sipguard.config.values.SERVICES", tmp_path / "none")
    monkeypatch.setattr("sipguard.config.values._port_number", lambda text: int(text) if text.isdigit() else -1)
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "sipguard.toml").touch()
    (tmp_path / "jails.d" / "freeswitch.toml").write_text('enabled = true\nport = ["5060", "sip"]\n')
    done = sipguard("check", "-c", tmp_path / "sipguard.toml")
    assert f'port = "sip": this machine has no {tmp_path}/none; write the port\'s number' in done.stderr
    assert ports("5060")
    assert str(SERVICES) == "/etc/services"
