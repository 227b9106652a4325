"""What watching the wire costs a machine, and what is seen in a flood: a server and its clients in namespaces, a real daemon.

    python -m benchmarks.wire_live [SECONDS]        (as root; prints a table)

`mix` plays the traffic of `benchmarks.wire` at 5,000 messages a second. `flood` sends as many packets as one core can, from one
source and from 10,000, while ten attackers guess passwords and twenty phones register and call (sipp).
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import itertools
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.wire import MESSAGES, SERVER, Traffic

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "fixtures"), str(ROOT / "tests" / "daemon")]

from sipp_phones import MISSING, PHONES, Calls, Phones, PhoneServer  # noqa: E402 - the tests' laboratory
from wire_lab import SERVER as SIP  # noqa: E402
from wire_lab import Client, WireLab, wire_lab  # noqa: E402

RATE = 5000
GUESSERS = tuple(f"198.51.100.{100 + number}" for number in range(10))
RING = 20
"""Calls a second of the phones."""
CREDENTIALS = f'Authorization: Digest username="1000", realm="r", nonce="n", uri="sip:r", response="{"0" * 32}"\r\n'
FLOODS = ((1, ""), (10_000, ""), (10_000, CREDENTIALS))
"""How many sources, and what each packet has beside a REGISTER."""
_BATCH = 64
_FLOODED = 5061
"""A port that is watched, and where nobody reads: what the server itself can stand is not measured here."""


def _udp_packet(source: str, destination: str, payload: bytes, port: int = 5060) -> bytes:
    """An IPv4 packet with its header; the kernel fills in its checksum, UDP's may be none."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    head = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0)
    return head + addresses + struct.pack(">HHHH", 5060, port, 8 + len(payload), 0) + payload


def processor_seconds(pid: int) -> float:
    """What a process has used so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """MiB that a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def play(lab: WireLab, seconds: float) -> tuple[float, float]:
    """Play the mix; gives the daemon's share of a core, and the messages a second that were sent."""
    traffic = Traffic()
    traffic.fill()
    with lab.net.inside():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with lab.server_net.inside():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((SERVER, 5060))
    pid, sent = lab.daemon.process.pid, 0
    with raw, server:
        begun, used = time.monotonic(), processor_seconds(pid)
        for packet in itertools.cycle(traffic.packets):
            if packet.source == SERVER:
                server.sendto(packet.payload, (packet.destination, 5060))
            else:
                raw.sendto(_udp_packet(packet.source, SERVER, packet.payload), (SERVER, 0))
            sent += 1
            if sent % 10 == 0:
                time.sleep(max(0.0, begun + sent / RATE - time.monotonic()))
                if time.monotonic() > begun + seconds or sent >= MESSAGES:
                    break
        took = time.monotonic() - begun
        return (processor_seconds(pid) - used) / took, sent / took


class _Message(ctypes.Structure):
    """`struct mmsghdr`, sendmmsg(2)."""

    _fields_ = [
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint), ("vectors", ctypes.c_void_p), ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t), ("flags", ctypes.c_int), ("sent", ctypes.c_uint),
    ]  # fmt: skip


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]


def flood(sources: int, seconds: float, authorization: bytes) -> None:
    """Send as fast as one core can. Runs as a process of its own in the clients' namespace.

    Prints how many packets it has sent a second, and for a second of its processor time.
    """
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.connect((SERVER, 0))
    first = int(ipaddress.ip_address("100.64.0.1"))
    payload = (
        b"REGISTER sip:%b SIP/2.0\r\nVia: SIP/2.0/UDP 100.64.0.1;branch=z9hG4bKf\r\n" % SERVER.encode()
        + authorization
        + b"X: y\r\n" * 35
    )
    packets = [_udp_packet(str(ipaddress.ip_address(first + n)), SERVER, payload, _FLOODED) for n in range(sources)]
    vectors = [_Vector(packet, len(packet)) for packet in packets]
    messages = (_Message * len(packets))()
    for message, vector in zip(messages, vectors, strict=True):
        message.vectors, message.count = ctypes.addressof(vector), 1
    sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    size, batch = ctypes.sizeof(_Message), min(_BATCH, len(packets))
    sent, place, end = 0, 0, time.monotonic() + seconds
    begun, spent = time.monotonic(), time.process_time()
    while time.monotonic() < end:
        done = sendmmsg(raw.fileno(), ctypes.byref(messages, place * size), min(batch, len(packets) - place), 0)
        sent += max(0, done)
        place = (place + batch) % len(packets) if len(packets) > batch else 0
    print(sent / (time.monotonic() - begun), sent / (time.process_time() - spent))


class Attack:
    """Ten guessers. Notes when each was rejected."""

    def __init__(self, lab: WireLab) -> None:
        self.began = time.monotonic()
        self.rejected: dict[str, float] = {}
        self.over = False
        self._lab = lab
        self._threads = [threading.Thread(target=self._guess, args=(address,)) for address in GUESSERS]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Wait for all."""
        self.over = True
        for thread in self._threads:
            thread.join()

    def _guess(self, address: str) -> None:
        client = Client(self._lab.net, address)
        with client.socket:
            client.socket.settimeout(0.3)
            while not self.over:
                try:
                    client.register()
                except TimeoutError:
                    continue
                except ConnectionRefusedError:
                    self.rejected[address] = time.monotonic() - self.began
                    return
                time.sleep(0.02)


class Flooded(NamedTuple):
    """What has happened in a flood."""

    rate: float
    """Packets a second; `burst` is what the sender has sent for each second of its own processor time."""
    burst: float
    rejected: dict[str, float]
    """Guesser → seconds until it was rejected."""
    quiet: Calls
    """The phones before it."""
    calls: Calls
    status: float
    """Seconds that the slowest `sipguard status` took."""
    share: float
    """Of a core, that the daemon has used."""
    memory: tuple[float, float]
    """MiB before and after."""
    packets: dict[str, int]

    def table(self) -> dict[str, str]:
        """For people."""
        last = max(self.rejected.values(), default=0)
        return {
            "packets a second": f"{self.rate:.0f}, for a second of the sender's processor {self.burst:.0f}",
            "guessers rejected": f"{len(self.rejected)} of {len(GUESSERS)}, the last after {last:.2f} s",
            "sipp's phones before": self.quiet.shown,
            "sipp's phones in it": self.calls.shown,
            "status (a process) answers in": f"{self.status:.2f} s at most",
            "daemon, of a core": f"{self.share:.1%}",
            "memory": "{:.1f} → {:.1f} MiB".format(*self.memory),
            "packets": str(self.packets),
        }


def flooded(lab: WireLab, sources: int, seconds: float, authorization: str = "") -> Flooded:
    """Flood, while phones call and ten attackers guess. `authorization`: a header of each packet, which then has to be kept."""
    pid = lab.daemon.process.pid
    with lab.server_net.inside():
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sink.bind((SERVER, _FLOODED))  # else the kernel would answer each by ICMP
    quiet = Phones(lab.net, lab.daemon.folder / "quiet", SIP, calls=20).result()
    used, held = processor_seconds(pid), memory(pid)
    command = [sys.executable, "-m", "benchmarks.wire_live", "--flood", str(sources), str(seconds), authorization]
    sender = subprocess.Popen(
        ["ip", "netns", "exec", lab.net.name, *command], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    time.sleep(0.5)
    phones = Phones(lab.net, lab.daemon.folder / "calls", SIP, calls=int(RING * max(1.0, seconds - 2)), rate=RING)
    attack, answered = Attack(lab), []
    while sender.poll() is None:
        begun = time.monotonic()
        lab.wire()
        answered.append(time.monotonic() - begun)
        time.sleep(0.3)
    attack.end()
    rate, burst = map(float, sender.communicate()[0].split())
    share = (processor_seconds(pid) - used) / seconds
    sink.close()
    wire = lab.wire()
    return Flooded(
        rate, burst, attack.rejected, quiet, phones.result(), max(answered), share, (held, memory(pid)),
        wire["packets"] | {"limited": wire["limited"]},
    )  # fmt: skip


@contextlib.contextmanager
def laboratory(**options: Any) -> Iterator[WireLab]:
    """A lab that the mix's addresses can reach."""
    folder = Path(tempfile.mkdtemp(prefix="wire-live-"))
    try:
        with wire_lab(folder, addresses=[*PHONES, *GUESSERS], serve=PhoneServer, **options) as lab:
            for net, gateway in ((lab.server_net, PHONES[0]), (lab.net, SIP)):
                net.run("ip", "route", "add", "default", "via", gateway)
            lab.server_net.run("ip", "address", "add", f"{SERVER}/32", "dev", "lo")
            for name in ("all", "default", "veth0"):
                lab.server_net.run("sysctl", "-qw", f"net.ipv4.conf.{name}.rp_filter=0")
            yield lab
    finally:
        shutil.rmtree(folder)


def main(seconds: float) -> None:
    """Measure, and print."""
    if MISSING:
        sys.exit(MISSING)
    with laboratory() as lab:
        time.sleep(6)
        pid = lab.daemon.process.pid
        used = processor_seconds(pid)
        time.sleep(10)
        print(f"idle: {(processor_seconds(pid) - used) / 10:.2%} of a core")
        share, rate = play(lab, seconds)
        print(f"mix: {share:.1%} of a core at {rate:.0f} messages a second; {lab.wire()['packets']}")
    for sources, authorization in FLOODS:
        with laboratory() as lab:
            print(f"flood from {sources}{', each packet with credentials' if authorization else ''}:")
            for name, value in flooded(lab, sources, seconds, authorization).table().items():
                print(f"  {name}: {value}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--flood"]:
        flood(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4].encode())
    else:
        main(float(sys.argv[1]) if sys.argv[1:] else 10.0)
