"""Operator commands: one implementation behind sipguard's sockets and Fail2ban's protocol."""

import json
import socket

import pytest
from limits import PATIENCE
from running import append, failure, running

from sipguard.daemon.operations import Operations
from sipguard.fail2ban.client.connection import Connection

ATTACKER = "203.0.113.66"
NETWORK = "2001:db8:7::/64"


@pytest.fixture
def daemon(tmp_path, log):
    """Two jails on one log, with Fail2ban's socket."""
    jails = {
        "one": {"filter": "freeswitch", "logpath": str(log), "bantime": 600, "maxretry": 3},
        "two": {"filter": "freeswitch", "logpath": str(log), "bantime": 600, "maxretry": 5},
    }
    with running(tmp_path, jails, arguments=["--fail2ban-socket", str(tmp_path / "f2b.sock")]) as one:
        yield one


def fail2ban(daemon, *words):
    """What Fail2ban's protocol answers."""
    with Connection(str(daemon.folder / "f2b.sock"), timeout=20) as connection:
        wrong, answer = connection.ask(words)
        if wrong:
            raise answer
        return answer


def asked(path, **request):
    """One request to a control socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(json.dumps(request).encode() + b"\n")
        with client.makefile() as answer:
            return json.loads(answer.readline())


def test_every_operation_has_a_right():
    """What only answers is `read`, what changes something is `write`; nothing is unmarked."""
    operations = {name: one for name, one in vars(Operations).items() if callable(one) and not name.startswith("_")}
    rights = {name: getattr(one, "right", None) for name, one in operations.items()}
    assert {name for name, right in rights.items() if right == "read"} == {
        "advice",
        "jails",
        "latest",
        "runner",
        "bans",
        "list_bans",
        "history",
        "explain",
        "fleet",
        "firewall",
    }
    assert set(rights.values()) == {"read", "write"}


def test_a_ban_by_hand_counts(daemon):
    """Whoever asks: it is one in `Total banned`."""
    daemon.sipguard("ban", ATTACKER, "--jail", "one")
    assert fail2ban(daemon, "set", "one", "banip", "203.0.113.67") == 1
    assert daemon.status("one")["totals"]["bans"] == 2
    assert dict(dict(fail2ban(daemon, "status", "one"))["Actions"])["Total banned"] == 2


def test_a_ban_by_hand_shortens_none(daemon):
    """A live ban that ends later stays, and that is said; one that ends sooner is prolonged."""
    daemon.sipguard("ban", ATTACKER, "--jail", "one", "--time", "2h")
    said = daemon.sipguard("ban", ATTACKER, "--jail", "one", "--time", "1h").stdout
    assert said.endswith("; that ban lasts longer and is left as it is\n")
    (ban,) = daemon.status("one")["banned"]
    assert round(ban["until"] - ban["since"]) == 7200
    daemon.sipguard("ban", ATTACKER, "--jail", "one", "--time", "3h")
    (ban,) = daemon.status("one")["banned"]
    assert 10_800 <= ban["until"] - ban["since"] < 10_900


def test_one_wrong_address_of_many(daemon):
    """`banip` bans the others, and tells of the one in the log; one that is alone is an error."""
    assert fail2ban(daemon, "set", "one", "banip", "203.0.113.1", "127.0.0.1", "nonsense", "203.0.113.2") == 2
    assert daemon.banned("one") == {"203.0.113.1", "203.0.113.2"}
    assert "[one] 127.0.0.1 is not banned: loopback" in daemon.logged()
    with pytest.raises(Exception, match="is not an address"):
        fail2ban(daemon, "set", "one", "banip", "nonsense")


def counted(daemon, jail):
    """Address → attempts that count in a jail."""
    told = daemon.sipguard("status", jail, "--counted", "--json").stdout
    return json.loads(told)["jails"][0]["counted"]


def test_unban_in_one_jail_leaves_the_other(daemon, log):
    """Its counts stay, whether the address was banned in the named jail or not."""
    append(log, failure(ATTACKER) * 2)
    daemon.wait_logged("Found", times=4)
    assert daemon.sipguard("unban", ATTACKER, "--jail", "one", check=False).returncode == 1
    assert (counted(daemon, "one"), counted(daemon, "two")) == ({}, {ATTACKER: 2})
    fail2ban(daemon, "set", "one", "unbanip", ATTACKER)
    assert counted(daemon, "two") == {ATTACKER: 2}
    assert daemon.status("two")["counting"] == 1
    append(log, failure(ATTACKER) * 3)
    daemon.wait_logged(f"[two] Ban {ATTACKER}")


@pytest.mark.parametrize("way", ["sipguard", "fail2ban", "fail2ban one jail", "a wider network"])
def test_an_address_stands_for_its_network(daemon, log, way):
    """IPv6 is banned by /64: one address of it, or a network around it, lets it through."""
    append(log, failure("2001:db8:7::1") * 3)
    daemon.wait_logged(f"[one] Ban {NETWORK}")
    match way:
        case "sipguard":
            assert f"{NETWORK} unbanned in one" in daemon.sipguard("unban", "2001:db8:7::1").stdout
        case "fail2ban":
            assert fail2ban(daemon, "unban", "2001:db8:7::1") == 1
        case "fail2ban one jail":
            assert fail2ban(daemon, "set", "one", "unbanip", "--report-absent", "2001:db8:7::1") == 1
        case _:
            assert fail2ban(daemon, "unban", "2001:db8::/32") == 1
    assert daemon.banned("one") == set()


def test_the_reading_socket(daemon):
    """It answers what the other answers, and changes nothing."""
    path = daemon.folder / "run-read.sock"
    assert asked(path, command="status")["result"] == asked(daemon.socket, command="status")["result"]
    assert asked(path, command="explain", address=ATTACKER)["ok"]
    for request in ("ban", "unban", "flush", "reload", "feeds refresh"):
        answer = asked(path, command=request, address=ATTACKER, jail="one", name="x")
        assert answer == {"ok": False, "error": "this socket answers questions only", "status": 2}
    assert daemon.banned("one") == set()


def test_what_is_no_request(daemon):
    """It gets an error, and the daemon goes on."""
    for line in ("[" * 100_000, "{}", "5", '{"command": 5}', '{"command": ["ban"]}', "\0"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(daemon.socket))
            client.sendall(line.encode() + b"\n")
            with client.makefile() as answer:
                assert json.loads(answer.readline())["ok"] is False, line
        assert daemon.answers(), line


def test_an_overview_counts_and_names_the_newest(daemon, log):
    """Who watches asks it every moment: numbers instead of bans, and a few of those that began last."""
    path = daemon.folder / "run-read.sock"
    before = asked(path, command="overview")["result"]
    daemon.sipguard("ban", *(f"198.51.100.{n}" for n in range(1, 31)), "--jail", "one")
    daemon.sipguard("ban", ATTACKER, "--jail", "two")
    daemon.sipguard("unban", "198.51.100.1")
    told = asked(path, command="overview")["result"]
    assert {jail["name"]: jail["banned"] for jail in told["jails"]} == {"one": 29, "two": 1}
    assert len(told["latest"]) == 20
    assert told["latest"][0]["address"] == ATTACKER
    assert told["moves"] - before["moves"] == 32
    assert told["since"] <= told["now"]


def test_advice_is_what_check_says(daemon, log):
    """Asked over the socket for questions, by those who may not read the configuration."""
    told = asked(daemon.folder / "run-read.sock", command="advice")
    assert told.pop("took") < PATIENCE
    assert told == {"ok": True, "result": {"advice": [], "errors": [], "warnings": []}}
