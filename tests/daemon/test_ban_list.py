"""All bans of all jails: filtered, sorted, a page at a time; and those that are over."""

import json
import time

import pytest
from running import append, ask, failure, running

from sipguard.cli import ban_table
from sipguard.daemon import ban_list
from sipguard.errors import SipguardError

FIRST, SECOND, THIRD = "203.0.113.66", "203.0.113.9", "198.51.100.7"


def test_the_command_knows_the_orders_of_the_daemon():
    """It does not import them: it would start late."""
    assert ban_table.ORDERS == ban_list.ORDERS


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """Two attackers, one of them let through again, and one ban by hand."""
    folder = tmp_path_factory.mktemp("bans")
    log = folder / "freeswitch.log"
    log.touch()
    with running(folder, {"freeswitch": {"logpath": str(log), "maxretry": 3}}) as one:
        append(log, failure(FIRST, "1000") * 2 + failure(FIRST, "boss"))
        one.wait_logged(f"Ban {FIRST}")
        append(log, failure(SECOND, "1001") * 3)
        one.wait_logged(f"Ban {SECOND}")
        one.sipguard("ban", THIRD, "--reason", "toll fraud")
        one.sipguard("ban", "192.0.2.200", "--time", "1s")
        one.wait_logged("Unban 192.0.2.200")
        yield one


def addresses(page):
    return [ban["address"] for ban in page["bans"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [THIRD, SECOND, FIRST]),
        ({"reverse": True}, [FIRST, SECOND, THIRD]),
        ({"sort": "address"}, [THIRD, SECOND, FIRST]),
        ({"sort": "until", "reverse": True}, [THIRD, SECOND, FIRST]),
        ({"sort": "attempts", "limit": 1}, [SECOND]),
        ({"limit": 1, "from": 1}, [SECOND]),
        ({"jail": "freeswitch"}, [SECOND, FIRST]),
        ({"user": "boss"}, [FIRST]),
        ({"user": "nobody"}, []),
        ({"evidence": "hand"}, [THIRD]),
        ({"address": "203.0.113.0/24"}, [SECOND, FIRST]),
        ({"address": FIRST}, [FIRST]),
    ],
)
def test_what_is_asked_for(daemon, query, found):
    """Each word of a question."""
    assert addresses(ask(daemon.socket, "bans", **query)) == found


def test_what_a_ban_tells(daemon):
    """The users are those of its attempts."""
    page = ask(daemon.socket, "bans", address=FIRST)
    (ban,) = page["bans"]
    assert page["total"] == 1
    assert (ban["jail"], ban["attempts"], ban["users"], ban["user_count"]) == ("freeswitch", 3, ["1000", "boss"], 2)
    assert (ban["ended"], ban["packets"]) == (None, None), "memory counts no packets"


def test_history_has_what_is_over(daemon):
    """And what is live; none of it from before the time that is asked about."""
    page = ask(daemon.socket, "history", since="1h", sort="address")
    assert addresses(page) == ["192.0.2.200", THIRD, SECOND, FIRST]
    over = page["bans"][0]
    assert over["since"] < over["ended"] <= over["until"] <= time.time()
    assert (over["evidence"], over["count"]) == ("hand", 1)
    time.sleep(max(0.0, over["ended"] + 1.1 - time.time()))
    assert addresses(ask(daemon.socket, "history", since="1s", sort="address")) == [THIRD, SECOND, FIRST]


@pytest.mark.parametrize(
    "query",
    [
        {"sort": "beauty"},
        {"limit": 0},
        {"limit": 10**9},
        {"from": -1},
        {"address": "x"},
        {"jail": "none"},
        {"limit": "a"},
    ],
)
def test_what_cannot_be_asked(daemon, query):
    """One line, and no more."""
    with pytest.raises(SipguardError):
        ask(daemon.socket, "bans", **query)


def test_the_commands(daemon):
    """As people and programs see it."""
    lines = daemon.sipguard("bans").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [THIRD, SECOND, FIRST, "3 bans"]
    assert lines[0].endswith("toll fraud")
    assert json.loads(daemon.sipguard("bans", "--json", "--user", "boss").stdout)["total"] == 1
    assert (
        daemon.sipguard("bans", "--limit", "2").stdout.splitlines()[-1] == "1 to 2 of 3 bans; the next page: --from 2"
    )
    none = daemon.sipguard("bans", "2001:db8::1", check=False)
    assert (none.returncode, none.stdout) == (1, "nobody is banned\n")
    assert daemon.sipguard("history", "--since", "1h", "192.0.2.0/24").stdout.startswith("192.0.2.200\tby-hand\t")
    wrong = daemon.sipguard("history", "--since", "soon", check=False)
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "sipguard: --since: soon: invalid duration; expected e.g. 10m or 1h30m\n",
    )


def test_the_reading_socket_answers(daemon):
    """It is a question like any other."""
    assert ask(daemon.folder / "run-read.sock", "bans")["total"] == 3
    assert ask(daemon.folder / "run-read.sock", "history")["total"] == 4


def test_sweeping_commands_ask(daemon):
    """Without a terminal nobody can be asked: nothing is done without --yes."""
    for arguments in (["flush"], ["unban", "--all"]):
        done = daemon.sipguard(*arguments, check=False)
        assert done.returncode == 2
        assert "This ends 3 bans. Add --yes to do it without being asked" in done.stderr
    assert ask(daemon.socket, "bans")["total"] == 3
