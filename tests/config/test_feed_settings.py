"""`[feeds.NAME]` of sipguard.toml: what is read, and the one line that says what is wrong, where, without the key."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from sipguard.cli.check import command as check
from sipguard.config.feeds import APIBAN_KEYS, LIST_KEYS
from sipguard.config.settings import load
from sipguard.model import Feed

KEY = "k3y-of-the-test-0123456789"


def settings(tmp_path, text):
    path = tmp_path / "sipguard.toml"
    path.write_text(text)
    return load(path)


def test_apiban_and_lists(tmp_path):
    """APIBAN needs a key alone; a list needs to say where it is; `[firewall]` gives the verdict."""
    text = (
        f'[firewall]\nverdict = "DROP"\n[feeds.apiban]\nkey = "{KEY}"\n'
        '[feeds.drop]\nurl = "https://lists.example.com/drop.txt"\ninterval = "6h"\nmax_size = 1\npriority = 1\n'
        "max_growth = 1.5\n"
        '[feeds.own]\nfile = "/srv/own.txt"\nverdict = "reject"\nformat = "netset"\n'
    )
    loaded = settings(tmp_path, text)
    assert loaded.errors == ()
    apiban, drop, own = loaded.feeds
    assert apiban == Feed("apiban", url="https://apiban.org/api", key=KEY, interval=300.0, verdict="drop")
    assert (drop.interval, drop.max_size, drop.priority, drop.max_growth) == (21_600.0, 1 << 20, 1, 1.5)
    assert (own.file, own.verdict, own.format, own.key) == ("/srv/own.txt", "reject", "netset", "")


def test_key_file(tmp_path):
    """The key may stand in a file of its own."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    (feed,) = settings(tmp_path, f'[feeds.apiban]\nkey_file = "{tmp_path}/key"\nstart = 2000\n').feeds
    assert (feed.key, feed.start) == (KEY, "2000")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        pytest.param("[feeds.apiban]\n", 1, "give the key", id="no-key"),
        pytest.param(f'[feeds.apiban]\nkey = "{KEY}"\nkey_file = "/x"\n', 1, "either", id="two-keys"),
        pytest.param(f'[feeds.apiban]\nkey = "{KEY}!"\n', 2, "key = …: must be", id="bad-key"),
        pytest.param('[feeds.apiban]\nkey_file = "/nonexistent"\n', 2, "cannot be read", id="no-key-file"),
        pytest.param('[feeds.apiban]\nkey_file = "/etc/hostname/x"\n', 2, "cannot be read", id="key-file-below-a-file"),
        pytest.param(
            f'[feeds.apiban]\nkey = "{KEY}"\nformat = "plain"\n', 3, "format: unknown key", id="apiban-format"
        ),
        pytest.param(f'[feeds.apiban]\nkey = "{KEY}"\nurl = "http://x.example"\n', 3, "https://", id="http"),
        pytest.param('[feeds.x]\nurl = "ftp://x.example/"\n', 2, "https://", id="ftp"),
        pytest.param('[feeds.x]\nurl = "https://u:p@x.example/"\n', 2, "https://", id="password"),
        pytest.param('[feeds.x]\nurl = "https://x.example:99999/"\n', 2, "https://", id="port"),
        pytest.param('[feeds.x]\nurl = "https://[::1/"\n', 2, "https://", id="bracket"),
        pytest.param("[feeds.x]\ninterval = 60\n", 1, "say where the list is", id="nowhere"),
        pytest.param('[feeds.x]\nfile = "/x"\nurl = "https://x.example"\n', 1, "either", id="two-places"),
        pytest.param('[feeds.x]\nfile = "/x"\ninterval = 59\n', 3, "at least 1m", id="too-often"),
        pytest.param('[feeds.x]\nfile = "/x"\nmax_growth = 1\n', 3, "above 1", id="growth"),
        pytest.param('[feeds.x]\nfile = "/x"\nmax_size = 5000\n', 3, "MiB", id="size"),
        pytest.param('[feeds.x]\nfile = "/x"\nexpiry = -1\n', 3, "longer than 0", id="for-ever"),
        pytest.param('[feeds.x]\nfile = "/x"\npriority = -1\n', 3, "0 to 1000", id="priority"),
        pytest.param('[feeds.x]\nfile = "/x"\nintervall = 60\n', 3, "did you mean `interval`?", id="typo"),
        pytest.param('[feeds.Drop]\nfile = "/x"\n', 1, "invalid feed name", id="name"),
        pytest.param('[feeds]\nx = "/x"\n', 2, "must be a table", id="no-table"),
        pytest.param('feeds = "x"\n', 1, "must be a table", id="no-tables"),
    ],
)
def test_errors(tmp_path, text, line, message):
    """One line with file and line; the other feeds and the jails go on; the key is not in it."""
    loaded = settings(tmp_path, text)
    (error,) = loaded.errors
    assert error.where == f"{tmp_path}/sipguard.toml:{line}"
    assert message in error.what
    assert loaded.feeds == ()
    assert KEY not in str(error)


def test_one_wrong_feed_does_not_stop_others(tmp_path):
    """A wrong feed is left out alone."""
    loaded = settings(tmp_path, '[feeds.bad]\nx = 1\n[feeds.good]\nfile = "/x"\n')
    assert [feed.name for feed in loaded.feeds] == ["good"]
    assert len(loaded.errors) == 1


@pytest.mark.parametrize("line", [f"key = {KEY}", f'key = "{KEY}', f"key = '{KEY}\""])
def test_a_key_without_quotes_is_not_shown(tmp_path, line):
    """A mistake in the very line of the key does not print it."""
    (tmp_path / "sipguard.toml").write_text(f"[feeds.apiban]\n{line}\n")
    result = CliRunner().invoke(check, ["-c", str(tmp_path / "sipguard.toml")])
    assert result.exit_code == 2
    assert ":2: " in result.output
    assert KEY not in result.output


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_check_shows_feeds_without_secrets(tmp_path, option):
    """`sipguard check` names the feeds and where they come from, without key, password or token."""
    text = f'[feeds.apiban]\nkey = "{KEY}"\n[feeds.drop]\nurl = "https://lists.example.com/drop.txt?token=s3cret"\n'
    text += '[firewall]\nbackend = "memory"\n'
    (tmp_path / "sipguard.toml").write_text(text)
    result = CliRunner().invoke(check, ["-c", str(tmp_path / "sipguard.toml"), *option])
    assert result.exit_code == 0
    assert "https://lists.example.com/" in result.output
    assert "drop.txt" not in result.output  # a path may be a token
    assert "apiban" in result.output
    assert KEY not in result.output
    assert "s3cret" not in result.output


def test_every_key_has_a_field():
    """Each row of the tables goes to a field of the model."""
    names = {field.name for field in fields(Feed)} | {"key_file"}
    assert {key.name for key in (*APIBAN_KEYS, *LIST_KEYS)} <= names


def test_without_feeds_nothing_of_them_is_loaded():
    """A daemon without feeds imports neither them nor httpx."""
    script = (
        "import sys, sipguard.daemon.start; print([m for m in sys.modules if 'httpx' in m or 'sipguard.feeds' in m])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("key", [*APIBAN_KEYS, *LIST_KEYS], ids=lambda key: key.name)
def test_the_manual_has_every_key(key):
    """docs/feeds.md has a row for each key, with the words that the program uses."""
    manual = (Path(__file__).parents[2] / "docs" / "feeds.md").read_text()
    rows = [line for line in manual.splitlines() if line.startswith(f"| `{key.name}` |")]
    assert any(key.help in row for row in rows)
