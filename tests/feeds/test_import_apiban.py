"""`sipguard feeds import-apiban`: the original client's key and ID taken over, the key shown to nobody."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from sipguard.cli.feeds import command
from sipguard.config.settings import load
from sipguard.errors import FeedError, SipguardError
from sipguard.feeds import original

KEY = "0riginal-key-0123456789"


def client_config(folder, **more):
    path = folder / "config.json"
    path.write_text(json.dumps({"APIKEY": KEY, "LKID": "1700000000", "VERSION": "0.7", "FLUSH": "200"} | more))
    return path


def take_over(source, config, *options):
    return CliRunner().invoke(
        command, ["import-apiban", str(source), "-c", str(config), *options], catch_exceptions=True
    )


@pytest.mark.parametrize(("options", "start"), [((), "100"), (("--continue",), "1700000000")])
def test_taken_over(tmp_path, options, start):
    """The key goes into a file that its owner alone reads, the table into sipguard.toml; the client's file stays as it is."""
    source, config = client_config(tmp_path), tmp_path / "etc" / "sipguard.toml"
    before = source.read_bytes()
    result = take_over(source, config, *options)
    assert result.exit_code == 0, result.exception
    assert KEY not in result.output + config.read_text()
    (feed,) = load(config).feeds
    assert (feed.key, feed.start) == (KEY, start)
    assert stat.S_IMODE((tmp_path / "etc" / "apiban.key").stat().st_mode) == 0o600
    assert source.read_bytes() == before


def test_beside_other_settings(tmp_path):
    """What sipguard.toml holds stays, even if its last line has no end; a second time is refused."""
    source, config = client_config(tmp_path), tmp_path / "sipguard.toml"
    config.write_text('[firewall]\nverdict = "drop"')
    assert take_over(source, config).exit_code == 0
    loaded = load(config)
    assert (loaded.feeds[0].verdict, loaded.errors) == ("drop", ())
    again = take_over(source, config)
    assert isinstance(again.exception, SipguardError)
    assert "already" in str(again.exception)


@pytest.mark.parametrize("place", original.PLACES)
def test_usual_places(tmp_path, place):
    """The clients' documented places are found, in JSON and in the shell client's form."""
    path = tmp_path / Path(place).expanduser().relative_to("/")
    path.parent.mkdir(parents=True)
    path.write_text(f"APIKEY={KEY}\nLKID=100\n" if place.endswith(".sys") else json.dumps({"apikey": KEY, "lkid": ""}))
    found = original.read(original.find(tmp_path))
    assert (found.key, found.last_id) == (KEY, "100" if place.endswith(".sys") else "")
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "[" * 50_000, '{"APIKEY": "MY API KEY"}', '{"APIKEY": 5}', "\x00" * 100, '{"APIKEY": "a b"}'],
)
def test_no_configuration(tmp_path, text):
    """What holds no key is told as that."""
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(FeedError, match="contains no valid APIKEY"):
        original.read(path)


def test_nowhere(tmp_path):
    """When no place has one, they are named."""
    with pytest.raises(FeedError, match="import-apiban PATH"):
        original.find(tmp_path)
    with pytest.raises(FeedError, match="No such file"):
        original.read(tmp_path / "config.json")


def test_nothing_to_continue(tmp_path):
    """--continue without an ID is refused before anything is written."""
    config = tmp_path / "sipguard.toml"
    result = take_over(client_config(tmp_path, LKID=""), config, "--continue")
    assert "holds no last ID" in str(result.exception)
    assert not config.exists()
