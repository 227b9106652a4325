"""A Fail2ban tree as what the daemon runs with: fail2ban.conf, the jails, and what is wrong with some of them."""

from __future__ import annotations

import json

import pytest
from command_line import sipguard

from sipguard.errors import ConfigError
from sipguard.fail2ban.config.to_settings import load_tree

FILTER = "[Definition]\nfailregex = ^bad <HOST>$\n"


@pytest.fixture
def tree(tmp_path):
    """A tree with one jail, and a sipguard.toml without any."""
    (tmp_path / "f2b" / "filter.d").mkdir(parents=True)
    (tmp_path / "f2b" / "filter.d" / "demo.conf").write_text(FILTER)
    (tmp_path / "f2b" / "jail.conf").write_text("[demo]\nenabled = true\nfilter = demo\nlogpath = /dev/null\n")
    (tmp_path / "sipguard.toml").write_text('socket = "/run/own.sock"\n')
    return tmp_path


def load(tree, fail2ban="", jail="", **options):
    """Read the tree with these lines in fail2ban.local and jail.local."""
    (tree / "f2b" / "fail2ban.local").write_text(f"[Definition]\n{fail2ban}")
    (tree / "f2b" / "jail.local").write_text(f"[demo]\n{jail}")
    return load_tree(tree / "f2b", tree / "sipguard.toml", **options)


def test_own_settings(tree):
    """Socket, process file, database, log and level are those of fail2ban.conf."""
    said = "socket = /run/x/f.sock\npidfile = /run/x/f.pid\ndbfile = /var/x/f.sqlite3\nlogtarget = SYSLOG[a=b]\n"
    settings = load(tree, said + "loglevel = debug\ndbpurgeage = 2d", banactions="commands")
    assert (settings.fail2ban_socket, settings.pidfile) == ("/run/x/f.sock", "/run/x/f.pid")
    assert (settings.state_dir, settings.keep_history) == ("/var/x", 172_800.0)
    assert (settings.fail2ban_dbfile, settings.fail2ban_dbpurgeage) == ("/var/x/f.sqlite3", 172_800.0)
    assert (settings.logtarget, settings.loglevel) == ("SYSLOG", "DEBUG")
    assert (settings.socket, settings.banactions) == ("/run/own.sock", "commands")
    assert [jail.name for jail in settings.jails] == ["demo"]


@pytest.mark.parametrize("dbfile", ["None", ":memory:"])
def test_no_database(tree, dbfile):
    """State that shall not last is kept beside the socket."""
    settings = load(tree, f"dbfile = {dbfile}\nsocket = /run/x/f.sock")
    assert (settings.state_dir, settings.fail2ban_dbfile) == ("/run/x", "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("loglevel = LOUD", "loglevel = 'LOUD': must be one of CRITICAL", id="level"),
        pytest.param("logtarget = printer", "logtarget = 'printer': must be a path", id="target"),
    ],
)
def test_bad_own_settings(tree, line, said):
    """What speaks for all jails stops all."""
    with pytest.raises(ConfigError, match=said):
        load(tree, line)


@pytest.mark.parametrize("line", ["logencoding = klingon", "logtimezone = Mars/Olympus"])
def test_one_bad_jail(tree, line):
    """A jail that cannot run is one error with file and line; the others run."""
    (tree / "f2b" / "jail.d").mkdir()
    (tree / "f2b" / "jail.d" / "two.conf").write_text("[two]\nenabled = true\nfilter = demo\nlogpath = /dev/null\n")
    settings = load(tree, jail=line)
    assert [jail.name for jail in settings.jails] == ["two"]
    assert len(settings.errors) == 1
    assert settings.errors[0].where == f"{tree}/f2b/jail.conf:2"


def test_native_jails_run_beside(tree):
    """Jails of jails.d run too; of two with one name that of the tree."""
    (tree / "jails.d").mkdir()
    for name in ("demo", "own"):
        (tree / "jails.d" / f"{name}.toml").write_text('enabled = true\nfilter = "asterisk"\nlogpath = "/dev/null"\n')
    settings = load(tree)
    assert [(jail.name, jail.filter.name) for jail in settings.jails] == [("demo", "demo"), ("own", "asterisk")]
    assert any("the tree's jail runs instead" in warning for warning in settings.warnings)


def test_check_dump(tree):
    """Every jail as it will run."""
    load(
        tree,
        jail="bantime = -1\nbantime.increment = true\nbackend = systemd[journalflags=1]\nignorecommand = /bin/no <ip>\n",
    )
    done = sipguard("check", "--dump", "--fail2ban-dir", tree / "f2b")
    jail = json.loads(done.stdout)["jails"]["demo"]
    assert jail["filter"]["failregex"] == ["^bad <HOST>$"]
    assert (jail["bantime"], jail["growth"]["increment"], jail["ignorecommand"]) == (-1, True, "/bin/no <ip>")
    assert (jail["journal"], jail["journal_options"]) == (True, {"journalflags": "1"})


ENFORCED = [
    pytest.param("", True, id="nothing said"),
    pytest.param("action =\n", False, id="no action on purpose"),
    pytest.param("action = mail\n", False, id="a mail alone"),
    pytest.param("action = mail\n    block[port=22]\n", True, id="a mail and a firewall"),
]


@pytest.mark.parametrize(("jail", "enforced"), ENFORCED)
def test_enforced(tree, jail, enforced):
    """A jail rejects where Fail2ban would; with `--banactions commands` the action files do it."""
    (tree / "f2b" / "action.d").mkdir()
    (tree / "f2b" / "action.d" / "mail.conf").write_text("[Definition]\nactionban = mail <ip> <port>\n")
    (tree / "f2b" / "action.d" / "block.conf").write_text("[Definition]\nactionban = iptables -A x -s <ip> -p <port>\n")
    assert load(tree, jail=jail).jails[0].enforced is enforced
    assert load(tree, jail=jail, banactions="commands").jails[0].enforced is False


@pytest.mark.parametrize(("log", "runs"), [("/nonexistent/log", False), ("/dev/null", True)])
def test_skip_if_nologs(tree, log, runs):
    """A jail without logs is left out, if it asks for that, and waits otherwise."""
    assert bool(load(tree, jail=f"skip_if_nologs = true\nlogpath = {log}\n").jails) is runs
    assert load(tree, jail=f"logpath = {log}\n").jails


JOURNAL_TOO = [
    pytest.param("journalmatch = A=b\nlogpath = /nonexistent/log\n", (True, ()), id="no log"),
    pytest.param("journalmatch = A=b\nlogpath = /dev/null\n", (False, ("/dev/null",)), id="a log"),
    pytest.param("logpath = /nonexistent/log\n", (False, ("/nonexistent/log",)), id="no match of its own"),
    pytest.param(
        "journalmatch = A=b\nlogpath = /nonexistent/log\nsystemd_if_nologs = no\n",
        (False, ("/nonexistent/log",)),
        id="not wanted",
    ),
    pytest.param(
        "journalmatch = A=b\nlogpath = /nonexistent/log\nbackend = polling\n",
        (False, ("/nonexistent/log",)),
        id="another backend",
    ),
]


@pytest.mark.parametrize(("jail", "expected"), JOURNAL_TOO)
def test_systemd_if_nologs(tree, jail, expected):
    """Without logs, `backend = auto` reads the journal, if the jail says what to look for there."""
    (found,) = load(tree, jail=jail).jails
    assert (found.journal, tuple(map(str, found.logpath))) == expected
