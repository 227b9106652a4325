"""Partitions, crashes, a wrong clock and doubled messages: afterwards every node rejects what the others have banned."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest
import redis as redis_library
from effort import effort
from running import ROOT

from sipguard.cli.client import ask
from tests.fleet.conftest import RedisServer, need_redis
from tests.fleet.proxy import Proxy
from tests.fleet.test_daemons import node

NAMES = ("pbx0", "pbx1", "pbx2")
POOL = [f"203.0.113.{n}" for n in range(1, 41)]
WRONG = 300
"""Seconds by which the clock of the last node is fast."""
NEAR = 5.0
"""Seconds by which an end may differ: nodes publish no difference of less than two, and backends round."""


class Storm:
    """Three daemons, each behind a proxy, and what should be banned on each."""

    def __init__(self, folder, seed, *, persistent):
        self.random = random.Random(seed)
        self.server = RedisServer(folder / "redis", persistent=persistent).start()
        self.proxies = [Proxy("127.0.0.1", self.server.port) for _ in NAMES]
        self.stack = contextlib.ExitStack()
        self.daemons = []
        self.model = [{} for _ in NAMES]
        for number, name in enumerate(NAMES):
            wrong = str(WRONG) if number == 2 else "0"
            env = {
                "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "clock"), str(ROOT)]),
                "WRONG_CLOCK": wrong,
            }
            one = node(folder, self.proxies[number].url, name, unban_from=["pbx0"], env=env)
            self.daemons.append(self.stack.enter_context(one))

    def close(self):
        self.stack.close()
        for proxy in self.proxies:
            proxy.close()
        self.server.kill()

    # What may happen.

    def ban(self):
        number, address = self.random.randrange(3), self.random.choice(POOL)
        seconds = self.random.choice((1800, 3600, 7200, 86_400))
        made = ask(self.daemons[number].socket, "ban", jail="freeswitch", address=address, time=str(seconds))
        self.model[number][address] = made["until"] - (WRONG if number == 2 else 0)

    def unban(self):
        number = self.random.randrange(3)
        if self.model[number]:
            address = self.random.choice(sorted(self.model[number]))
            ask(self.daemons[number].socket, "unban", address=address)
            del self.model[number][address]

    def part(self):
        proxy = self.random.choice(self.proxies)
        self.random.choice((proxy.cut, proxy.stall, proxy.heal, proxy.heal))()

    def kill_node(self):
        number = self.random.randrange(3)
        self.daemons[number].stop(signal.SIGKILL)
        self.daemons[number].start()
        self.check_local(number)

    def kill_redis(self):
        self.server.kill()
        self.ban()
        self.unban()
        self.server.start()

    def double(self):
        """Old events come once more, in another order."""
        with contextlib.closing(redis_library.Redis(port=self.server.port, protocol=2)) as client:
            for name in self.random.sample(NAMES, 2):
                stream = f"sipguard:{name}:stream"
                events = client.xrange(stream)
                for _, fields in self.random.sample(events, min(5, len(events))):
                    client.xadd(stream, fields)

    def rage(self, seconds):
        """Let it happen, for so many seconds."""
        happenings = {
            self.ban: 50, self.unban: 25, self.part: 8, self.double: 6, self.kill_node: 2, self.kill_redis: 1,
        }  # fmt: skip
        end = time.monotonic() + seconds
        done = dict.fromkeys((one.__name__ for one in happenings), 0)
        while time.monotonic() < end:
            (what,) = self.random.choices(list(happenings), list(happenings.values()))
            what()
            done[what.__name__] += 1
            self.check_local(self.random.randrange(3))
        for what in (self.kill_node, self.kill_redis):  # each at least once
            what()
        return done

    # What must be.

    def check_local(self, number):
        """No node ever loses a ban of its own."""
        assert self.daemons[number].banned("freeswitch") == set(self.model[number])

    def wanted(self, number):
        """What a node should reject for the others: address → end."""
        ends = {}
        for other, model in enumerate(self.model):
            if other != number:
                for address, until in model.items():
                    ends[address] = max(until, ends.get(address, 0.0))
        return ends

    def rejected(self, number):
        """What the firewall of a node rejects for the others, by a right clock."""
        shown = ask(self.daemons[number].socket, "firewall", what="show")
        lines = [line.split() for line in shown.splitlines() if line.startswith("feed fleet.")]
        return {address: float(until) - (WRONG if number == 2 else 0) for _, _, address, _, until in lines}

    def differences(self):
        """Address → (wanted, rejected) on each node, where they are not the same; a ban is at most a day long here."""
        found = []
        for number in range(3):
            wanted, rejected = self.wanted(number), self.rejected(number)
            for address in wanted.keys() | rejected.keys():
                one, other = wanted.get(address, 0.0), rejected.get(address, 0.0)
                if abs(min(one, time.time() + 86_400) - other) > NEAR and (not one or not other or other < one - NEAR):
                    found.append((NAMES[number], address, one, other))
        return found

    def calm_down(self):
        for proxy in self.proxies:
            proxy.heal()
        end = time.monotonic() + 60
        while differences := self.differences():
            assert time.monotonic() < end, f"{differences}\n{self.logs()}"
            time.sleep(0.2)

    def logs(self):
        return "\n".join(f"{one.folder}: {one.logged()[-1500:]}" for one in self.daemons)


@contextlib.contextmanager
def storm(folder, seed, *, persistent):
    need_redis()
    one = Storm(folder, seed, persistent=persistent)
    try:
        yield one
    finally:
        one.close()


def weather(folder, seed, seconds, capsys):
    """One storm; then a fleet-wide unban, in fair weather."""
    with storm(folder, seed, persistent=bool(seed % 2)) as one:
        done = one.rage(seconds)
        begin = time.monotonic()
        one.calm_down()
        took = time.monotonic() - begin
        for number in range(3):
            one.check_local(number)
        address = POOL[0]
        for number in (1, 2):
            made = ask(one.daemons[number].socket, "ban", jail="freeswitch", address=address, time="1d")
            one.model[number][address] = made["until"] - (WRONG if number == 2 else 0)
        one.calm_down()
        ask(one.daemons[0].socket, "unban", address=address, fleet=True)
        for model in one.model:
            model.pop(address, None)
        one.calm_down()
        for number in range(3):
            one.daemons[number].wait_for(lambda n=number: address not in one.daemons[n].banned("freeswitch"))
            one.check_local(number)
        with capsys.disabled():
            print(f"\nseed {seed}: {done}; the same everywhere after {took:.1f} s, {len(one.wanted(0))} bans", end="")


@pytest.mark.root  # half a minute each: not for `make test`
@pytest.mark.parametrize("seed", range(effort(1, 3)))
def test_a_short_storm(tmp_path, seed, capsys):
    """Ten seconds; Redis with and without persistence."""
    weather(tmp_path, seed, 10, capsys)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 120))
def test_a_long_storm(tmp_path, seed, capsys):
    """A minute."""
    weather(tmp_path, seed, 60, capsys)
