"""`sipguard check`: exit status, one line per error, a short summary."""

import json

import pytest
from click.testing import CliRunner
from screen import check as check_screen
from screen import on_screen

from sipguard.cli.check import command
from sipguard.config import settings as settings_module
from sipguard.model import Filter


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Runs the command on files given by name, with every filter there."""
    monkeypatch.setattr(
        settings_module, "_read_filter", lambda reference, _directories: Filter(reference, ("^x <HOST>$", "^y <HOST>$"))
    )

    def run(*options, main="", **jails):
        firewall = "" if "[firewall]" in main else '\n[firewall]\nbackend = "memory"\n'
        (tmp_path / "sipguard.toml").write_text(main + firewall)
        (tmp_path / "jails.d").mkdir(exist_ok=True)
        for name, text in jails.items():
            (tmp_path / "jails.d" / f"{name}.toml").write_text(text)
        result = CliRunner().invoke(command, ["-c", str(tmp_path / "sipguard.toml"), *options])
        return result.exit_code, result.stdout, result.stderr.replace(f"{tmp_path}/", "")

    return run


GOOD = "enabled = true\nfilter = 'f'\nlogpath = '/dev/null'\nport = 5060\nbantime = -1\nignoreip = '192.0.2.1'\n"


def test_right(check):
    """A summary that fits in 80 columns, exit status 0, nothing on standard error."""
    status, out, err = check(pbx=GOOD)
    assert (status, err) == (0, "")
    *lines, end, search = out.splitlines()[1:]
    assert end == ""
    assert search.startswith("search: ")
    assert lines == [
        "",
        "pbx",
        "  log     /dev/null",
        "  filter  f",
        "  ban     for ever, after 5 failures within 10m",
        "  reject  ports 5060, protocols all",
        "  never   192.0.2.1",
    ]


def test_faulty(check):
    """Each error is one line on standard error; exit status 2; the good jails are shown all the same."""
    status, out, err = check(
        pbx=GOOD, bad="enabled = true\nfilter = 'f'\nlogpath = '/dev/null'\nmaxretry = 'five'\nmxretry = 1"
    )
    assert status == 2
    assert out.splitlines()[0].endswith("sipguard.toml: 2 errors; 1 jail would still run")
    assert "\npbx\n" in out
    assert err.splitlines() == [
        'jails.d/bad.toml:4: jail bad: maxretry = "five": must be a whole number of 1 or more',
        "jails.d/bad.toml:5: jail bad: mxretry = 1: unknown key; did you mean `maxretry`?",
    ]


def test_faulty_main(check):
    """So is one in sipguard.toml."""
    assert check(main="loglevel = 'x\x1b'", pbx=GOOD) == (2, "", "sipguard.toml:1: a control character (\\x1b)\n")


def test_warning(check):
    """A warning is told and is no error."""
    status, out, err = check()
    assert status == 0
    assert "OK; no jail enabled" in out
    assert err.startswith("warning: ")


def test_json(check):
    """One object, with errors too."""
    status, out, err = check("--json", pbx=GOOD, bad="enabled = 5")
    data = json.loads(out)
    assert status == 2
    assert [jail["jail"] for jail in data["jails"]] == ["pbx"]
    assert data["jails"][0]["bantime"] is None
    assert [error["what"] for error in data["errors"]] == ["jail bad: enabled = 5: must be true or false"]
    assert len(err.splitlines()) == 1


def test_json_of_faulty_main(check):
    """Even when nothing could be read."""
    status, out, _ = check("--json", main="x = 1")
    data = json.loads(out)
    assert (status, data["jails"], len(data["errors"])) == (2, [], 1)


def test_terminal(tmp_path):
    """On a terminal: the same facts, brackets in names left alone, nothing wider than it."""
    (tmp_path / "jails.d").mkdir()
    (tmp_path / "sipguard.toml").touch()
    (tmp_path / "jails.d" / "pbx.toml").write_text(
        'enabled = true\nfilter = "freeswitch[mode=scan]"\nlogpath = "/dev/null"\nport = 5060\n'
    )
    told, status = on_screen("check", "-c", tmp_path / "sipguard.toml")
    check_screen(told)
    assert status == 0
    assert "  filter  \x1b[0mfreeswitch\n" in told
    assert "\x1b[32m" in told
