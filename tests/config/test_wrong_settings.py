"""What is wrong in the native configuration: one line with file, line, jail and key each, and a bad jail stops no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import names_of_ports

from sipguard.config.schema import SECTIONS
from sipguard.config.settings import load
from sipguard.errors import ConfigError

GOOD = "enabled = true\nfilter = 'f'\nlogpath = '/dev/null'\n"

BAD_VALUES = [
    ('maxretry = "five"', 'maxretry = "five": must be a whole number of 1 or more'),
    ("maxretry = 0", "maxretry = 0: must be a whole number of 1 or more"),
    ("maxretry = -1", "maxretry = -1: must be"),
    ("maxretry = 1.5", "maxretry = 1.5: must be"),
    ("maxretry = true", "maxretry = true: must be"),
    ("maxretry = [5]", "maxretry = [5]: must be"),
    ("findtime = 0", "findtime = 0: must be a time such as 600, 10m, 1h30m or 1d, longer than 0"),
    ("findtime = -1", "findtime = -1: must be"),
    ("findtime = inf", "findtime = inf: must be"),
    ("findtime = nan", "findtime = nan: must be"),
    ("bantime = -5", "bantime = -5: must be a time such as 600, 10m, 1h30m or 1d, longer than 0, or -1 for ever"),
    ('bantime = "1x"', 'bantime = "1x": must be'),
    ("bantime = 1979-05-27", "bantime = 1979-05-27: must be"),
    (f"bantime = 0x{'f' * 5000}", "bantime = 0xfff"),
    ("port = 70000", "port = 70000: must be a port (1 to 65535), a range"),
    pytest.param('port = ["5060", "sipp-x"]', 'port = "sipp-x": must be', marks=names_of_ports),
    ("port = []", "port = []: must be"),
    ("port = true", "port = true: must be"),
    ("port = 5060.5", "port = 5060.5: must be"),
    ('protocol = "icmp"', 'protocol = "icmp": must be tcp, udp, sctp, dccp, a list of these, or all'),
    ("protocol = 17", "protocol = 17: must be"),
    ("ignoreip = 5", "ignoreip = 5: must be"),
    ("ignoreip = true", "ignoreip = true: must be"),
    ('ignoreself = "yes"', 'ignoreself = "yes": must be true or false'),
    ("usedns = true", "usedns = true: must be yes, warn, no or raw"),
    ('backend = "gamin"', 'backend = "gamin": must be auto, inotify, polling or systemd'),
    ('encoding = "utf-9"', 'encoding = "utf-9": must be a text encoding'),
    ('encoding = "utf-32"', 'encoding = "utf-32": must be'),
    ('encoding = "rot13"', 'encoding = "rot13": must be'),
    ('encoding = "idna"', 'encoding = "idna": must be'),
    ("bantime.increment = true", "bantime.increment: unknown key; write bantime_increment"),
    (f"bantime_factor = 1{'0' * 400}", "bantime_factor = 0x1b4ec7f9"),
    ("port.x = true", "port = {…}: must be a port (1 to 65535)"),
    ('timezone = "Mars/Olympus"', 'timezone = "Mars/Olympus": must be UTC, UTC+0200'),
    ('timezone = "../../etc/passwd"', 'timezone = "../../etc/passwd": must be'),
    ('verdict = "allow"', 'verdict = "allow": must be reject or drop'),
    ('verdict = "\\u001b[2J"', 'verdict = "\\u001b[2J": must be'),
    ('verdict = "\\u009b2J"', 'verdict = "\\x9b2J": must be'),
    ('logpath_first = "var/log/x"', 'logpath_first = "var/log/x": must be a list of absolute paths'),
    ("logpath_first = []", "logpath_first = []: must be"),
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
    ("enabled = 1\n", "jails.d/pbx.toml:1: jail pbx: enabled = 1: must be true or false"),
    (
        f"\n{ON}logpath='/x'",
        'jails.d/pbx.toml:2: jail pbx: no filter; write filter = "NAME"; packaged jails are asterisk',
    ),
    (f"{ON}filter = 'f'", 'jails.d/pbx.toml:1: jail pbx: no logpath; write logpath = "/var/log/…"'),
    (f"{ON}filter = ''\nlogpath='/x'", 'jails.d/pbx.toml:2: jail pbx: filter = "": must be the name of a filter'),
    (f"{ON}filter = 'none'\nlogpath='/x'", 'jails.d/pbx.toml:2: jail pbx: filter = "none": no filter named none'),
    (
        f"{ON}filter = 'broken'\nlogpath='/x'",
        'filters.d/broken.conf:7: jail pbx: filter = "broken": failregex: no <HOST>',
    ),
    (
        f"{ON}filter = 'f'\nlogpath = 'x.log'",
        'jails.d/pbx.toml:3: jail pbx: logpath = "x.log": must be an absolute path',
    ),
    (f"{ON}filter = 'f'\nlogpath = []", "jails.d/pbx.toml:3: jail pbx: logpath = []: must be"),
    (
        f'{ON}filter = "f"\nlogpath = "/x\\u0000"',
        'jails.d/pbx.toml:3: jail pbx: logpath = "/x\\u0000": must be',
    ),
    (f"{ON}{ON}", "jails.d/pbx.toml:2: jail pbx: enabled is given twice, first in line 1"),
    ("enabled = yes", "jails.d/pbx.toml:1: jail pbx: enabled: yes: write true"),
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
    assert "invalid jail name; rename the file" in tree.messages(settings)[0]


BAD_MAIN = [
    ('loglevel = "loud"', 1, 'loglevel = "loud": must be CRITICAL, ERROR, WARNING, NOTICE, INFO or DEBUG'),
    ("\nlogleve = 1", 2, "logleve: unknown key; did you mean `loglevel`?"),
    ("bantime = 5", 1, "bantime = 5: a jail's key; write it below [defaults]"),
    ("[jails]\nx = 1", 1, "[jails]: unknown table; known are state_dir"),
    ("[default]\nx = 1", 1, "[default]: unknown table; did you mean `defaults`?"),
    ("defaults = 1", 1, "defaults = 1: must be a table, [defaults]"),
    ("[firewall]\nbackend = 'pf'", 2, '[firewall] backend = "pf": must be auto, nftables'),
    ("[firewall]\nbackends = 'pf'", 2, "[firewall] backends: unknown key; did you mean `backend`?"),
    ("[defaults]\nmaxretry = 0", 2, "[defaults] maxretry = 0: must be a whole number of 1 or more"),
    ("[defaults]\nmaxretries = 1", 2, "[defaults] maxretries: unknown key; did you mean `maxretry`?"),
    ("defaults.bantime = 0", 1, "[defaults] bantime = 0: must be"),
    ("state_dir = 'x'", 1, 'state_dir = "x": must be an absolute path'),
    ("socket_group = 5", 1, "socket_group = 5: must be"),
    ("logtarget = 'STDOUTS'", 1, 'logtarget = "STDOUTS": must be'),
    ("loglevel = INFO", 1, "loglevel: the value is not understood; text needs quotes"),
]


@pytest.mark.parametrize(("text", "line", "message"), BAD_MAIN, ids=[row[0] for row in BAD_MAIN])
def test_bad_main(tree, text, line, message):
    """An error in sipguard.toml stops all."""
    with pytest.raises(ConfigError) as caught:
        tree.load(main=text, pbx=GOOD)
    assert str(caught.value).startswith(f"{tree.directory}/sipguard.toml:{line}: {message}")


def test_jails_that_are_no_folder(tree):
    """A file in the place of jails.d is not taken for none at all."""
    (tree.directory / "sipguard.toml").touch()
    (tree.directory / "jails.d").touch()
    with pytest.raises(ConfigError, match=r"jails\.d: cannot be read: Not a directory"):
        load(tree.directory / "sipguard.toml")


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
