"""Live packets and a log of the same server: what the log says counts as far as the packets confirm it."""

from __future__ import annotations

import socket
import time

import pytest
from command_line import sipguard
from logging_lab import SHORT, Logging, with_log
from running import failure
from sip_packets import uuid
from tree_of_fail2ban import write_tree
from wire_lab import GUESSER, OTHER, PHONE, wire_lab

from sipguard.cli.client import ask

pytestmark = pytest.mark.root
SILENT = "203.0.113.7"


@pytest.fixture
def logging_lab(tmp_path):
    """A lab with such a server; it knows all from the start."""
    with with_log(tmp_path) as lab:
        yield lab


def test_each_attempt_once(logging_lab):
    """Told by the packets and by the log: five guesses ban, four do not; the ban rests on proof."""
    one = logging_lab
    client = one.lab.client()
    assert one.guess(client, GUESSER, times=4) == 4
    one.daemon.wait_for(lambda: one.examined["confirmed"] == 4)
    assert ask(one.daemon.socket, "status", jail="freeswitch", counted=0)["jails"][0]["counted"] == {GUESSER: 4}
    assert one.guess(client, GUESSER) == 1
    one.daemon.wait_for(lambda: one.daemon.banned("freeswitch") == {GUESSER})
    (ban,) = one.daemon.status("freeswitch")["banned"]
    assert ban["evidence"] == "proven"


def test_forged_lines(logging_lab):
    """Lines about who has sent nothing are contradicted; lines about a phone ban nobody, and the phone calls on."""
    one = logging_lab
    one.sighted()
    phone = one.lab.client(PHONE, source_port=5061)
    assert phone.register(response="a" * 32) == 200
    one.write(SILENT, 20)
    one.write(PHONE, 20)
    one.daemon.wait_for(lambda: one.examined["contradicted"] == 20)
    one.daemon.wait_for(lambda: one.examined["unproven"] == 20)
    assert one.daemon.banned("freeswitch") == set()
    one.daemon.wait_for(lambda: one.lab.wire()["metered"] == 1, "the meter")
    assert [phone.register(response="a" * 32) for _ in range(20)] == [200] * 20


def test_forged_lines_about_a_phone_over_tcp(logging_lab):
    """What its own connection has carried is read, not encrypted: such lines are confirmed by nothing."""
    one = logging_lab
    one.sighted()
    phone = one.lab.client(PHONE, kind=socket.SOCK_STREAM)
    assert phone.register(response="a" * 32) == 200
    one.write(PHONE, 20)
    one.daemon.wait_for(lambda: one.examined["unproven"] + one.examined["corroborated"] == 20)
    assert one.examined["corroborated"] == 0
    assert one.daemon.banned("freeswitch") == set()
    assert phone.register(response="a" * 32) == 200


def test_the_law_of_the_meter(logging_lab):
    """Guesses on invented nonces ban nobody, and a handful reaches the server; another is not held back with them."""
    one = logging_lab
    one.sighted()
    client = one.lab.client()
    client.socket.settimeout(0.3)
    done = 0
    for number in range(300):
        done += one.guess(client, GUESSER, nonce=uuid(number))
        if number < 20:
            time.sleep(0.02)
        elif done < number:
            break
    assert done <= 20
    assert one.daemon.banned("freeswitch") == set()
    assert one.lab.wire()["metered"] == 1
    assert f"{GUESSER} is held back" in one.daemon.logged()
    assert one.guess(one.lab.client(PHONE), PHONE) == 1


def test_forged_lines_that_are_read_liberally(logging_lab):
    """Lines that callers can make are read while the wire proves who fails, and count for nobody: silent, phone or guesser."""
    one = logging_lab
    one.sighted()
    assert one.lab.client(PHONE).register(response="a" * 32) == 200
    one.daemon.wait_for(lambda: one.examined["liberal"])
    line = failure(SILENT).partition(" sofia_reg")[0]
    with one.log.open("a") as log:
        for address in (SILENT, PHONE, OTHER):
            log.write(f"{line} mod_dptools.c:1742 [inbound routes] 404 not found {address}\n" * 20)
    one.guess(one.lab.client(), GUESSER)  # its line comes behind those
    one.daemon.wait_for(lambda: one.examined["confirmed"] == 4)
    counted = ask(one.daemon.socket, "status", jail="freeswitch", counted=0)["jails"][0]["counted"]
    assert counted == {OTHER: 3, GUESSER: 1}
    assert (one.examined["hearsay"], one.daemon.banned("freeswitch")) == (0, set())
    assert one.lab.wire()["metered"] == 0


def test_a_tree_of_fail2ban(tmp_path):
    """`[wire] corroborate` with `--fail2ban-dir`: five guesses that packets prove ban in the kernel, forged lines nobody."""
    folder, log = tmp_path / "lab", tmp_path / "freeswitch.log"
    folder.mkdir()
    log.touch()
    arguments = write_tree(folder, log)
    with wire_lab(folder, jails={}, arguments=arguments, wire={"corroborate": ["freeswitch"]}, prefix=SHORT) as lab:
        one = Logging(lab, log)
        one.sighted()
        one.write(SILENT, 20)
        one.daemon.wait_for(lambda: one.examined["contradicted"] == 20)
        client = lab.client()
        assert one.guess(client, GUESSER, times=5) == 5
        one.daemon.wait_for(lambda: one.daemon.banned("freeswitch") == {GUESSER})
        one.daemon.wait_for(client.rejected)
        (ban,) = one.daemon.status("freeswitch")["banned"]
        assert ban["evidence"] == "proven"
        told = sipguard("client", "-s", str(folder / "f2b.sock"), "status", "freeswitch").stdout
        assert f"Banned IP list:\t{GUESSER}" in told
