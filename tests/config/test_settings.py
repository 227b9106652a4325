"""The native configuration: what lies over what, every error with file and line, and that a bad jail stops no other."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.config import paths
from sipguard.config.keys import JAIL, SECTIONS
from sipguard.config.settings import load
from sipguard.errors import ConfigError
from sipguard.model import BanGrowth, Filter, PortRange

ROOT = Path(__file__).resolve().parents[2]


def read_filter(reference, directories):
    """Any filter but `none`, which no directory has."""
    if reference.startswith("none"):
        raise ConfigError(f"no filter named {reference}")
    if reference == "broken":
        raise ConfigError("failregex: no <HOST>", f"{directories[0]}/broken.conf:7")
    return Filter(name=reference, failregex=("x",))


@pytest.fixture
def tree(tmp_path):
    """Writes files below a configuration folder and loads it; paths in messages are relative to it."""

    class Tree:
        directory = tmp_path

        def write(self, **files):
            for name, text in files.items():
                stem = name.removesuffix("_packaged")
                folder = "jails.d" if stem == name else "packaged"
                path = tmp_path / ("sipguard.toml" if name == "main" else f"{folder}/{stem}.toml")
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            return self

        def load(self, **files):
            self.write(main=files.pop("main", ""), **files)
            return load(tmp_path / "sipguard.toml", read_filter=read_filter, packaged_jails=tmp_path / "packaged")

        def messages(self, settings):
            return [str(error).replace(f"{tmp_path}/", "") for error in settings.errors]

    return Tree()


GOOD = "enabled = true\nfilter = 'f'\nlogpath = '/dev/null'\n"


def test_defaults(tree):
    """A jail that gives only what it must has the defaults of the manual."""
    settings = tree.load(pbx=GOOD)
    (jail,) = settings.jails
    assert (settings.errors, settings.warnings) == ((), ())
    assert (settings.firewall, settings.loglevel, settings.socket_group) == ("auto", "INFO", "")
    assert (jail.name, jail.filter.name, jail.logpath, jail.rule.jail) == ("pbx", "f", ("/dev/null",), "pbx")
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
        "port = ['5060-5061', 'ssh']\n"
        "protocol = ['UDP', 'tcp']\nmaxretry = 1\nfindtime = 30\nbantime = -1\n"
        "ignoreip = ['192.0.2.1/24', 'Phones.Example.com', '::ffff:198.51.100.1']\nignoreself = false\n"
        "usedns = 'warn'\n"
        "backend = 'polling'\nencoding = 'latin-1'\ntimezone = 'UTC+0200'\nverdict = 'drop'\n",
    )
    (jail,) = settings.jails
    assert settings.errors == ()
    assert (settings.state_dir, settings.socket, settings.socket_group) == ("/s", "/r/s", "pbx")
    assert (settings.logtarget, settings.loglevel, settings.firewall) == ("SYSLOG", "DEBUG", "nftables")
    assert (jail.filter.name, jail.logpath) == ("f[mode=ddos]", ("/a.log tail", "/b*.log"))
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


BAD_VALUES = [
    ('maxretry = "five"', 'maxretry = "five": not allowed; a whole number of 1 or more'),
    ("maxretry = 0", "maxretry = 0: not allowed; a whole number of 1 or more"),
    ("maxretry = -1", "maxretry = -1: not allowed"),
    ("maxretry = 1.5", "maxretry = 1.5: not allowed"),
    ("maxretry = true", "maxretry = true: not allowed"),
    ("maxretry = [5]", "maxretry = [5]: not allowed"),
    ("findtime = 0", "findtime = 0: not allowed; a time such as 600, 10m, 1h30m or 1d, longer than 0"),
    ("findtime = -1", "findtime = -1: not allowed"),
    ("findtime = inf", "findtime = inf: not allowed"),
    ("findtime = nan", "findtime = nan: not allowed"),
    ("bantime = -5", "bantime = -5: not allowed; a time such as 600, 10m, 1h30m or 1d, longer than 0, or -1 for ever"),
    ('bantime = "1x"', 'bantime = "1x": not allowed'),
    ("bantime = 1979-05-27", "bantime = 1979-05-27: not allowed"),
    (f"bantime = 0x{'f' * 5000}", "bantime = 0xfff"),
    ("port = 70000", "port = 70000: not allowed; a port (1 to 65535), a range"),
    ('port = ["5060", "sipp-x"]', 'port = "sipp-x": not allowed'),
    ("port = []", "port = []: not allowed"),
    ("port = true", "port = true: not allowed"),
    ("port = 5060.5", "port = 5060.5: not allowed"),
    ('protocol = "icmp"', 'protocol = "icmp": not allowed; tcp, udp, sctp, dccp, a list of these, or all'),
    ("protocol = 17", "protocol = 17: not allowed"),
    ('ignoreip = "192.0.2.0/33"', 'ignoreip = "192.0.2.0/33": not allowed; an address, a network'),
    ('ignoreip = ["192.0.2.1", "192.0.2.300"]', 'ignoreip = "192.0.2.300": not allowed'),
    ('ignoreip = "192.0.2.1 exa$mple.com"', 'ignoreip = "exa$mple.com": not allowed'),
    ('ignoreip = "192.0.2.x"', 'ignoreip = "192.0.2.x": not allowed'),
    ("ignoreip = 5", "ignoreip = 5: not allowed"),
    ("ignoreip = [5]", "ignoreip = 5: not allowed"),
    ('ignoreself = "yes"', 'ignoreself = "yes": not allowed; true or false'),
    ("usedns = true", "usedns = true: not allowed; yes, warn, no or raw"),
    ('backend = "gamin"', 'backend = "gamin": not allowed; auto, inotify, polling or systemd'),
    ('encoding = "utf-9"', 'encoding = "utf-9": not allowed; a text encoding'),
    ('encoding = "utf-32"', 'encoding = "utf-32": not allowed'),
    ('encoding = "rot13"', 'encoding = "rot13": not allowed'),
    ('encoding = "idna"', 'encoding = "idna": not allowed'),
    ("bantime.increment = true", "bantime.increment: unknown key; write bantime_increment"),
    (f"bantime_factor = 1{'0' * 400}", "bantime_factor = 0x1b4ec7f9"),
    ("port.x = true", "port = {…}: not allowed; a port (1 to 65535)"),
    ('timezone = "Mars/Olympus"', 'timezone = "Mars/Olympus": not allowed; UTC, UTC+0200'),
    ('timezone = "../../etc/passwd"', 'timezone = "../../etc/passwd": not allowed'),
    ('verdict = "allow"', 'verdict = "allow": not allowed; reject or drop'),
    ('verdict = "\\u001b[2J"', 'verdict = "\\u001b[2J": not allowed'),
    ('verdict = "\\u009b2J"', 'verdict = "\\x9b2J": not allowed'),
    ('logpath_first = "var/log/x"', 'logpath_first = "var/log/x": not allowed; a list of absolute paths'),
    ("logpath_first = []", "logpath_first = []: not allowed"),
    ("mxretry = 3", "mxretry = 3: unknown key; did you mean `maxretry`?"),
    ("banTime = 3", "banTime = 3: unknown key; did you mean `bantime`?"),
    ("colour = 3", "colour = 3: unknown key; known are enabled, filter, logpath,"),
    ("[pbx]\nenabled = true", "[pbx]: a jail's file has no tables; its name is the jail's name"),
]


@pytest.mark.parametrize(("row", "message"), BAD_VALUES, ids=lambda v: v[:40])
def test_bad_value(tree, row, message):
    """A bad value in a jail: one line with file, line, jail, key, value and what is allowed."""
    settings = tree.load(pbx=GOOD + row, well=GOOD)
    (line,) = tree.messages(settings)
    assert line.startswith(f"jails.d/pbx.toml:4: jail pbx: {message}")
    assert line.isprintable()
    assert [jail.name for jail in settings.jails] == ["well"]


ON = "enabled = true\n"
BAD_FILES = [
    ("enabled = 1\n", "jails.d/pbx.toml:1: jail pbx: enabled = 1: not allowed; true or false"),
    (
        f"\n{ON}logpath='/x'",
        'jails.d/pbx.toml:2: jail pbx: no filter; write filter = "NAME"; packaged jails are asterisk',
    ),
    (f"{ON}filter = 'f'", 'jails.d/pbx.toml:1: jail pbx: no logpath; write logpath = "/var/log/…"'),
    (f"{ON}filter = ''\nlogpath='/x'", 'jails.d/pbx.toml:2: jail pbx: filter = "": not allowed; the name of a filter'),
    (f"{ON}filter = 'none'\nlogpath='/x'", 'jails.d/pbx.toml:2: jail pbx: filter = "none": no filter named none'),
    (
        f"{ON}filter = 'broken'\nlogpath='/x'",
        'filters.d/broken.conf:7: jail pbx: filter = "broken": failregex: no <HOST>',
    ),
    (
        f"{ON}filter = 'f'\nlogpath = 'x.log'",
        'jails.d/pbx.toml:3: jail pbx: logpath = "x.log": not allowed; an absolute path',
    ),
    (f"{ON}filter = 'f'\nlogpath = []", "jails.d/pbx.toml:3: jail pbx: logpath = []: not allowed"),
    (
        f'{ON}filter = "f"\nlogpath = "/x\\u0000"',
        'jails.d/pbx.toml:3: jail pbx: logpath = "/x\\u0000": not allowed',
    ),
    (f"{ON}{ON}", "jails.d/pbx.toml:2: jail pbx: enabled is given twice, first in line 1"),
    ("enabled = yes", "jails.d/pbx.toml:1: jail pbx: enabled: the value is not understood; text needs quotes"),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES, ids=range(len(BAD_FILES)))
def test_bad_jail(tree, text, message):
    """A jail that cannot be: one line, and the others run."""
    settings = tree.load(pbx=text, well=GOOD, asterisk_packaged="filter = 'f'")
    (line,) = tree.messages(settings)
    assert line.startswith(message)
    assert [jail.name for jail in settings.jails] == ["well"]


def test_every_error_of_a_jail_in_order(tree):
    """All that is wrong is told at once, in the order of lines."""
    settings = tree.load(pbx=GOOD + "port = 0\nmxretry = 1\nmaxretry = 0\n")
    assert [line.split(": ")[0] for line in tree.messages(settings)] == [f"jails.d/pbx.toml:{n}" for n in (4, 5, 6)]


def test_near_name(tree):
    """A file that misspells a packaged jail is told so."""
    settings = tree.load(astrisk="enabled = true\nlogpath = '/x'", asterisk_packaged="filter = 'f'")
    assert "did you mean `asterisk`?" in tree.messages(settings)[0]


@pytest.mark.parametrize("name", ["a b", "x" * 33, "a.b", "-x", "é"])
def test_name_that_is_no_jail(tree, name):
    """The file's name must serve as a jail's name in every firewall."""
    settings = tree.load(**{name: GOOD})
    assert settings.jails == ()
    assert "not a name for a jail; the file's name is the jail's name" in tree.messages(settings)[0]


BAD_MAIN = [
    ('loglevel = "loud"', 1, 'loglevel = "loud": not allowed; CRITICAL, ERROR, WARNING, NOTICE, INFO or DEBUG'),
    ("\nlogleve = 1", 2, "logleve: unknown key; did you mean `loglevel`?"),
    ("bantime = 5", 1, "bantime = 5: a jail's key; write it below [defaults]"),
    ("[jails]\nx = 1", 1, "[jails]: unknown table; known are state_dir"),
    ("[default]\nx = 1", 1, "[default]: unknown table; did you mean `defaults`?"),
    ("defaults = 1", 1, "defaults = 1: not allowed; it is a table, [defaults]"),
    ("[firewall]\nbackend = 'pf'", 2, '[firewall] backend = "pf": not allowed; auto, nftables'),
    ("[firewall]\nbackends = 'pf'", 2, "[firewall] backends: unknown key; did you mean `backend`?"),
    ("[defaults]\nmaxretry = 0", 2, "[defaults] maxretry = 0: not allowed; a whole number of 1 or more"),
    ("[defaults]\nmaxretries = 1", 2, "[defaults] maxretries: unknown key; did you mean `maxretry`?"),
    ("defaults.bantime = 0", 1, "[defaults] bantime = 0: not allowed"),
    ("state_dir = 'x'", 1, 'state_dir = "x": not allowed; an absolute path'),
    ("socket_group = 5", 1, "socket_group = 5: not allowed"),
    ("logtarget = 'STDOUTS'", 1, 'logtarget = "STDOUTS": not allowed'),
    ("loglevel = INFO", 1, "loglevel: the value is not understood; text needs quotes"),
]


@pytest.mark.parametrize(("text", "line", "message"), BAD_MAIN, ids=[row[0] for row in BAD_MAIN])
def test_bad_main(tree, text, line, message):
    """An error in sipguard.toml stops all."""
    with pytest.raises(ConfigError) as caught:
        tree.load(main=text, pbx=GOOD)
    assert str(caught.value).startswith(f"{tree.directory}/sipguard.toml:{line}: {message}")


def test_no_files(tmp_path, monkeypatch):
    """The default file may be missing; one that is named may not."""
    monkeypatch.setattr(paths, "CONFIG_DIR", tmp_path)
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
    assert settings.warnings == (f"{tree.directory}/jails.d/x.conf: not read; the file of a jail ends in .toml",)


def test_jails_that_are_no_folder(tree):
    """A file in the place of jails.d is not taken for none at all."""
    (tree.directory / "sipguard.toml").touch()
    (tree.directory / "jails.d").touch()
    with pytest.raises(ConfigError, match=r"jails\.d: cannot be read: Not a directory"):
        load(tree.directory / "sipguard.toml")


class TestWhichLog:
    """`logpath` follows all, `logpath_first` the first that exists."""

    @pytest.fixture
    def logs(self, tree, tmp_path):
        for name in ("b.log", "c.log"):
            (tmp_path / name).touch()

        def load_with(rows):
            settings = tree.load(pbx="enabled = true\nfilter = 'f'\n" + rows.replace("@", str(tmp_path)))
            (jail,) = settings.jails
            return [path.replace(str(tmp_path), "@") for path in jail.logpath], settings.warnings

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


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "jails").glob("*.toml")))
def test_packaged_jail(tree, name):
    """Every packaged jail needs one line to run, does not enable itself, and leaves times to [defaults].

    `recidive` is no service: it is about times, and closes every port.
    """
    tree.write(main="[defaults]\nbantime = '3d'\n", **{name: "enabled = true\n"})
    settings = load(tree.directory / "sipguard.toml", read_filter=read_filter)
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


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@given(st.sampled_from([key for keys in SECTIONS.values() for key in keys]), VALUES)
def test_any_value_is_read_or_refused(key, value):
    """Whatever TOML can hold: a value, or one printable line."""
    try:
        key.read(value, "f:1")
        message = "f:1"
    except ConfigError as error:
        message = str(error)
    assert message.startswith("f:1")
    assert message.isprintable()
    assert len(message) < 300


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
    settings = load(tree.directory / "sipguard.toml", read_filter=read_filter)
    assert settings.errors == ()
    (jail,) = settings.jails
    assert jail.growth == BanGrowth(increment=True, multipliers=(1, 5), maxtime=86400.0)
    assert (jail.journal, jail.logpath) == (True, ())
    assert jail.filter.journalmatch == ("_SYSTEMD_UNIT=asterisk.service",)
    assert (jail.ignorecommand, jail.ignoreip) == ("/bin/known <ip>", ("file:/etc/known", "192.0.2.1"))
