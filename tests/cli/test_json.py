"""What `--json` prints holds to docs/json-schema.json, and has no field that stands not there; the manual is made of it."""

from __future__ import annotations

import json

import jsonschema
import pytest
from annotations import LOGS
from command_line import sipguard
from json_manual import BEGIN, DOCS, SCHEMA, hold, manual
from running import append, failure, running

ATTACKER, LISTED = "203.0.113.66", "198.51.100.9"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """One who is banned, one who is counted, one who is listed, a ban that is over."""
    folder = tmp_path_factory.mktemp("json")
    log, feed = folder / "freeswitch.log", folder / "list.txt"
    log.touch()
    feed.write_text(f"{LISTED}\n")
    action = {"type": "exec", "name": "note", "command": ["/bin/true"]}
    with running(folder, {"freeswitch": {"logpath": str(log), "maxretry": 3, "actions": [action]}}) as one:
        append(one.config, f'[feeds.office]\nfile = "{feed}"\n')
        one.sipguard("reload")
        append(log, failure(ATTACKER) * 3 + failure("203.0.113.7"))
        one.wait_logged(f"Ban {ATTACKER}")
        one.sipguard("ban", "192.0.2.200", "--time", "1s")
        one.wait_logged("Unban 192.0.2.200")
        yield one


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("status", ["status"], 0),
        ("status", ["status", "freeswitch", "--counted"], 0),
        ("bans", ["bans"], 0),
        ("bans", ["bans", "192.0.2.1"], 1),
        ("history", ["history"], 0),
        ("explain", ["explain", ATTACKER], 0),
        ("explain", ["explain", LISTED], 0),
        ("explain", ["explain", "203.0.113.7"], 1),
        ("feeds", ["feeds"], 0),
        ("feed", ["feeds", "refresh", "office"], 0),
        ("fleet", ["fleet"], 1),
        ("firewall_verify", ["firewall", "verify"], 0),
        ("reload", ["reload"], 0),
        ("banned", ["ban", "192.0.2.7"], 0),
        ("banned", ["unban", "192.0.2.7"], 0),
        ("banned", ["ban", "192.0.2.8", "--time", "-1"], 0),
        ("banned", ["flush", "--yes"], 0),
    ],
)
def test_answers_of_the_daemon(daemon, name, arguments, status):
    """On a played attack."""
    done = daemon.sipguard(*arguments, "--json", check=False)
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.isascii()
    value = json.loads(done.stdout)
    hold(name, value)
    if isinstance(value, dict) and {"bans", "attempts", "jails"} & value.keys() and status == 0:
        assert any(value.get(key) for key in ("bans", "attempts", "jails", "feeds")), "something to hold to it"


def test_check(daemon):
    """A configuration that is right, and one that is wrong."""
    hold("check", json.loads(sipguard("check", "--json", "-c", daemon.config).stdout))
    daemon.write_jail("broken", maxretry=0)
    wrong = json.loads(sipguard("check", "--json", "-c", daemon.config).stdout)
    (daemon.folder / "jails.d" / "broken.toml").unlink()
    hold("check", wrong)
    assert wrong["errors"]


def test_lines_of_test_filter():
    """One for each line, whether it matches or not."""
    lines = sipguard("test-filter", "--json", LOGS / "freeswitch-debug.log", "freeswitch").stdout.splitlines()
    for line in lines:
        hold("test_filter", json.loads(line))
    assert '"matched": true' in "".join(lines)


def test_lines_of_replay():
    """One for each address, and the summary."""
    *lines, last = sipguard(
        "replay", "--json", "--jail", "freeswitch", LOGS / "freeswitch-debug.log"
    ).stdout.splitlines()
    for line in lines:
        hold("replay", json.loads(line))
    assert lines
    hold("replay_summary", json.loads(last))


def test_a_field_too_many_or_too_few_is_found():
    """What these tests rest on."""
    good = {"jails": [], "errors": []}
    hold("reload", good)
    for bad in ({**good, "more": 1}, {"jails": []}, {**good, "errors": [1]}):
        with pytest.raises(AssertionError):
            hold("reload", bad)


def test_the_manual():
    """docs/json.md has every field, word for word: `python tests/json_manual.py` writes it."""
    assert (DOCS / "json.md").read_text().partition(BEGIN)[2] == "\n" + manual()


def test_the_schema_is_one():
    """By the rules of JSON Schema; every field says what it is."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert all(one.get("description") for one in SCHEMA["$defs"].values())
