"""What a SIP message costs: parsing, pairing and proof, on the traffic of a busy server with an attack in it.

40 % of the transactions are registrations with their challenge, 30 % OPTIONS, 30 % calls; 2 % more are guesses of 500 addresses.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Row
from sipguard.detection.sip.replies import PATIENCE
from sipguard.detection.sip.tracker import Tracker
from sipguard.wire_model import Packet

SERVER = "203.0.113.1"
MESSAGES = 50_000
_PHONES = [f"192.0.2.{last}" for last in range(1, 255)]
_ATTACKERS = [f"198.51.{100 + number // 250}.{number % 250 + 1}" for number in range(500)]
_ALLOW = "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REGISTER, REFER, NOTIFY, PUBLISH, SUBSCRIBE"
_SDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\n" * 2


class Traffic:
    """Makes the packets, in the order in which a server sees them."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self._random = random.Random(7)
        self._time = 1_800_000_000.0

    def exchange(self, address: str, method: str, statuses: tuple[int, ...], *, nonce: str = "") -> str:
        """A request and its answers; gives the nonce of a challenge among them."""
        branch = f"z9hG4bK{self._random.getrandbits(48):012x}"
        user, call = str(self._random.randrange(1000, 2000)), f"{self._random.getrandbits(96):024x}"
        same = [
            f"Via: SIP/2.0/UDP {address}:5060;rport;branch={branch}",
            f"From: <sip:{user}@{SERVER}>;tag={call[:8]}",
            f"To: <sip:{user}@{SERVER}>",
            f"Call-ID: {call}",
            f"CSeq: {self._random.randrange(1, 99)} {method}",
        ]
        body = _SDP if method == "INVITE" else ""
        more = [
            f"Contact: <sip:{user}@{address}:5060>",
            "Max-Forwards: 70",
            "User-Agent: Yealink SIP-T46S 66.86.0.15",
            _ALLOW,
        ]
        if nonce:
            response = f"{self._random.getrandbits(128):032x}"
            more.append(
                f'Authorization: Digest username="{user}", realm="{SERVER}", nonce="{nonce}", uri="sip:{SERVER}", '
                f'response="{response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="24d7defc"'
            )
        self._add(address, SERVER, [f"{method} sip:{SERVER} SIP/2.0", *same, *more], body)
        new = ""
        for status in statuses:
            extra = ["User-Agent: FreeSWITCH-mod_sofia/1.10", _ALLOW, "Supported: timer, path, replaces"]
            if status in (401, 407):
                bits = f"{self._random.getrandbits(128):032x}"
                new = f"{bits[:8]}-{bits[8:12]}-{bits[12:16]}-{bits[16:20]}-{bits[20:]}"
                extra.append(f'WWW-Authenticate: Digest realm="{SERVER}", nonce="{new}", algorithm=MD5, qop="auth"')
            self._add(SERVER, address, [f"SIP/2.0 {status} Reason", *same, *extra], body if status == 183 else "")
        return new

    def _add(self, source: str, destination: str, lines: list[str], body: str) -> None:
        self._time += 1 / 5000
        payload = ("\r\n".join([*lines, f"Content-Length: {len(body)}"]) + "\r\n\r\n" + body).encode()
        self.packets.append(Packet(self._time, source, 5060, destination, 5060, "udp", payload))

    def fill(self) -> None:
        """As many messages as are to be measured."""
        draw = self._random
        while len(self.packets) < MESSAGES:
            phone = draw.choice(_PHONES)
            kind = draw.random()
            if kind < 0.4:
                nonce = self.exchange(phone, "REGISTER", (401,))
                self.exchange(phone, "REGISTER", (200,), nonce=nonce)
            elif kind < 0.7:
                self.exchange(phone, "OPTIONS", (200,))
            else:
                nonce = self.exchange(phone, "INVITE", (407,))
                self.exchange(phone, "ACK", ())
                self.exchange(phone, "INVITE", (100, 183, 200), nonce=nonce)
                self.exchange(phone, "ACK", ())
                self.exchange(phone, "BYE", (200,))
            if draw.random() < 0.02:
                attacker = draw.choice(_ATTACKERS)
                nonce = self.exchange(attacker, "REGISTER", (401,))
                self.exchange(attacker, "REGISTER", (403,), nonce=nonce)


def wire(_folder: Path, times: int) -> Iterator[Row]:
    """Microseconds a message: the median of `times` readings."""
    traffic = Traffic()
    traffic.fill()
    gc.collect()
    gc.freeze()  # a daemon has not all these packets in memory for the collector to look at
    values = []
    for _ in range(times):
        tracker = Tracker(own={SERVER}, patience=PATIENCE)
        begun = time.process_time()
        failures = 0
        for packet in traffic.packets:
            for attempt in tracker.feed(packet):
                failures += attempt.verdict == "failure"
        values.append((time.process_time() - begun) / len(traffic.packets) * 1e6)
        if not failures:
            raise AssertionError("the attack was not seen")
    gc.unfreeze()
    values.sort()
    yield Row(
        "wire: a SIP message, parsed, paired, proven",
        "µs",
        values[len(values) // 2],
        wanted="≤ 8 µs",
        more_is_better=False,
    )
