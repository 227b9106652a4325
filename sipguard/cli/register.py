"""One failed REGISTER, as a phone with a wrong password makes it (RFC 3261, RFC 8760): for `sipguard selftest`."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import socket
import ssl
from typing import Literal, NamedTuple

from sipguard.cli.websocket import WebSocket

Transport = Literal["udp", "tcp", "tls", "ws", "wss"]
USER = "sipguard-selftest"
PATIENCE = 4.0
"""Seconds that the server may take for an answer."""
LARGEST = 1 << 16
"""Bytes of an answer that are read."""
_CHALLENGE = re.compile(r"^(?:www|proxy)-authenticate[ \t]*:[ \t]*digest[ \t]+(.*)$", re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(r'(\w+)[ \t]*=[ \t]*(?:"([^"]*)"|([^\s,]+))')
_STATUS = re.compile(r"SIP/2\.0 (\d{3})")
_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


class NotListeningError(OSError):
    """Nobody takes connections there."""


class Refusal(NamedTuple):
    """What the server has answered: status codes, 0 for none."""

    first: int
    """To a REGISTER without credentials."""
    second: int = 0
    """To one with a wrong password."""
    local: str = ""
    """The address that it came from."""


def register(transport: Transport, address: str, port: int, *, user: str = USER) -> Refusal:
    """Try to register with a wrong password. Raises `NotListeningError`, or `OSError` when there is no way there."""
    with _connected(transport, address, port) as sock:
        local, call = sock.getsockname()[:2], secrets.token_hex(8)
        first = _ask(sock, _message(transport, address, local, call, 1, user))
        status = _status(first)
        challenge = _CHALLENGE.search(first)
        if status not in (401, 407) or challenge is None:
            return Refusal(status, 0, local[0])
        told = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(challenge[1])}
        answer = _answer(told, f"sip:{_host(address)}", user)
        header = f"{'Authorization' if status == 401 else 'Proxy-Authorization'}: Digest {answer}"
        return Refusal(
            status, _status(_ask(sock, _message(transport, address, local, call, 2, user, header))), local[0]
        )


def _connected(transport: Transport, address: str, port: int) -> socket.socket | WebSocket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
    with contextlib.ExitStack() as stack:
        stack.callback(sock.close)
        sock.settimeout(PATIENCE)
        try:
            sock.connect((address, port))
        except ConnectionRefusedError as error:
            raise NotListeningError(str(error)) from None
        if transport in ("tls", "wss"):
            context = ssl.SSLContext(
                ssl.PROTOCOL_TLS_CLIENT
            )  # whose certificate it is does not matter: it is this machine
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        end = WebSocket(sock, f"{_host(address)}:{port}") if transport in ("ws", "wss") else sock
        stack.pop_all()
    return end


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _message(
    transport: Transport, address: str, local: tuple[str, int], call: str, number: int, user: str, more: str = ""
) -> bytes:
    host, here = _host(address), f"{_host(local[0])}:{local[1]}"
    lines = [
        f"REGISTER sip:{host} SIP/2.0",
        f"Via: SIP/2.0/{transport.upper()} {here};branch=z9hG4bK{secrets.token_hex(8)};rport",
        "Max-Forwards: 70",
        f"From: <sip:{user}@{host}>;tag={call}",
        f"To: <sip:{user}@{host}>",
        f"Call-ID: {call}",
        f"CSeq: {number} REGISTER",
        f"Contact: <sip:{user}@{here};transport={'ws' if transport == 'wss' else transport}>",
        "Expires: 60",
        *([more] if more else []),
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _ask(sock: socket.socket | WebSocket, message: bytes) -> str:
    """The final answer; empty if there is none in time."""
    sock.sendall(message)
    data = b""
    for _ in range(100):
        try:
            part = sock.recv(LARGEST)
        except ConnectionRefusedError as error:  # ICMP says so, over UDP
            raise NotListeningError(str(error)) from None
        except TimeoutError:
            return ""
        if not part:
            return ""
        data = part if sock.type == socket.SOCK_DGRAM else (data + part)[-LARGEST:]
        while b"\r\n\r\n" in data:
            text = data.decode("utf-8", "replace")
            if _status(text) >= 200:
                return text
            data = data.partition(b"\r\n\r\n")[2]  # provisional, such as 100 Trying
    return ""


def _status(answer: str) -> int:
    found = _STATUS.match(answer)
    return int(found[1]) if found else 0


def _answer(challenge: dict[str, str], uri: str, user: str) -> str:
    """The digest of a password that nobody has (RFC 2617, RFC 7616)."""
    algorithm = challenge.get("algorithm", "MD5").upper()
    make = _HASHES.get(algorithm.removesuffix("-SESS"), hashlib.md5)

    def digest(*parts: str) -> str:
        return make(":".join(parts).encode()).hexdigest()

    realm, nonce, cnonce = challenge.get("realm", ""), challenge.get("nonce", ""), secrets.token_hex(8)
    first, second = digest(user, realm, secrets.token_hex(16)), digest("REGISTER", uri)
    words = {"username": user, "realm": realm, "nonce": nonce, "uri": uri}
    more = f", algorithm={algorithm}"
    if "auth" in challenge.get("qop", "").split(","):
        words |= {"cnonce": cnonce, "response": digest(first, nonce, "00000001", cnonce, "auth", second)}
        more += ", qop=auth, nc=00000001"
    else:
        words["response"] = digest(first, nonce, second)
    if "opaque" in challenge:
        words["opaque"] = challenge["opaque"]
    return ", ".join(f'{name}="{value}"' for name, value in words.items()) + more
