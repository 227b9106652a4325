"""Where the wire is blind, a server's log bans as without it, and `status` says why: each way to be blind."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from logging_lab import with_log
from wire_lab import FLOOD, GUESSER

from tests.netns import link, namespace

pytestmark = pytest.mark.root
SILENT, OTHER = "203.0.113.7", "203.0.113.8"
LISTENS = """
import socket, sys, time
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("0.0.0.0", int(sys.argv[1])))
print("listening", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def a_server(folder, net, port):
    """A process that is called like a SIP server, and listens."""
    program = folder / "freeswitch"
    program.symlink_to(sys.executable)
    command = ["ip", "netns", "exec", net.name, program, "-c", LISTENS, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "listening\n"
        try:
            yield server
        finally:
            server.kill()


def bans_as_without(one, address, why, *, write=None):
    """Five lines ban an address that the wire has seen nothing of; the reason is said."""
    before = one.examined["reasons"].get(why, 0)
    if write is None:
        one.write(address, 5)
    else:
        write()
    one.daemon.wait_for(lambda: address in one.daemon.banned("freeswitch"), f"the ban of {address}")
    assert one.examined["reasons"].get(why, 0) - before == 5, one.examined
    assert f"5 count as without the wire: {why}" in one.daemon.sipguard("status", "freeswitch").stdout
    (ban,) = [ban for ban in one.daemon.status("freeswitch")["banned"] if ban["address"] == address]
    assert ban["evidence"] == "reported"


def on_disk(one):
    """Stored attempts of the guesser and of the silent one, and what waits for a line or for packets."""
    with contextlib.closing(sqlite3.connect(one.daemon.folder / "state" / "sipguard.db")) as database:
        counted = dict(database.execute("SELECT address, sum(attempts) FROM attempts GROUP BY address"))
        ((waiting,),) = database.execute("SELECT count(*) FROM unpaired")
    return counted.get(GUESSER, 0), counted.get(SILENT, 0), waiting


def is_contradicted(one, address):
    """The wire sees, and five lines about who has sent nothing count for nobody."""
    before = one.examined["contradicted"]
    one.write(address, 5)
    one.daemon.wait_for(lambda: one.examined["contradicted"] == before + 5)
    assert address not in one.daemon.banned("freeswitch")


def test_unlisted_port(tmp_path):
    """A SIP server listens at a port that no rule watches: a line may be about that."""
    with with_log(tmp_path) as one:
        one.sighted()
        is_contradicted(one, SILENT)
        with a_server(tmp_path, one.lab.server_net, 6000):
            one.daemon.sipguard("reload")
            one.daemon.wait_for(lambda: one.lab.wire()["unwatched"] == ["freeswitch: udp 6000"])
            bans_as_without(one, OTHER, "nobody watches freeswitch: udp 6000")


def test_server_with_an_interface_of_its_own(tmp_path):
    """The log of a server in another namespace (macvlan) is never confirmed, and so never contradicted; another log is."""
    with with_log(tmp_path, logs=("freeswitch.log", "inner.log")) as one, namespace("ip") as inner:
        link(inner, ["203.0.113.2/24"], one.lab.server_net, ["203.0.113.1/24"])
        with a_server(tmp_path, inner, 5060):
            one.sighted()
            one.daemon.sipguard("reload")
            one.daemon.wait_for(lambda: one.lab.wire()["elsewhere"])
            inner_log = tmp_path / "inner.log"
            bans_as_without(
                one,
                OTHER,
                "the wire has not confirmed this log yet",
                write=lambda: one.write(OTHER, 5, log=inner_log),
            )
            is_contradicted(one, SILENT)


def test_late_log(tmp_path):
    """Lines that come twenty minutes late are older than what the wire remembers."""
    with with_log(tmp_path, findtime=3600) as one:
        one.sighted()
        late = time.time() - 1200
        bans_as_without(
            one, OTHER, "the line is older than the wire's memory", write=lambda: one.write(OTHER, 5, when=late)
        )
        is_contradicted(one, SILENT)


def test_overrun(tmp_path):
    """More packets came than the kernel keeps: what is missing around then proves nobody's absence."""
    addresses = [GUESSER, "198.51.100.67", *(f"198.51.100.{last}" for last in range(20, 80) if last not in {66, 67})]
    with with_log(tmp_path, lab={"addresses": addresses, "wire": {"rate": 10_000}}) as one:
        one.sighted()
        is_contradicted(one, SILENT)
        for net in (one.lab.server_net, one.lab.net):
            net.run("ip", "link", "set", "veth0", "mtu", "65000")
        one.daemon.process.send_signal(signal.SIGSTOP)
        one.lab.run_client(FLOOD)
        one.daemon.process.send_signal(signal.SIGCONT)
        one.daemon.wait_logged("[wire] packets were lost")
        why = one.lab.wire()["blind_times"][0]["reason"]
        bans_as_without(one, OTHER, why)
        assert "were lost" in why


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_restart_in_the_middle(tmp_path, end):
    """Lines of before and after a restart are five; who is proven has no more guesses for it, and each counts once."""
    with with_log(tmp_path, prefix=()) as one:
        client = one.lab.client()
        assert one.guess(client, GUESSER, times=3) == 3
        one.write(SILENT, 2)
        one.daemon.wait_for(lambda: one.examined["confirmed"] == 3)
        one.daemon.wait_for(lambda: on_disk(one) == (3, 2, 0), "all on disk")
        one.daemon.stop(end)
        one.write(SILENT, 2)
        one.lab.start()
        assert one.guess(client, GUESSER, times=1) == 1
        one.daemon.wait_for(lambda: one.examined["confirmed"] == 1)
        one.daemon.wait_for(lambda: one.examined["reported"] == 2)
        assert one.daemon.banned("freeswitch") == set()
        one.write(SILENT)
        one.guess(client, GUESSER, times=1)
        one.daemon.wait_for(lambda: one.daemon.banned("freeswitch") == {SILENT, GUESSER})
        assert one.examined["reasons"] == {"sipguard has just started": 3}
