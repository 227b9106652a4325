"""`events` of a jail: what is refused, and that no secret is shown."""

from pathlib import Path

import pytest

from sipguard.config.events import parse, password_of
from sipguard.config.plain import plain
from sipguard.config.settings import load
from sipguard.errors import ConfigError

SECRET = "hunter2hunter2"


@pytest.fixture
def tree(tmp_path):
    """Loads a jail `pbx` with these lines; the password file is beside it."""
    (tmp_path / "jails.d").mkdir()
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    (tmp_path / "sipguard.toml").write_text("")

    def run(*lines, file=True):
        own = [f'events_password_file = "{secret}"'] if file else []
        (tmp_path / "jails.d/pbx.toml").write_text("\n".join(["enabled = true", *own, *lines]))
        return load(tmp_path / "sipguard.toml")

    run.secret = secret
    return run


@pytest.mark.parametrize(
    "url", ["freeswitch://127.0.0.1:8021", "asterisk://me@[::1]:5038", "freeswitch://localhost:8021"]
)
def test_a_jail_with_events_needs_neither_log_nor_filter(tree, url):
    """It has the server's filter, for how reports of one attempt become one."""
    settings = tree(f'events = "{url}"')
    assert settings.errors == ()
    (jail,) = settings.jails
    assert (jail.events, jail.logpath, jail.filter.name) == (url, (), url.partition(":")[0])
    assert SECRET not in str(plain(jail))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"freeswitch://me:{SECRET}@127.0.0.1:8021", "without a password"),
        ("freeswitch://me@127.0.0.1:8021", "must be freeswitch://"),
        ("asterisk://127.0.0.1:5038", "must be freeswitch://"),
        ("http://127.0.0.1:80", "must be freeswitch://"),
        ("freeswitch://127.0.0.1", "must be freeswitch://"),
        ("freeswitch://127.0.0.1:99999", "must be freeswitch://"),
        ("freeswitch://198.51.100.7:8021", "allow_remote = true"),
        ("freeswitch://0.0.0.0:8021", "allow_remote = true"),
    ],
)
def test_what_is_no_place_of_events_is_refused(tree, url, said):
    """In one line with its place; a password in it is not repeated."""
    (error,) = tree(f'events = "{url}"').errors
    assert said in str(error)
    assert "pbx.toml:" in str(error)
    assert SECRET not in str(error)


def test_another_machine_is_allowed_by_a_word(tree):
    """The password goes there unencrypted."""
    settings = tree('events = "freeswitch://198.51.100.7:8021"', "allow_remote = true")
    assert settings.errors == ()


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644])
def test_a_password_that_others_can_read_is_refused(tree, mode):
    """With its file and how to mend it."""
    tree.secret.chmod(mode)
    (error,) = tree('events = "freeswitch://127.0.0.1:8021"').errors
    assert f"{tree.secret}: others can read" in str(error)
    assert "chmod 600" in str(error)


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"\xff", b"x" * 300])
def test_a_file_without_a_password_is_refused(tree, content):
    """And what is in it is not told."""
    tree.secret.write_bytes(content)
    (error,) = tree('events = "freeswitch://127.0.0.1:8021"').errors
    assert str(tree.secret) in str(error)


def test_asterisk_needs_a_password_file(tree):
    """manager.conf has passwords of others too."""
    (error,) = tree('events = "asterisk://me@127.0.0.1:5038"', file=False).errors
    assert "events_password_file: missing" in str(error)


def test_freeswitch_own_file(tmp_path):
    """Its password, if nobody else may read the file."""
    own = tmp_path / "event_socket.conf.xml"
    own.write_text(f'<configuration><settings><param name="password" value="{SECRET}"/></settings></configuration>')
    own.chmod(0o640)
    assert password_of("", [Path("/nowhere/at/all"), own]).reveal() == SECRET
    own.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read") as caught:
        password_of("", [own])
    assert SECRET not in str(caught.value)
    own.chmod(0o640)
    for wrong in ("<a", "<a/>", '<a><param name="password" value="$${secret}"/></a>'):
        own.write_text(wrong)
        with pytest.raises(ConfigError, match="events_password_file"):
            password_of("", [own])
    with pytest.raises(ConfigError, match="missing"):
        password_of("", [])


def test_the_parts_of_a_place():
    """User, address and port."""
    assert parse("asterisk://a.b-c@[2001:db8::1]:5038") == ("asterisk", "a.b-c", "2001:db8::1", 5038)
    assert not parse("freeswitch://198.51.100.1:8021").is_local
