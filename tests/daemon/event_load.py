"""2,000 events a second for a daemon, and what they cost it: `PYTHONPATH=.:tests python tests/daemon/event_load.py SECONDS`."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests"), str(ROOT)]

from event_server import EventServer  # noqa: E402
from running import running  # noqa: E402

RATE = 2000
_TICKS = 200
"""How often in a second the server writes."""
_REFUSED = 0.02
"""The share of failures: an attack on a busy server. What goes on after its ban is not heard: the firewall rejects it."""
_ATTACKERS = 5000
_TICK_OF_CLOCK = os.sysconf("SC_CLK_TCK")


class Look(NamedTuple):
    """What the daemon had used by then."""

    after: float
    """Seconds since the first event."""
    share: float
    """Of a processor, since the look before."""
    memory: int
    """KB, VmRSS of proc(5)."""
    events: int
    """How many the daemon has counted."""


def recorded(name: str) -> bytes:
    """The body of one event that FreeSWITCH 1.11 has sent."""
    text = gzip.decompress((ROOT / "fixtures/wire/freeswitch-1.11-events.raw.gz").read_bytes())
    pieces = re.split(rb"Content-Length: \d+\nContent-Type: text/event-json\n\n", text)
    return next(one for one in pieces if b'"Event-Subclass":"sofia::%b"' % name.encode() in one)


def template(kind: str, server: str) -> bytes:
    """An event with `ADDRESS` (as long as an address of ten digits), `TIME` of 16 digits."""
    if server == "asterisk":
        name, tail = ("SuccessfulAuth", "UsingPassword: 1") if kind == "register" else (
            "ChallengeResponseFailed", "Challenge: 1795825990/0123456789abcdef\r\nResponse: 0123\r\nExpectedResponse: "
        )  # fmt: skip
        return (
            f"Event: {name}\r\nPrivilege: security,all\r\nEventTV: MOMENT\r\nSeverity: Error\r\nService: PJSIP\r\n"
            "EventVersion: 1\r\nAccountID: 1000\r\nSessionID: 4f1b2c3d@192.0.2.1\r\n"
            f"LocalAddress: IPV4/UDP/198.51.100.1/5060\r\nRemoteAddress: IPV4/UDP/ADDRESS/5060\r\n{tail}\r\n\r\n"
        ).encode()
    body = json.loads(recorded(kind))
    body |= {"network-ip": "ADDRESS", "Event-Date-Timestamp": "TIME"}
    return json.dumps(body, separators=(",", ":")).encode()


class Load:
    """Writes events to whoever listens to the server, at a steady rate."""

    def __init__(self, server: EventServer, rate: int = RATE, refused: float = _REFUSED) -> None:
        self.server, self.rate, self._refused = server, rate, refused
        self.sent = 0
        self._good, self._bad = template("register", server.kind), template("register_failure", server.kind)
        self._random = random.Random(1)

    def second(self) -> None:
        """One second's events, in 200 writes."""
        begun = time.monotonic()
        for tick in range(_TICKS):
            data = b"".join(self._event() for _ in range(self.rate // _TICKS))
            for client in list(self.server.clients):
                client.sendall(data)
            self.sent += self.rate // _TICKS
            time.sleep(max(0.0, begun + (tick + 1) / _TICKS - time.monotonic()))

    def _event(self) -> bytes:
        draw = self._random
        is_bad = draw.random() < self._refused
        number = draw.randrange(_ATTACKERS)
        address = f"198.18.{number >> 8}.{number & 255}" if is_bad else f"198.19.{number >> 8}.{number & 255}"
        now = time.time()
        text = (self._bad if is_bad else self._good).replace(b"ADDRESS", address.encode())
        if self.server.kind == "freeswitch":
            text = text.replace(b"TIME", b"%d" % (now * 1e6))
            return b"Content-Length: %d\nContent-Type: text/event-json\n\n%b" % (len(text), text)
        moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03}+0000"
        return text.replace(b"MOMENT", moment.encode())


def measure(folder: Path, kind: str, seconds: int, every: int = 60) -> list[Look]:
    """A daemon with one jail under the load, looked at each `every` seconds; it listens to nothing else."""
    server = EventServer(kind).start()
    secret = folder / "password"
    secret.write_text(server.password)
    secret.chmod(0o600)
    jail = {"events": server.url, "events_password_file": str(secret), "bantime": "1m"}
    looks = []
    try:
        with running(folder, {"pbx": jail}, imported=True) as daemon:
            daemon.wait_for(lambda: bool(server.clients) and daemon.status("pbx")["events"]["speaks"])
            load, earlier = Load(server), daemon.status("pbx")["events"]["events"]  # Asterisk tells of the login too
            begun = before = time.monotonic()
            used = processor_time(daemon.process.pid)
            for number in range(1, seconds + 1):
                load.second()
                if number % every == 0:
                    now, total = time.monotonic(), processor_time(daemon.process.pid)
                    share = (total - used) / (now - before)
                    before, used = now, total
                    counted = daemon.status("pbx")["events"]["events"]
                    looks.append(Look(now - begun, share, memory(daemon.process.pid), counted))
                    print(looks[-1], load.sent, flush=True)
            daemon.wait_for(lambda: daemon.status("pbx")["events"]["events"] == load.sent + earlier, "every event")
    finally:
        server.stop()
    return looks


def processor_time(process: int) -> float:
    """Seconds of the processor that it has used, of the user and of the kernel."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK_OF_CLOCK


def memory(process: int) -> int:
    """KB that it has in memory."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        measure(
            Path(name),
            sys.argv[2] if len(sys.argv) > 2 else "freeswitch",
            int(sys.argv[1]),
            every=min(60, int(sys.argv[1]) // 3),
        )
