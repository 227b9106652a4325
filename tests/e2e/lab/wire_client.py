"""A SIP client for the wire's tests: guesses by any method and transport, and packets in others' names. One process per call.

    python3 wire_client.py SERVER guess COUNT METHOD TRANSPORT [USER [PASSWORD]]
    python3 wire_client.py SERVER phone COUNT USER PASSWORD [PAUSE]
                              registers every PAUSE seconds, and each time tries the nonce of before first
    python3 wire_client.py SERVER invented COUNT VICTIM[:PORT] [PASSWORD]
                              forged packets, each with a nonce of its own invention
    python3 wire_client.py SERVER borrowed COUNT VICTIM          forged packets, each with a nonce that was sent to us
    python3 wire_client.py SERVER own|rotating|shared|spoilt ROUNDS ADDRESS...
                              guesses from these addresses, a round at a time: each with a nonce of its own invention, from one
                              address or from all in turn; with nonces that the second one fetches; with nonces that both fetch
                              at once, in one call

SERVER@ADDRESS:PORT speaks from there. Prints the last status of each guess, or how many packets it has forged, or how many
guesses the server has judged.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import socket
import ssl
import struct
import sys
import time

PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 8088}
WAIT = 4.0
SOURCE = None
"""Address and port to speak from, where they are said."""
SOON = 0.3
"""Seconds for an answer, where there may be none; and between two guesses, in which a ban can be made."""


def md5(text):
    """The hexadecimal digest of RFC 2617."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class Line:
    """A way to the server: send a message, receive the answer to it."""

    def __init__(self, server, transport, source=None):
        self.server, self.transport = server, transport
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        self.sock = socket.socket(family, kind)
        self.sock.settimeout(WAIT)
        if source := source or SOURCE:
            self.sock.bind(source)
        self.sock.connect((server, PORTS[transport]))
        if transport == "tls":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock)
        self.here, self.port = self.sock.getsockname()[:2]
        self._rest = b""
        if transport == "ws":
            self._upgrade()

    def _upgrade(self):
        """From HTTP to a WebSocket of SIP (RFC 7118)."""
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self.sock.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {self.server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._rest:
            self._rest += self.sock.recv(65_535)
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        assert b" 101 " in head, head

    def send(self, message):
        """A message; in a masked frame where this is a WebSocket (RFC 6455, 5.2)."""
        if self.transport == "ws":
            mask = secrets.token_bytes(4)
            masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(message))
            message = b"\x81" + struct.pack(">BH", 0x80 | 126, len(message)) + mask + masked
        self.sock.sendall(message)

    def exchange(self, message):
        """The final answer to a message."""
        self.send(message)
        while True:
            answer = self._receive()
            if not answer.startswith("SIP/2.0 1"):
                return answer

    def _receive(self):
        if self.transport == "udp":
            return self.sock.recv(65_535).decode("latin-1")
        while self.transport == "ws":
            if len(self._rest) >= 4:
                size, begin = self._rest[1] & 0x7F, 2
                if size == 126:
                    size, begin = struct.unpack_from(">H", self._rest, 2)[0], 4
                if len(self._rest) >= begin + size:
                    text, self._rest = self._rest[begin : begin + size], self._rest[begin + size :]
                    return text.decode("latin-1")
            self._rest += self.sock.recv(65_535)
        while True:
            head, end, after = self._rest.partition(b"\r\n\r\n")
            length = int((re.search(rb"Content-Length: *(\d+)", head, re.IGNORECASE) or [0, 0])[1])
            if end and len(after) >= length:
                self._rest = after[length:]
                return head.decode("latin-1") + "\r\n\r\n"
            self._rest += self.sock.recv(65_535)


def message(method, server, ends, sequence, authorization=""):
    """One request; `ends` are our address and port, the transport, the user and the Call-ID."""
    here, port, transport, user, call = ends
    host = f"[{server}]" if ":" in server else server
    own = f"[{here}]" if ":" in here else here
    body = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    more = {
        "INVITE": ["Content-Type: application/sdp"],
        "SUBSCRIBE": ["Event: message-summary", "Accept: application/simple-message-summary", "Expires: 60"],
        "MESSAGE": ["Content-Type: text/plain"],
    }.get(method, ["Expires: 60"])
    body = body if method == "INVITE" else "hello" if method == "MESSAGE" else ""
    to = user if method == "REGISTER" else "1000"
    uri = f"sip:{host}" if method == "REGISTER" else f"sip:1000@{host}"
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/{transport.upper()} {own}:{port};rport;branch=z9hG4bK{secrets.token_hex(6)}",
        f"From: <sip:{user}@{host}>;tag={call[:8]}",
        f"To: <sip:{to}@{host}>",
        f"Call-ID: {call}",
        f"CSeq: {sequence} {method}",
        f"Contact: <sip:{user}@{own}:{port};transport={transport}>",
        "Max-Forwards: 70",
        "User-Agent: lab",
        *more,
        *([authorization] if authorization else []),
        f"Content-Length: {len(body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def credentials(method, server, user, password, challenge, *, nonce=None):
    """The Authorization header for an answer's challenge."""
    kind, text = re.search(
        r"^(WWW|Proxy)-Authenticate: *Digest (.*)$", challenge, re.MULTILINE | re.IGNORECASE
    ).groups()
    given = dict(re.findall(r'(\w+)="?([^",\r]+)"?', text))
    host = f"[{server}]" if ":" in server else server
    uri = f"sip:{host}" if method == "REGISTER" else f"sip:1000@{host}"
    nonce = nonce or given["nonce"]
    cnonce, ha2 = secrets.token_hex(4), md5(f"{method}:{uri}")
    ha1 = md5(f"{user}:{given['realm']}:{password}")
    qop = "auth" if "auth" in given.get("qop", "") else ""
    middle = f"{nonce}:00000001:{cnonce}:auth" if qop else nonce
    opaque = f', opaque="{given["opaque"]}"' if "opaque" in given else ""
    more = f', qop=auth, nc=00000001, cnonce="{cnonce}"' if qop else ""
    name = "Authorization" if kind.lower() == "www" else "Proxy-Authorization"
    return (
        f'{name}: Digest username="{user}", realm="{given["realm"]}", nonce="{nonce}", uri="{uri}", '
        f'response="{md5(f"{ha1}:{middle}:{ha2}")}", algorithm=MD5{more}{opaque}'
    )


def guess(server, method, transport, user, password, line=None):
    """One challenge and its answer: the status."""
    line = line or Line(server, transport)
    call = secrets.token_hex(12)
    ends = (line.here, line.port, transport, user, call)
    answer = line.exchange(message(method, server, ends, 1))
    if "-Authenticate" in answer:
        if method == "INVITE":
            line.send(message("ACK", server, ends, 1))
        answer = line.exchange(message(method, server, ends, 2, credentials(method, server, user, password, answer)))
    return answer.split()[1], answer


def phone(server, count, user, password, pause=0):
    """A phone that registers again and again, each time with the nonce of before, as some do; `pause` in seconds."""
    line = Line(server, "udp")
    before = ""
    for number in range(count):
        time.sleep(float(pause) if number else 0)
        call = secrets.token_hex(12)
        ends = (line.here, line.port, "udp", user, call)
        used = credentials("REGISTER", server, user, password, before) if before else ""
        answer = line.exchange(message("REGISTER", server, ends, 1, used))
        if "-Authenticate" in answer:
            before = answer
            answer = line.exchange(
                message("REGISTER", server, ends, 2, credentials("REGISTER", server, user, password, answer))
            )
        print(answer.split()[1], flush=True)


class Guesser:
    """Guesses over UDP from one address. `judged`: how many of them the server has answered."""

    def __init__(self, server, address):
        self.line, self.judged = Line(server, "udp", (address, 0)), 0
        self.line.sock.settimeout(SOON)

    def ends(self, call=None):
        """What a message is made of."""
        return (self.line.here, self.line.port, "udp", "1000", call or secrets.token_hex(12))

    def fetch(self, call=None):
        """A challenge; "" without an answer."""
        return self._asked(message("REGISTER", self.line.server, self.ends(call), 1))

    def guess(self, challenge, nonce=None):
        """One wrong password."""
        if not challenge:
            return
        header = credentials("REGISTER", self.line.server, "1000", "wrong", challenge, nonce=nonce)
        self.judged += bool(self._asked(message("REGISTER", self.line.server, self.ends(), 2, header)))

    def _asked(self, request):
        sequence = re.search(rb"Call-ID: (\S+)", request)[1].decode()
        try:
            self.line.send(request)
            while sequence not in (answer := self.line._receive()) or answer.startswith("SIP/2.0 1"):
                pass
        except OSError:  # none in time, or a rejection
            return ""
        return answer


def several(server, way, rounds, addresses):
    """Guesses that are to get more tries than five of one address."""
    guessers = [Guesser(server, address) for address in addresses]
    first, second = guessers[0], guessers[min(1, len(guessers) - 1)]
    known = first.fetch()
    for _ in range(rounds):
        if way in {"own", "rotating"}:
            for one in guessers if way == "rotating" else [first]:
                one.guess(known, secrets.token_hex(16))
        elif way == "shared":
            known = second.fetch() or known
            first.guess(known)
        else:
            call = secrets.token_hex(12)
            challenge = first.fetch(call)
            second.fetch(call)
            first.guess(challenge)
        time.sleep(SOON)
    print(sum(one.judged for one in guessers))


def forge(server, count, victim, borrow, password="wrong"):
    """Packets in the victim's name: invented nonces, or such as were sent to us."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    victim, _, port = victim.partition(":")
    port = int(port or 5060)
    line = Line(server, "udp")
    for number in range(count):
        call = secrets.token_hex(12)
        if borrow or number == 0:
            challenge = line.exchange(message("REGISTER", server, (line.here, line.port, "udp", "1000", call), 1))
        nonce = None if borrow else secrets.token_hex(16)
        header = credentials("REGISTER", server, "1000", password, challenge, nonce=nonce)
        payload = message("REGISTER", server, (victim, port, "udp", "1000", call), 2, header)
        datagram = struct.pack(">HHHH", port, 5060, 8 + len(payload), 0) + payload
        addresses = socket.inet_aton(victim) + socket.inet_aton(server)
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(datagram), number + 1, 0, 64, 17, 0) + addresses
        raw.sendto(head + datagram, (server, 0))
        time.sleep(0.004)
    print(count)


def main(server, action, count, *rest):
    """The command line that the module's docstring describes."""
    global SOURCE  # noqa: PLW0603 - of this process
    server, _, source = server.partition("@")
    if source:
        address, _, port = source.rpartition(":")
        SOURCE = address, int(port)
    if action == "guess":
        method, transport, *who = rest
        user, password = (*who, *("1000", "wrong")[len(who) :])
        for _ in range(int(count)):
            print(guess(server, method, transport, user, password)[0], flush=True)
    elif action == "phone":
        phone(server, int(count), *rest)
    elif action in {"own", "rotating", "shared", "spoilt"}:
        several(server, action, int(count), rest)
    else:
        forge(server, int(count), rest[0], action == "borrowed", *rest[1:])


if __name__ == "__main__":
    main(*sys.argv[1:])
