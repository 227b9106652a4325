"""The native configuration: what lies over what, which log is followed, and what the manual says of it."""

import json
import math
from pathlib import Path

import pytest

from sipguard.config import paths
from sipguard.config.jail_schema import JAIL
from sipguard.config.schema import SECTIONS
from sipguard.config.settings import load
from sipguard.errors import ConfigError
from sipguard.model import BanGrowth, Filter, LogPath, PortRange

ROOT = Path(__file__).resolve().parents[2]
GOOD = "enabled = true\nfilter = 'f'\nlogpath = '/dev/null'\n"


def test_defaults(tree):
    """A jail that gives only what it must has the defaults of the manual."""
    settings = tree.load(pbx=GOOD)
    (jail,) = settings.jails
    assert (settings.errors, settings.warnings) == ((), ())
    assert (settings.firewall, settings.loglevel, settings.socket_group) == ("auto", "INFO", "")
    assert (jail.name, jail.filter.name, jail.logpath, jail.rule.jail) == ("pbx", "f", (LogPath("/dev/null"),), "pbx")
    assert (jail.maxretry, jail.findtime, jail.bantime) == (5, 600.0, 3600.0)
    assert (jail.rule.ports, jail.rule.protocols, jail.rule.verdict) == ((), (), "reject")
    assert (jail.ignoreip, jail.ignoreself, jail.usedns, jail.polling) == ((), True, "no", False)
    assert (jail.encoding, jail.timezone, jail.origin) == ("utf-8", None, str(tree.directory / "jails.d/pbx.toml"))


def test_every_key(tree):
    """Every key of a jail arrives where the model has it."""
    settings = tree.load(
        main='state_dir = "/s"\nsocket = "/r/s"\nsocket_group = "pbx"\nlogtarget = "syslog"\n'
        'loglevel = "debug"\n'
        '[firewall]\nbackend = "NFTables"\n',
        pbx="enabled = true\nfilter = 'f[mode=ddos]'\nlogpath = ['/a.log tail', '/b*.log']\n"
        "port = ['5060-5061', '22']\n"
        "protocol = ['UDP', 'tcp']\nmaxretry = 1\nfindtime = 30\nbantime = -1\n"
        "ignoreip = ['192.0.2.1/24', 'Phones.Example.com', '::ffff:198.51.100.1']\nignoreself = false\n"
        "usedns = 'warn'\n"
        "backend = 'polling'\nencoding = 'latin-1'\ntimezone = 'UTC+0200'\nverdict = 'drop'\n",
    )
    (jail,) = settings.jails
    assert settings.errors == ()
    assert (settings.state_dir, settings.socket, settings.socket_group) == ("/s", "/r/s", "pbx")
    assert (settings.logtarget, settings.loglevel, settings.firewall) == ("SYSLOG", "DEBUG", "nftables")
    assert (jail.filter.name, jail.logpath) == ("f[mode=ddos]", (LogPath("/a.log", tail=True), LogPath("/b*.log")))
    assert jail.rule.ports == (PortRange(22, 22), PortRange(5060, 5061))
    assert (jail.rule.protocols, jail.rule.verdict) == (("udp", "tcp"), "drop")
    assert (jail.maxretry, jail.findtime, jail.bantime) == (1, 30.0, math.inf)
    assert jail.ignoreip == ("192.0.2.0/24", "Phones.Example.com", "198.51.100.1")
    assert (jail.ignoreself, jail.usedns, jail.polling) == (False, "warn", True)
    assert (jail.encoding, jail.timezone) == ("iso8859-1", "UTC+0200")


def test_layers(tree):
    """jails.d over packaged over [defaults] over the built-in default, key by key."""
    settings = tree.load(
        main="[defaults]\nmaxretry = 7\nfindtime = 70\nbantime = 77\nfilter = 'd'\n",
        pbx_packaged="filter = 'p'\nlogpath = '/dev/null'\nfindtime = 80\nbantime = 88\n",
        pbx="enabled = true\nbantime = 99\n",
        other="enabled = true\nlogpath = '/dev/null'\n",
    )
    other, pbx = settings.jails
    assert (pbx.filter.name, pbx.maxretry, pbx.findtime, pbx.bantime) == ("p", 7, 80.0, 99.0)
    assert (other.filter.name, other.maxretry, other.findtime, other.bantime) == ("d", 7, 70.0, 77.0)


@pytest.mark.parametrize(
    ("firewall", "defaults", "jail", "expected"),
    [
        ("drop", "", "", "drop"),
        ("drop", "reject", "", "reject"),
        ("reject", "reject", "drop", "drop"),
        ("", "", "", "reject"),
    ],
)
def test_verdict_layers(tree, firewall, defaults, jail, expected):
    """The verdict of [firewall] lies under [defaults]."""
    rows = [f"verdict = '{word}'\n" if word else "" for word in (firewall, defaults, jail)]
    settings = tree.load(main=f"[firewall]\n{rows[0]}[defaults]\n{rows[1]}", pbx=GOOD + rows[2])
    assert settings.jails[0].rule.verdict == expected


def test_filter_directories(tree):
    """The operator's filters come before the packaged."""
    seen = []
    tree.write(main="", pbx=GOOD)
    load(
        tree.directory / "sipguard.toml",
        read_filter=lambda reference, directories: seen.append(directories) or Filter(reference, ("x",)),
    )
    assert seen == [(tree.directory / "filters.d", ROOT / "filters")]


def test_no_files(tmp_path, monkeypatch):
    """The default file may be missing; one that is named may not, nor may one that the environment names."""
    monkeypatch.setenv("SIPGUARD_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load()
    monkeypatch.delenv("SIPGUARD_CONFIG")
    monkeypatch.setattr(paths, "MAIN_FILE", tmp_path / "sipguard.toml")
    settings = load()
    assert (settings.jails, settings.errors, settings.firewall) == ((), (), "auto")
    assert "no jail is enabled" in settings.warnings[0]
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "sipguard.toml")


def test_disabled(tree):
    """A jail that is not enabled is not read further; without the key, a word is said."""
    settings = tree.load(off="enabled = false\nmaxretry = 0", forgotten="maxretry = 3")
    assert (settings.jails, settings.errors) == ((), ())
    (warning,) = settings.warnings
    assert warning.endswith("forgotten.toml: jail forgotten: not enabled; write enabled = true")


def test_packaged_jails_do_not_run_by_themselves(tree):
    """Only a file in jails.d makes a jail run."""
    assert tree.load(main="[defaults]\nenabled = true", pbx_packaged=GOOD).jails == ()


def test_foreign_file(tree):
    """A file in Fail2ban's format is not silently passed over; a hidden one is."""
    tree.write(pbx=GOOD)
    (tree.directory / "jails.d/x.conf").touch()
    (tree.directory / "jails.d/.y.toml").write_text("broken")
    settings = tree.load()
    assert [jail.name for jail in settings.jails] == ["pbx"]
    assert settings.warnings == (f"{tree.directory}/jails.d/x.conf: ignored; a jail's file must end in .toml",)


class TestWhichLog:
    """`logpath` follows all, `logpath_first` the first that exists."""

    @pytest.fixture
    def logs(self, tree, tmp_path):
        for name in ("b.log", "c.log"):
            (tmp_path / name).touch()

        def load_with(rows):
            settings = tree.load(pbx="enabled = true\nfilter = 'f'\n" + rows.replace("@", str(tmp_path)))
            (jail,) = settings.jails
            return [str(path).replace(str(tmp_path), "@") for path in jail.logpath], settings.warnings

        return load_with

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            ("logpath_first = ['@/a.log', '@/b.log', '@/c.log']", ["@/b.log"]),
            ("logpath_first = ['@/c.log tail', '@/b.log']", ["@/c.log tail"]),
            ("logpath_first = ['@/x*.log', '@/[bc].log']", ["@/[bc].log"]),
            ("logpath = ['@/b.log', '@/c.log']\nlogpath_first = ['@/b.log']", ["@/b.log", "@/c.log"]),
            ('logpath = "@/b.log\\n  @/c.log"', ["@/b.log", "@/c.log"]),
        ],
    )
    def test_found(self, logs, rows, expected):
        """What exists is followed, without a word."""
        assert logs(rows) == (expected, ())

    def test_missing(self, logs):
        """What does not exist yet is waited for, with a word."""
        paths_, warnings = logs("logpath = ['@/b.log', '@/none.log']")
        assert paths_ == ["@/b.log", "@/none.log"]
        assert len(warnings) == 1
        assert "none.log does not exist yet; sipguard waits for it" in warnings[0]

    def test_none_found(self, logs):
        """When none of the places has a log, each is waited for."""
        paths_, warnings = logs("logpath_first = ['@/x.log', '@/y.log']")
        assert paths_ == ["@/x.log", "@/y.log"]
        assert "no log found yet" in warnings[0]

    @pytest.mark.parametrize("key", ["logpath", "logpath_first"])
    def test_not_to_be_looked_for(self, logs, monkeypatch, key):
        """Where sipguard may not look, it does not say that there is nothing."""
        monkeypatch.setattr("sipguard.config.jail_file.closed_folder", lambda _pattern: "/closed")
        _, warnings = logs(f"{key} = ['@/x.log']")
        assert "cannot be looked for: permission denied: /closed; " in warnings[0]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "jails").glob("*.toml")))
def test_packaged_jail(tree, name):
    """Every packaged jail needs one line to run, does not enable itself, and leaves times to [defaults].

    `recidive` is no service: it is about times, and closes every port.
    """
    tree.write(main="[defaults]\nbantime = '3d'\n", **{name: "enabled = true\n"})
    settings = load(tree.directory / "sipguard.toml", read_filter=tree.read_filter)
    (jail,) = settings.jails
    assert settings.errors == ()
    assert (jail.name, jail.filter.name.partition("[")[0]) == (name, name.removesuffix("-scan"))
    if name != "recidive":
        assert jail.bantime == 259200.0
        assert jail.rule.ports
        assert jail.rule.protocols
    text = (ROOT / "jails" / f"{name}.toml").read_text()
    assert "\nenabled" not in text


def test_manual_lists_every_key():
    """docs/configuration.md has each key's row, word for word as the table of keys has it."""
    manual = (ROOT / "docs" / "configuration.md").read_text()
    for key in [key for keys in SECTIONS.values() for key in keys]:
        default = "" if key.default is None else f"`{json.dumps(key.default)}`"
        allowed = key.allowed.replace("*", "`*`").replace("?", "`?`")
        assert f"| `{key.name}` | {default} | {allowed} | {key.help} |" in manual


def test_manual_example_is_right(tree):
    """The examples in the manual load."""
    blocks = (ROOT / "docs" / "configuration.md").read_text().split("```toml\n")[1:]
    texts = [block.split("```")[0] for block in blocks]
    main = next(text for text in texts if "[firewall]" in text)
    own = next(text for text in texts if "office-pbx" in text)
    settings = tree.load(main=main, office=own)
    assert settings.errors == ()
    assert [jail.maxretry for jail in settings.jails] == [3]


def test_defaults_are_allowed():
    """Each default is what its own row allows."""
    for key in JAIL:
        if key.default is not None:
            key.read(key.default, "")


def test_growth_and_journal(tree):
    """What a native jail says of growing bans and the journal; no logpath is needed then."""
    text = """enabled = true
filter = "asterisk"
backend = "systemd"
journalmatch = "_SYSTEMD_UNIT=asterisk.service"
bantime_increment = true
bantime_multipliers = [1, 5]
bantime_maxtime = "1d"
ignorecommand = "/bin/known <ip>"
ignoreip = ["file:/etc/known", "192.0.2.1"]
"""
    tree.write(main="", own=text)
    settings = load(tree.directory / "sipguard.toml", read_filter=tree.read_filter)
    assert settings.errors == ()
    (jail,) = settings.jails
    assert jail.growth == BanGrowth(increment=True, multipliers=(1, 5), maxtime=86400.0)
    assert (jail.journal, jail.logpath) == (True, ())
    assert jail.filter.journalmatch == ("_SYSTEMD_UNIT=asterisk.service",)
    assert (jail.ignorecommand, jail.ignoreip) == ("/bin/known <ip>", ("file:/etc/known", "192.0.2.1"))
