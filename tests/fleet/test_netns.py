"""Three servers in network namespaces, a real Redis, real packets: how long until the others reject, and let through again."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import time

import pytest
from limits import within
from needs import needs

from tests.fleet.conftest import need_redis, serving
from tests.fleet.test_daemons import node
from tests.netns import link, namespace

ATTACKERS = [f"192.0.2.{n}" for n in range(1, 61)]
ROUNDS = 50
QUIET = 40
"""Probes that must be lost one after another before an address counts as rejected."""


class Lab:
    """A hub with Redis and all the attackers, and three servers around it."""

    def __init__(self, hub, servers, url, stack):
        self.hub, self.servers, self.url = hub, servers, url
        self.listeners = []
        for number, server in enumerate(servers):
            with server.inside():
                end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                end.bind((f"198.51.100.{16 * number + 2}", 5060))
            end.setblocking(False)
            self.listeners.append(stack.enter_context(contextlib.closing(end)))

    def probes(self, source):
        """A socket for each server but the first, as the attacker has it."""
        ends = []
        for listener in self.listeners[1:]:
            with self.hub.inside():
                end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            end.bind((source, 0))
            end.connect(listener.getsockname())
            end.setblocking(False)
            ends.append(end)
        return ends


@pytest.fixture
@needs("root")
def lab(tmp_path):
    need_redis()
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(namespace("nft"))
        servers = [stack.enter_context(namespace()) for _ in range(3)]
        for address in ATTACKERS:
            subprocess.run(["ip", "-n", hub.name, "address", "add", f"{address}/32", "dev", "lo"], check=True)
        for number, server in enumerate(servers):
            gateway = f"198.51.100.{16 * number + 1}"
            link(hub, [f"{gateway}/28"], server, [f"198.51.100.{16 * number + 2}/28"])
            subprocess.run(["ip", "-n", server.name, "route", "add", "default", "via", gateway], check=True)
        hub.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        inside = ["ip", "netns", "exec", hub.name]
        redis = stack.enter_context(serving(tmp_path / "redis", host="198.51.100.1", port=6379, prefix=inside))
        yield Lab(hub, servers, redis.url, stack)


def begins(lab, source, log, text, *, through):
    """Seconds from `text` in the first server's log to the first probe that the others reject (or let through)."""
    ends = lab.probes(source)
    listeners = lab.listeners[1:]
    end = time.monotonic() + 30
    logged, sent, arrived = None, [[], []], [set(), set()]
    with contextlib.ExitStack() as stack:
        for one in ends:
            stack.enter_context(contextlib.closing(one))
        while time.monotonic() < end:
            now = time.monotonic()
            if logged is None and text in log.read():
                logged = now
            for number, probe in enumerate(ends):
                with contextlib.suppress(OSError):  # the answer to an earlier one: it was rejected
                    probe.send(b"%d" % len(sent[number]))
                sent[number].append(now)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        arrived[number].add(int(listeners[number].recv(100)))
            if logged is not None and all(_is_settled(*pair, through) for pair in zip(sent, arrived, strict=True)):
                break
            time.sleep(0.0005)
        else:
            pytest.fail(f"{source}: {'still rejected' if through else 'still let through'} after 30 s")
    return [max(0.0, _moment(*pair, through) - logged) for pair in zip(sent, arrived, strict=True)]


def _is_settled(sent, arrived, through):
    last = range(len(sent) - QUIET - 2, len(sent) - 2)
    return len(sent) > QUIET + 2 and all((number in arrived) is through for number in last)


def _moment(sent, arrived, through):
    if through:
        return sent[min(arrived)] if arrived else sent[-1]
    return sent[max(arrived, default=-1) + 1]


@pytest.mark.timed
def test_rejected_elsewhere_in_a_tenth_of_a_second(lab, tmp_path, capsys):
    """50 addresses, one after another: banned on one server, rejected on both others; then unbanned, and let through."""
    with contextlib.ExitStack() as stack:
        daemons = [
            stack.enter_context(
                node(
                    tmp_path, lab.url, f"pbx{number}", firewall="nftables", prefix=("ip", "netns", "exec", server.name)
                )
            )
            for number, server in enumerate(lab.servers)
        ]
        first = daemons[0]
        for number, daemon in enumerate(daemons):
            others = {f"pbx{other}" for other in range(3)} - {f"pbx{number}"}
            daemon.wait_for(lambda d=daemon, o=others: d.knows(*o), "the other nodes")
        time.sleep(2)
        bans, unbans = [], []
        log = stack.enter_context(first.log.open())
        for source in ATTACKERS[:ROUNDS]:
            log.seek(0, os.SEEK_END)
            first.attack(source)
            bans += begins(lab, source, log, f"Ban {source}\n", through=False)
        for source in ATTACKERS[:ROUNDS]:
            log.seek(0, os.SEEK_END)
            unban = subprocess.Popen(
                ["ip", "netns", "exec", lab.servers[0].name, *_command(first, "unban", source)],
                stdout=subprocess.DEVNULL,
            )
            unbans += begins(lab, source, log, f"Unban {source}\n", through=True)
            assert unban.wait(30) == 0
    with capsys.disabled():
        for what, times in (("ban", bans), ("unban", unbans)):
            median, last = statistics.median(times), statistics.quantiles(times, n=100)[98]
            print(
                f"\n{what} there → here: median {median * 1000:.1f} ms, p99 {last * 1000:.1f} ms of {len(times)}",
                end="",
            )
    for times in (bans, unbans):
        assert statistics.median(times) <= within(0.1)
        assert statistics.quantiles(times, n=100)[98] <= within(0.3)


def _command(daemon, *words):
    import sys

    return [sys.executable, "-m", "sipguard", *words, "--socket", str(daemon.socket)]
