"""A SIP registrar of a few lines, for `sipguard selftest`: challenges, refuses, and writes FreeSWITCH's line to a log."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import ssl
import struct
import threading

from running import append, failure


class Registrar:
    """Listens over UDP, TCP, TLS, WS and WSS on ports of its own. `habit` is what is wrong with it: `right`, if nothing."""

    def __init__(self, log, certificate, *, habit="right", host="127.0.0.1"):
        self.log, self.habit, self.host = log, habit, host
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self.ports, self._ends = {}, []
        for transport in ("udp", "tcp", "tls", "ws", "wss"):
            end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
            end.bind((host, 0))
            self.ports[transport] = end.getsockname()[1]
            self._ends.append(end)
            if transport != "udp":
                end.listen()
            threading.Thread(target=self._serve, args=(transport, end), daemon=True).start()

    def close(self):
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _serve(self, transport, end):
        with contextlib.suppress(OSError):
            while True:
                if transport == "udp":
                    data, sender = end.recvfrom(65536)
                    if not data:
                        return
                    for answer in self._answers(data.decode(), transport):
                        end.sendto(answer.encode(), sender)
                else:
                    sock, _ = end.accept()
                    with contextlib.suppress(OSError), sock:
                        if transport in ("tls", "wss"):
                            sock = self._context.wrap_socket(sock, server_side=True)
                        self._talk(WebSocketServer(sock) if transport in ("ws", "wss") else sock, transport)

    def _talk(self, sock, transport):
        with sock:
            while data := sock.recv(65536):
                for answer in self._answers(data.decode(), transport):
                    sock.sendall(answer.encode())

    def _answers(self, request, transport):
        assert f"SIP/2.0/{transport.upper()} {self.host}:" in request
        if self.habit == "silent":
            return []
        copied = re.findall(r"^(?:Via|From|To|Call-ID|CSeq):.*$", request, re.MULTILINE)

        def answer(status, *more):
            return "\r\n".join(
                [f"SIP/2.0 {status}", *(line.strip() for line in copied), *more, "Content-Length: 0", "", ""]
            )

        if self.habit == "open":
            return [answer("200 OK")]
        if "Authorization:" not in request:
            challenge = 'WWW-Authenticate: Digest realm="a", nonce="0123456789", algorithm=MD5, qop="auth"'
            return [answer("100 Trying"), answer("401 Unauthorized", challenge)]
        assert re.search(r'username="sipguard-selftest".*response="[0-9a-f]{32}".*qop=auth, nc=00000001', request)
        if self.habit == "strange":
            append(self.log, "2026-11-28 10:00:00.1 [WARNING] registrar: 127.0.0.1 gave a password that is wrong\n" * 2)
        elif self.habit != "mute":
            append(self.log, failure(self.host, user="sipguard-selftest") * 2)
        return [answer("403 Forbidden")]


class WebSocketServer:
    """The server's end of one: a ping first, and each answer in two frames."""

    def __init__(self, sock):
        self._sock = sock
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(1)
        assert b"\r\nSec-WebSocket-Protocol: sip\r\n" in head
        key = re.search(rb"Sec-WebSocket-Key: (.*)\r\n", head)[1]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: " + accept + b"\r\n\r\n\x89\x00")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sock.close()

    def recv(self, _most):
        """One masked frame; nothing at its end."""
        first, size = self._exactly(2) or b"\x88\x80"
        assert size & 0x80, "a client's frames are masked"
        length = size & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self._exactly(2))
        mask = self._exactly(4)
        payload = self._exactly(length)
        return b"" if first & 0xF == 8 else bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))

    def sendall(self, data):
        """In two frames: the first has less than 126 bytes, the second more."""
        self._sock.sendall(bytes([1, 100]) + data[:100] + struct.pack(">BBH", 0x80, 126, len(data) - 100) + data[100:])

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            if not (more := self._sock.recv(size - len(data))):
                return b""
            data += more
        return data
